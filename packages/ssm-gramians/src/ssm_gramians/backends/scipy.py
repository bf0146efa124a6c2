"""NumPy arrays with SciPy's LAPACK."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import array_api_compat
import numpy as np
from scipy import linalg

from .._arrays import Array, is_complex
from .._errors import SingularEquationError
from ._base import Backend

if TYPE_CHECKING:
    from jaxtyping import Complex, Inexact


class ScipyBackend(Backend):
    """NumPy arrays: Schur forms, triangular solves and pivoted Cholesky from LAPACK."""

    name: ClassVar[str] = "scipy"
    provides: ClassVar[frozenset[str]] = frozenset({"array", "eigenvalues", "pivoted_cholesky", "schur", "triangular"})

    def owns(self, array: Array) -> bool:
        """Say whether this is a NumPy array."""
        return bool(array_api_compat.is_numpy_array(array))

    def eigenvalues(self, A: Inexact[Array, "*batch n n"]) -> Complex[Array, "*batch n"]:
        """Return the eigenvalues of a general matrix."""
        return np.linalg.eigvals(A).astype(np.result_type(A.dtype, np.complex64))

    def schur(self, A: Inexact[Array, "n n"]) -> tuple[Inexact[Array, "n n"], Inexact[Array, "n n"]]:
        """Return the real Schur form of a real matrix, the complex one of a complex matrix."""
        T, U = linalg.schur(A, output="complex" if is_complex(A) else "real")
        return U, T

    def triangular_sylvester(
        self, S: Inexact[Array, "n n"], T: Inexact[Array, "m m"], Q: Inexact[Array, "n m"]
    ) -> Inexact[Array, "n m"]:
        r"""Return X with $S X + X T^H + Q = 0$ by LAPACK's `trsyl`, heeding what it reports."""
        (trsyl,) = linalg.get_lapack_funcs(("trsyl",), (S, T, Q))
        X, scale, info = trsyl(S, T, Q, tranb="C")
        if info != 0 or scale == 0:
            msg = "two eigenvalues cancel to working precision: there is no unique X"
            raise SingularEquationError(msg)
        return X / -scale

    def triangular_stein(
        self, S: Complex[Array, "n n"], T: Complex[Array, "m m"], Q: Complex[Array, "n m"]
    ) -> Complex[Array, "n m"]:
        r"""Return X with $S X T^H - X + Q = 0$, a column at a time from the last: $(I - \bar t_{jj} S) x_j = g_j$."""
        (trtrs,) = linalg.get_lapack_funcs(("trtrs",), (S, Q))
        eye, X = np.eye(S.shape[-1], dtype=S.dtype), np.zeros_like(Q)
        for j in reversed(range(Q.shape[-1])):
            right = Q[:, j] + S @ (X[:, j + 1 :] @ T[j, j + 1 :].conj())
            X[:, j], info = trtrs(eye - T[j, j].conj() * S, right)
            if info != 0:
                msg = "two eigenvalues have the product 1: there is no unique X"
                raise SingularEquationError(msg)
        return X

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
