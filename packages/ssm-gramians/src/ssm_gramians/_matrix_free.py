"""Matrices that are known by what they do."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from ._arrays import Array
from ._errors import ShapeError, UnsupportedError
from ._structure import Structure

if TYPE_CHECKING:
    from jaxtyping import Complex, Inexact

Product = Callable[[Array], Array]
ShiftedSolve = Callable[[complex, Array], Array]


@dataclass(frozen=True, eq=False)
class MatrixFree(Structure):
    r"""A by its products $X \mapsto A X$ and its shifted solves $X \mapsto (A + s E)^{-1} X$.

    E is that of the equation, or the identity where the equation has none. The callbacks get NumPy arrays of shape
    (n, k), which they must not modify, and return arrays of that shape. A missing callback is missed only by the
    solver that calls it.

    Parameters
    ----------
    order
        n.
    product
        Returns A X.
    solve
        Called with s and X, returns $(A + s E)^{-1} X$; s is a Python float, or complex where a solver has complex
        shifts.
    adjoint_product
        Returns $A^H X$; `product` if the matrix is Hermitian.
    adjoint_solve
        Called with s and X, returns $(A^H + s E^H)^{-1} X$; `solve` if both matrices are Hermitian.
    hermitian
        Whether $A = A^H$, and E, if there is one, is Hermitian and positive definite: solvers take a cheaper path.
    dtype
        Of the entries of A.

    Raises
    ------
    ShapeError
        If the order is not positive.
    """

    kind: ClassVar[str] = "matrix_free"
    order: int
    product: Product | None = None
    solve: ShiftedSolve | None = None
    adjoint_product: Product | None = None
    adjoint_solve: ShiftedSolve | None = None
    hermitian: bool = False
    dtype: Any = np.float64

    def __post_init__(self) -> None:
        if self.order < 1:
            msg = f"order is {self.order}; want at least 1"
            raise ShapeError(msg)
        object.__setattr__(self, "dtype", np.dtype(self.dtype))

    @property
    def shape(self) -> tuple[int, ...]:
        """Return the shape of the matrix."""
        return self.order, self.order

    @property
    def arrays(self) -> tuple[Array, ...]:
        """Return an empty array of the dtype: the matrix itself is in none."""
        return (np.zeros(0, dtype=self.dtype),)

    def map(self, function: Callable[[Array], Array]) -> MatrixFree:
        """Return the matrix itself: it holds no entries to change."""
        del function
        return self

    def adjoint(self) -> MatrixFree:
        """Return the conjugate transpose: the callbacks change places."""
        product = self.product if self.hermitian and self.adjoint_product is None else self.adjoint_product
        solve = self.solve if self.hermitian and self.adjoint_solve is None else self.adjoint_solve
        return MatrixFree(self.order, product, solve, self.product, self.solve, self.hermitian, self.dtype)

    def times(self, X: Inexact[Array, "n k"]) -> Inexact[Array, "n k"]:
        """Return the product A X.

        Raises
        ------
        UnsupportedError
            If there is no callback for it.
        ShapeError
            If the callback returns another shape.
        """
        if self.product is None:
            msg = "this MatrixFree cannot multiply; want product= (adjoint_product= for the adjoint equation)"
            raise UnsupportedError(msg)
        return _checked("product", self.product(X), X)

    def solve_shifted(self, shift: complex, X: Inexact[Array, "n k"]) -> Inexact[Array, "n k"]:
        r"""Return $(A + s E)^{-1} X$.

        Raises
        ------
        UnsupportedError
            If there is no callback for it.
        ShapeError
            If the callback returns another shape.
        """
        if self.solve is None:
            msg = "this MatrixFree cannot solve; want solve= (adjoint_solve= for the adjoint equation)"
            raise UnsupportedError(msg)
        return _checked("solve", self.solve(shift, X), X)

    def to_dense(self) -> Inexact[Array, "n n"]:
        """Return the dense matrix, by n products: for small n only."""
        return self.times(np.eye(self.order, dtype=self.dtype))

    def poles(self) -> Complex[Array, " n"]:
        """Return all eigenvalues of the dense matrix: for small n only."""
        return np.linalg.eigvals(self.to_dense()).astype(np.result_type(self.dtype, np.complex64))


def _checked(name: str, result: Array, X: Array) -> Array:
    if getattr(result, "shape", None) != X.shape:
        msg = f"{name} returned {getattr(result, 'shape', type(result))} for X {X.shape}; want the same shape"
        raise ShapeError(msg)
    return result
