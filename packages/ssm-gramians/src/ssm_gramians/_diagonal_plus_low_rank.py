"""Diagonal plus low rank: what S4 calls DPLR."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from ._arrays import Array, adjoint, as_complex, check_floating, common_dtype, conj, identity, namespace, promote
from ._errors import ShapeError
from ._structure import Structure

if TYPE_CHECKING:
    from jaxtyping import Complex, Inexact


@dataclass(frozen=True, eq=False)
class DiagonalPlusLowRank(Structure):
    r"""$A = \mathrm{diag}(\lambda) - U V^H$, as S4's $\Lambda - P Q^H$.

    Products and shifted solves take O(n r) work for r columns. For S4 pass all n modes, each with its conjugate: the
    low-rank part couples the two halves, and half of the modes is not a system of its own.

    Parameters
    ----------
    eigenvalues
        $\lambda$, real or complex, shape (..., n): of the diagonal part, not of A.
    U
        Shape (..., n, r).
    V
        Shape (..., n, r).

    Raises
    ------
    DtypeError
        If libraries, precisions or devices differ, or an array is not floating point.
    ShapeError
        If the shapes do not fit together.
    """

    kind: ClassVar[str] = "dplr"
    eigenvalues: Inexact[Array, "*batch n"]
    U: Inexact[Array, "*batch n r"]
    V: Inexact[Array, "*batch n r"]

    def __post_init__(self) -> None:
        check_floating(eigenvalues=self.eigenvalues, U=self.U, V=self.V)
        shape = tuple(self.eigenvalues.shape)
        if (
            not shape
            or shape[-1] < 1
            or tuple(self.U.shape[:-1]) != shape
            or tuple(self.V.shape) != tuple(self.U.shape)
        ):
            got = f"eigenvalues {shape}, U {tuple(self.U.shape)}, V {tuple(self.V.shape)}"
            msg = f"got {got}; want eigenvalues (..., n), U and V (..., n, r) with n >= 1"
            raise ShapeError(msg)

    @property
    def shape(self) -> tuple[int, ...]:
        """Return the shape of the matrix that this object stands for."""
        return (*self.eigenvalues.shape, self.eigenvalues.shape[-1])

    @property
    def rank(self) -> int:
        """Return the number of columns of U and V."""
        return int(self.U.shape[-1])

    @property
    def dtype(self) -> Any:
        """Return the dtype of that matrix."""
        return common_dtype(*self.arrays)

    @property
    def arrays(self) -> tuple[Array, ...]:
        """Return the eigenvalues, U and V."""
        return self.eigenvalues, self.U, self.V

    def map(self, function: Callable[[Array], Array]) -> DiagonalPlusLowRank:
        """Return the same structure with each array replaced by `function(array)`."""
        return DiagonalPlusLowRank(*(function(array) for array in self.arrays))

    def adjoint(self) -> DiagonalPlusLowRank:
        r"""Return $\mathrm{diag}(\bar\lambda) - V U^H$."""
        return DiagonalPlusLowRank(conj(self.eigenvalues), self.V, self.U)

    def times(self, X: Inexact[Array, "*batch n k"]) -> Inexact[Array, "*batch n k"]:
        r"""Return $\lambda X - U (V^H X)$."""
        values, U, V, X = promote(*self.arrays, X)
        return values[..., :, None] * X - U @ (adjoint(V) @ X)

    def to_dense(self) -> Inexact[Array, "*batch n n"]:
        """Return the dense matrix."""
        values, U, V = promote(*self.arrays)
        return values[..., :, None] * identity(values.shape[-1], like=values) - U @ adjoint(V)

    def poles(self) -> Complex[Array, "*batch n"]:
        """Return the eigenvalues of the dense matrix.

        Raises
        ------
        UnsupportedError
            If the library has no eigenvalue solver.
        """
        from .backends import get_backend

        return get_backend(self.U).eigenvalues(self.to_dense())

    def solve_shifted(self, shift: complex | Array, X: Inexact[Array, "*batch n k"]) -> Inexact[Array, "*batch n k"]:
        r"""Return $(A + s I)^{-1} X$ by the formula of Sherman, Morrison and Woodbury, in O(n r (r + k)).

        It loses digits where $-s$ is much nearer to one of $\lambda$ than to the eigenvalues of A.

        Parameters
        ----------
        shift
            s: a number, or an array of shape (k,) for as many solutions, shape (..., k, n, columns).
        X
            Shape (..., n, columns).
        """
        values, U, V, X = promote(*self.arrays, X)
        if isinstance(shift, complex) and shift.imag:
            values, U, V, X = (as_complex(array) for array in (values, U, V, X))
        if hasattr(shift, "shape"):
            values, U, V, X, shift = promote(
                values[..., None, :], U[..., None, :, :], V[..., None, :, :], X[..., None, :, :], shift
            )
            shift = shift[..., :, None]
        elif isinstance(shift, complex) and not shift.imag:
            shift = shift.real
        inverse = 1 / (values + shift)[..., :, None]
        DU, DX = inverse * U, inverse * X
        core = identity(self.rank, like=U) - adjoint(V) @ DU
        return DX + DU @ namespace(U).linalg.solve(core, adjoint(V) @ DX)
