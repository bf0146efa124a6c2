"""NumPy arrays with SciPy's LAPACK."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import array_api_compat
import numpy as np
from scipy import linalg

from .._arrays import Array, is_complex
from .._errors import SingularEquationError
from ._base import Backend
from ._mild_spectrum import doublings_of
from ._pattern import Pattern, pattern_of
from ._triangular_gram import triangular_gram
from ._triangular_leaf import lapack, sylvester, two_terms

if TYPE_CHECKING:
    from jaxtyping import Complex, Inexact


class ScipyBackend(Backend):
    """NumPy arrays: Schur forms, triangular solves and pivoted Cholesky from LAPACK."""

    name: ClassVar[str] = "scipy"
    provides: ClassVar[frozenset[str]] = frozenset(
        {"array", "eigenvalues", "pattern", "pivoted_cholesky", "qz", "schur", "sparse", "triangular"}
    )

    def owns(self, array: Array) -> bool:
        """Say whether this is a NumPy array."""
        return bool(array_api_compat.is_numpy_array(array))

    def eigenvalues(self, A: Inexact[Array, "*batch n n"]) -> Complex[Array, "*batch n"]:
        """Return the eigenvalues of a general matrix."""
        return np.linalg.eigvals(A).astype(np.result_type(A.dtype, np.complex64))

    def schur(self, A: Inexact[Array, "n n"]) -> tuple[Inexact[Array, "n n"], Inexact[Array, "n n"]]:
        """Return the real Schur form of a real matrix, the complex one of a complex matrix."""
        T, *_, U, _, info = lapack("gees", A.dtype)(
            _unsorted, A, lwork=64 * A.shape[-1] + 8192
        )  # what its blocked parts ask for, at most
        if info != 0:
            msg = f"the QR algorithm did not find the Schur form (info {info})"
            raise SingularEquationError(msg)
        return U, T

    def qz(
        self, A: Inexact[Array, "n n"], E: Inexact[Array, "n n"]
    ) -> tuple[Inexact[Array, "n n"], Inexact[Array, "n n"], Inexact[Array, "n n"], Inexact[Array, "n n"]]:
        """Return the generalised Schur form of a pencil, real if both matrices are."""
        kind = "complex" if is_complex(A) or is_complex(E) else "real"
        S, T, U, V = linalg.qz(A, E, output=kind, check_finite=False)
        return U, V, S, T

    def pattern(self, A: Inexact[Array, "n n"]) -> Pattern:
        """Return where A has entries; O(n^2), and next to nothing for a full matrix."""
        return pattern_of(A)

    def doublings_of(self, A: Inexact[Array, "n n"]) -> float:
        """Return a guess at the steps of squared Smith, from one LU decomposition."""
        return doublings_of(A)

    def triangular_sylvester(
        self, S: Inexact[Array, "n n"], T: Inexact[Array, "m m"], Q: Inexact[Array, "n m"]
    ) -> Inexact[Array, "n m"]:
        r"""Return X with $S X + X T^H + Q = 0$ by LAPACK's `trsyl`, heeding what it reports."""
        return sylvester(S, T, Q)

    def triangular_stein(
        self, S: Inexact[Array, "n n"], T: Inexact[Array, "m m"], Q: Inexact[Array, "n m"]
    ) -> Inexact[Array, "n m"]:
        r"""Return X with $S X T^H - X + Q = 0$ by `trsyl` after a shift away from the eigenvalues."""
        return two_terms((S, None), (T, None), -1, Q)

    def triangular_pencil(
        self, left: tuple[Array | None, ...], right: tuple[Array | None, ...], sign: int, Q: Inexact[Array, "n m"]
    ) -> Inexact[Array, "n m"]:
        r"""Return X with $A_1 X B_1^H \pm A_2 X B_2^H + Q = 0$ by `trsyl` after a shift away from the eigenvalues."""
        return two_terms((left[0], left[1]), (right[0], right[1]), sign, Q)

    def triangular_gram(
        self, S: Inexact[Array, "n n"], B: Inexact[Array, "n m"], *, discrete: bool
    ) -> tuple[Inexact[Array, "n n"], Inexact[Array, "n m"], Inexact[Array, "n n"]]:
        r"""Return Z, $Z^{-1} B$ and $Z^{-1} S Z$, where $Z Z^H$ solves the equation of S and $B B^H$."""
        return triangular_gram(S, B, discrete=discrete)

    def factor(self, X: Inexact[Array, "*batch n n"]) -> Inexact[Array, "*batch n k"]:
        """Return the Cholesky factor of the matrix scaled to unit diagonal; pivoted, and thinner, where singular."""
        scale = np.sqrt(np.maximum(np.diagonal(X, axis1=-2, axis2=-1).real, 0))
        inverse = np.divide(1, scale, out=np.zeros_like(scale), where=scale > 0)
        unit = X * inverse[..., :, None]
        unit *= inverse[..., None, :]
        try:
            return scale[..., :, None] * np.linalg.cholesky(unit)  # LAPACK's own wrapper would hold Python's lock
        except np.linalg.LinAlgError:
            return scale[..., :, None] * self._pivoted_cholesky(unit)

    def _pivoted_cholesky(self, unit: Inexact[Array, "*batch n n"]) -> Inexact[Array, "*batch n k"]:
        (pstrf,) = linalg.get_lapack_funcs(("pstrf",), (unit,))
        n, factors, width = unit.shape[-1], np.zeros_like(unit), 1
        for index in np.ndindex(unit.shape[:-2]):
            L, pivots, rank, _ = pstrf(unit[index], lower=1, tol=n * self.eps(unit))
            factors[(*index, pivots - 1)] = np.where(np.arange(n) < rank, np.tril(L), 0)
            width = max(width, int(rank))
        return factors[..., :width]


def _unsorted(*_: complex) -> bool:
    """Say nothing: LAPACK wants a function to sort by, and never calls it."""
    return False
