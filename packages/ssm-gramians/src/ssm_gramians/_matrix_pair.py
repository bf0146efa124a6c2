"""A and E of a large equation, by what low-rank solvers ask of them: products and shifted solves."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

import numpy as np

from ._arrays import Array
from ._diagonal import Diagonal
from ._equations import Equation
from ._factorized import Factorized, factorize, has_symmetric_pattern
from ._matrix_free import MatrixFree
from ._sparse import Sparse
from ._structure import Matrix, Structure, to_dense

if TYPE_CHECKING:
    from jaxtyping import Inexact

# Factors are kept as long as they fit into this many numbers (about 1 GB); beyond it the oldest go.
KEPT_ENTRIES = 100_000_000


class MatrixPair(ABC):
    """A and E, E = I if the equation has none; vectors are columns in Fortran order, so that each is contiguous."""

    order: int
    hermitian: bool
    is_complex: bool

    @abstractmethod
    def times(self, a: float, e: float, X: Inexact[Array, "n k"]) -> Inexact[Array, "n k"]:
        """Return $(a A + e E) X$."""

    @abstractmethod
    def solve(self, shift: complex, X: Inexact[Array, "n k"]) -> Inexact[Array, "n k"]:
        r"""Return $(A + s E)^{-1} X$; s is infinite for $E^{-1} X$."""

    @abstractmethod
    def adjoint(self) -> MatrixPair:
        """Return the pair of the adjoints, which shares the factors."""

    @property
    @abstractmethod
    def has_identity(self) -> bool:
        """Say whether E is the identity."""


class SparsePair(MatrixPair):
    """Sparse A and E; the factors of each shift are kept."""

    def __init__(self, A: Any, E: Any | None, *, flipped: bool = False, kept: dict[complex, Factorized] | None = None):
        self._A, self._E, self._flipped = A, E, flipped
        self._kept: dict[complex, Factorized] = {} if kept is None else kept
        self._products: dict[tuple[float, float], Any] = {}
        self.order = A.shape[0]
        self.is_complex = np.iscomplexobj(A.data) or (E is not None and np.iscomplexobj(E.data))
        self.hermitian = _is_hermitian(A) and (E is None or _is_hermitian(E))
        self._symmetric_pattern = has_symmetric_pattern(A if E is None else abs(A) + abs(E))

    @property
    def has_identity(self) -> bool:
        """Say whether E is the identity."""
        return self._E is None

    def times(self, a: float, e: float, X: Inexact[Array, "n k"]) -> Inexact[Array, "n k"]:
        """Return $(a A + e E) X$: of a large matrix a contiguous column at a time, which SciPy multiplies fastest."""
        if a == 0 and self._E is None:
            return e * X
        if (a, e) not in self._products:
            self._products[a, e] = self._combined(a, e).tocsr()
        M = self._products[a, e]
        if not 0 < X.shape[1] < self.order // 5000:
            return M @ X
        return np.stack([M @ x for x in X.T]).T

    def solve(self, shift: complex, X: Inexact[Array, "n k"]) -> Inexact[Array, "n k"]:
        r"""Return $(A + s E)^{-1} X$; s is infinite for $E^{-1} X$."""
        if shift == np.inf and self._E is None:
            return X
        return self.factors(shift).solve(X, adjoint=self._flipped)

    def factors(self, shift: complex) -> Factorized:
        """Return the factors for a shift; of the original matrices, if this is their adjoint."""
        key = complex(shift).conjugate() if self._flipped else complex(shift)
        if key not in self._kept:
            M = self._combined(0, 1) if shift == np.inf else self._combined(1, shift)
            M = M.conj().T.tocsc() if self._flipped else M
            while self._kept and sum(f.entries for f in self._kept.values()) > KEPT_ENTRIES:
                self._kept.pop(next(iter(self._kept)))
            order = next((f.order for f in self._kept.values() if f.order is not None), None)
            self._kept[key] = factorize(M, symmetric_pattern=self._symmetric_pattern, order=order)
        return self._kept[key]

    def adjoint(self) -> SparsePair:
        """Return the pair of the adjoints, which shares the factors."""
        E = None if self._E is None else self._E.conj().T.tocsc()
        return SparsePair(self._A.conj().T.tocsc(), E, flipped=not self._flipped, kept=self._kept)

    def _combined(self, a: float, e: complex) -> Any:
        from scipy import sparse

        e = e if complex(e).imag else complex(e).real
        E = sparse.eye_array(self.order, format="csc") if self._E is None else self._E
        if a == 0 or e == 0:
            return (e * E if a == 0 else a * self._A).tocsc()
        return (a * self._A + e * E).tocsc()


class MatrixFreePair(MatrixPair):
    """A by its callbacks; E by them too, or sparse or dense."""

    def __init__(self, A: MatrixFree, E: Matrix | None) -> None:
        self._A, self._E = A, E
        self.order = A.order
        self.is_complex = any(M is not None and np.issubdtype(M.dtype, np.complexfloating) for M in (A, E))
        self.hermitian = A.hermitian
        self._mass = None if E is None or isinstance(E, MatrixFree) else SparsePair(_sparse(E), None)

    @property
    def has_identity(self) -> bool:
        """Say whether E is the identity."""
        return self._E is None

    def times(self, a: float, e: float, X: Inexact[Array, "n k"]) -> Inexact[Array, "n k"]:
        """Return $(a A + e E) X$."""
        held = X if self._E is None or e == 0 else self._times_E(X)
        result = e * held if a == 0 else a * self._A.times(X) + e * held
        return np.asfortranarray(result)

    def solve(self, shift: complex, X: Inexact[Array, "n k"]) -> Inexact[Array, "n k"]:
        r"""Return $(A + s E)^{-1} X$; s is infinite for $E^{-1} X$."""
        if shift != np.inf:
            s = complex(shift)
            return np.asfortranarray(self._A.solve_shifted(s if s.imag else s.real, X))
        if self._E is None:
            return X
        if self._mass is not None:
            return self._mass.solve(0.0, X)
        assert isinstance(self._E, MatrixFree)
        return np.asfortranarray(self._E.solve_shifted(0.0, X))

    def adjoint(self) -> MatrixFreePair:
        """Return the pair of the adjoints."""
        E = self._E.adjoint() if isinstance(self._E, Structure) else None if self._E is None else self._E.conj().T
        return MatrixFreePair(self._A.adjoint(), E)

    def _times_E(self, X: Array) -> Array:
        if self._mass is not None:
            return self._mass.times(1, 0, X)
        assert isinstance(self._E, MatrixFree)
        return self._E.times(X)


def pair_of(equation: Equation) -> MatrixPair:
    """Return A and E of a Lyapunov or Stein equation in double precision."""
    A, E = equation.A, equation.matrices.get("E")
    if isinstance(A, MatrixFree):
        return MatrixFreePair(A, E)
    return SparsePair(_sparse(A), None if E is None else _sparse(E))


def _sparse(M: Matrix) -> Any:
    """Return a matrix as sparse, in double precision."""
    from scipy import sparse

    if isinstance(M, Sparse):
        found = M.matrix
    elif isinstance(M, Diagonal) and not M.paired:
        found = sparse.diags_array(np.asarray(M.eigenvalues), format="csc")
    else:
        found = sparse.csc_array(np.asarray(to_dense(M)))
    return found.astype(np.result_type(found.dtype, np.float64), copy=False)


def _is_hermitian(M: Any) -> bool:
    """Say whether a sparse matrix equals its adjoint up to the rounding of its assembly."""
    gap = abs(M - M.conj().T)
    return gap.nnz == 0 or bool(gap.max() <= 10 * np.finfo(np.float64).eps * abs(M).max())
