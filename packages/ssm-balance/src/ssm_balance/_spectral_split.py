"""Two complementary invariant subspaces: a matrix made block diagonal."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.linalg import get_lapack_funcs, schur

from ._errors import OrderError

if TYPE_CHECKING:
    from jaxtyping import Bool, Complex, Float, Inexact

    from ._arrays import Array


@dataclass(frozen=True, eq=False)
class SpectralSplit:
    """A [right, right_rest] = [right, right_rest] diag(A₁, A₂), and [left, left_rest]ᴴ [right, right_rest] = I.

    Parameters
    ----------
    left, right
        Of the eigenvalues that were chosen, shape (n, k); right is orthonormal.
    left_rest, right_rest
        Of the others, shape (n, n − k); left_rest is orthonormal.
    condition
        The norm of the projection right leftᴴ: 1 where the subspaces are orthogonal, 1/ε where perturbing A by ε
        relative exchanges eigenvalues between them.
    """

    left: Inexact[np.ndarray, "n k"]
    right: Inexact[np.ndarray, "n k"]
    left_rest: Inexact[np.ndarray, "n l"]
    right_rest: Inexact[np.ndarray, "n l"]
    condition: float


class SchurForm:
    """A = Q T Qᴴ, real for a real A, to be reordered.

    Parameters
    ----------
    A
        A square matrix.
    """

    def __init__(self, A: Inexact[np.ndarray, "n n"]):
        self.is_real = bool(np.isrealobj(A))
        self._T, self._Q = schur(A, output="real" if self.is_real else "complex")
        self._trsen, self._trsyl = get_lapack_funcs(("trsen", "trsyl"), (self._T,))
        self.eigenvalues: Complex[np.ndarray, " n"] = self._reordered(np.zeros(A.shape[0], dtype=bool))[2]
        self.starts_pair: Bool[np.ndarray, " n"] = (self.eigenvalues.imag > 0) & self.is_real

    def split(self, chosen: Bool[np.ndarray, " n"]) -> SpectralSplit:
        """Separate the chosen eigenvalues from the rest.

        Parameters
        ----------
        chosen
            One truth for each of `eigenvalues`; conjugates of a real matrix go together.

        Raises
        ------
        OrderError
            If an eigenvalue that is chosen and one that is not are so close that LAPACK cannot part them.
        """
        T, Q, _ = self._reordered(chosen)
        k = int(chosen.sum())
        first, rest = Q[:, :k], Q[:, k:]
        if k in (0, T.shape[0]):
            return SpectralSplit(first, first, rest, rest, 1.0)
        Y, scale, info = self._trsyl(T[:k, :k], T[k:, k:], -T[:k, k:], isgn=-1)
        Y = Y / scale if scale > 0 else np.full_like(Y, np.inf)
        condition = float(np.hypot(1, np.linalg.norm(Y, 2))) if np.all(np.isfinite(Y)) else np.inf
        if info or condition >= 1 / np.finfo(float).eps:
            raise OrderError(_INSEPARABLE)
        return SpectralSplit(first - rest @ Y.conj().T, first, rest, first @ Y + rest, condition)

    def _reordered(self, chosen: Bool[np.ndarray, " n"]) -> tuple[Array, Array, Array]:
        T, Q, *eigenvalues, _, _, _, info = self._trsen(chosen.astype(np.int32), self._T, self._Q, job="N")
        if info:
            raise OrderError(_INSEPARABLE)
        return T, Q, eigenvalues[0] if len(eigenvalues) == 1 else eigenvalues[0] + 1j * eigenvalues[1]


def largest(values: Float[np.ndarray, " n"], order: int, starts_pair: Bool[np.ndarray, " n"]) -> Bool[np.ndarray, " n"]:
    """Choose the `order` largest values, one more where that would part a pair.

    Parameters
    ----------
    values
        The same for both of a pair.
    order
        How many.
    starts_pair
        Whether this and the next belong together, as conjugate eigenvalues of a real matrix do.
    """
    ranking = np.argsort(-values, stable=True)  # stable: twins stay neighbours
    order += bool(starts_pair[ranking[order - 1]])
    chosen = np.zeros(values.shape, dtype=bool)
    chosen[ranking[:order]] = True
    return chosen


_INSEPARABLE = (
    "eigenvalues on both sides of the cut coincide to working precision, and cannot be parted; "
    "want a gap there: keep more states, or fewer"
)
