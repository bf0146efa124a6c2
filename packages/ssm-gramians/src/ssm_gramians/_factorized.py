"""One large sparse matrix, factorised once, solved with many times."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from ._arrays import Array
from ._errors import SingularEquationError

if TYPE_CHECKING:
    from jaxtyping import Inexact


class Factorized(Protocol):
    """A factorised matrix M; `order` is the elimination order where another matrix of this pattern can use it."""

    entries: int
    order: Array | None

    def solve(self, X: Inexact[Array, "n k"], *, adjoint: bool = False) -> Inexact[Array, "n k"]:
        """Return $M^{-1} X$ or $M^{-H} X$."""
        ...


def factorize(matrix: Any, *, symmetric_pattern: bool = False, order: Array | None = None) -> Factorized:
    """Return the factors of a sparse matrix: chosen by its pattern.

    A matrix with a (nearly) symmetric pattern is ordered by minimum degree on that pattern and pivoted on its diagonal,
    which halves the fill of the column ordering; `order` is that ordering, where it is known already. A trial solve
    tells whether the diagonal was good enough; if not, the matrix is factorised again with full partial pivoting.

    Raises
    ------
    SingularEquationError
        If the matrix is singular to working precision.
    """
    if symmetric_pattern:
        try:
            return _tried(SuperLU(matrix, symmetric=True, order=order), matrix)
        except SingularEquationError:
            pass  # a zero on the diagonal is no proof: pivoting decides
    return _tried(SuperLU(matrix, symmetric=False), matrix)


def has_symmetric_pattern(matrix: Any) -> bool:
    """Say whether a sparse matrix is stored in (nearly) the same places as its transpose."""
    from scipy import sparse

    pattern = sparse.csc_array((np.ones(matrix.nnz), matrix.indices, matrix.indptr), shape=matrix.shape)
    return (pattern + pattern.T).nnz <= 1.2 * matrix.nnz


class SuperLU:
    """SciPy's SuperLU with the ordering that suits the pattern."""

    def __init__(self, matrix: Any, *, symmetric: bool, order: Array | None = None) -> None:
        from scipy.sparse.linalg import splu

        # On the diagonal unless another pivot is a hundred times as large: what the trial solve then confirms.
        options: dict[str, Any] = {"Equil": False, "SymmetricMode": True} if symmetric else {}
        ordering, threshold = ("MMD_AT_PLUS_A", 0.01) if symmetric else ("COLAMD", 1.0)
        self._moved = order
        if order is not None:
            matrix, ordering = matrix[order][:, order].tocsc(), "NATURAL"
        try:
            self._lu = splu(matrix, permc_spec=ordering, diag_pivot_thresh=threshold, options=options)
        except RuntimeError as error:  # SuperLU's word for an exact zero pivot
            raise SingularEquationError(str(error)) from error
        self.entries = int(self._lu.nnz)
        self.order = None if not symmetric else np.argsort(self._lu.perm_c) if order is None else order
        self._complex = np.iscomplexobj(matrix.data)

    def solve(self, X: Inexact[Array, "n k"], *, adjoint: bool = False) -> Inexact[Array, "n k"]:
        """Return $M^{-1} X$ or $M^{-H} X$."""
        if self._moved is None:
            return self._solve(X, "H" if adjoint else "N")
        moved = self._solve(np.take(X.T, self._moved, axis=1).T, "H" if adjoint else "N")
        result = np.empty(moved.shape[::-1], moved.dtype)
        result[:, self._moved] = moved.T
        return result.T

    def _solve(self, X: Array, side: str) -> Array:
        if self._complex:
            return self._lu.solve(X.astype(np.complex128, copy=False), side)
        if not np.iscomplexobj(X):
            return self._lu.solve(X, side)
        return self._lu.solve(X.real.copy(), side) + 1j * self._lu.solve(X.imag.copy(), side)


def _tried(factors: Factorized, matrix: Any) -> Factorized:
    """Return the factors if a solve with them has a small backward error and no sign of singularity."""
    right = np.random.default_rng(0).uniform(0.5, 1.0, (matrix.shape[0], 1)).astype(matrix.dtype)
    with np.errstate(all="ignore"):
        x = factors.solve(right)
        size = (abs(matrix) @ abs(x)).max()
        backward_error = abs(matrix @ x - right).max() / (size + 1)
        growth = abs(matrix).max() * abs(x).max()
    # sqrt(eps) in the factors costs a solve half its digits; a growth of 1/eps says that x holds no digit at all
    eps = np.finfo(np.float64).eps
    if not (np.isfinite(growth) and backward_error < eps**0.75 and growth < 0.01 / eps):
        msg = "the matrix is singular to working precision"
        raise SingularEquationError(msg)
    return factors
