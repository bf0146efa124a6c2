"""Large sparse matrices, as SciPy stores them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from ._arrays import Array, check_floating
from ._errors import ShapeError
from ._structure import Structure

if TYPE_CHECKING:
    from jaxtyping import Complex, Inexact


@dataclass(frozen=True, eq=False)
class Sparse(Structure):
    """A sparse matrix; one system, never a batch.

    Equations and systems wrap SciPy's sparse matrices and arrays by themselves.

    Parameters
    ----------
    matrix
        SciPy sparse matrix or array of any format, shape (n, n).

    Raises
    ------
    DtypeError
        If its entries are not floating point.
    ShapeError
        If it is not square.
    """

    kind: ClassVar[str] = "sparse"
    matrix: Any

    def __post_init__(self) -> None:
        from scipy import sparse

        if len(self.matrix.shape) != 2 or self.matrix.shape[0] != self.matrix.shape[1]:
            msg = f"got a sparse matrix of shape {self.matrix.shape}; want (n, n)"
            raise ShapeError(msg)
        object.__setattr__(self, "matrix", sparse.csc_array(self.matrix))
        check_floating(matrix=self.matrix.data)

    @property
    def shape(self) -> tuple[int, ...]:
        """Return the shape of the matrix."""
        return tuple(self.matrix.shape)

    @property
    def dtype(self) -> Any:
        """Return the dtype of its entries."""
        return self.matrix.dtype

    @property
    def arrays(self) -> tuple[Array, ...]:
        """Return the stored entries."""
        return (self.matrix.data,)

    def map(self, function: Callable[[Array], Array]) -> Sparse:
        """Return the same pattern with the entries replaced by `function(entries)`."""
        from scipy import sparse

        parts = (np.asarray(function(self.matrix.data)), self.matrix.indices, self.matrix.indptr)
        return Sparse(sparse.csc_array(parts, shape=self.matrix.shape))

    def adjoint(self) -> Sparse:
        """Return the conjugate transpose."""
        return Sparse(self.matrix.conj().T)

    def times(self, X: Inexact[Array, "n k"]) -> Inexact[Array, "n k"]:
        """Return the product A X."""
        return self.matrix @ X

    def to_dense(self) -> Inexact[Array, "n n"]:
        """Return the dense matrix."""
        return self.matrix.toarray()

    def poles(self) -> Complex[Array, " n"]:
        """Return all eigenvalues of the dense matrix: for small n only."""
        return np.linalg.eigvals(self.to_dense()).astype(np.result_type(self.dtype, np.complex64))
