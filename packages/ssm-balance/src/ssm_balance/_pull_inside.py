"""Poles at or beyond the stability border are moved inside; nothing else changes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.linalg import schur

if TYPE_CHECKING:
    from jaxtyping import Inexact


def pulled_inside(A: Inexact[np.ndarray, "r r"], distance: float, *, discrete: bool) -> Inexact[np.ndarray, "r r"]:
    """Shrink the diagonal blocks of A = U T Uᴴ, or shift them to the left, until every pole keeps the distance.

    No eigenvectors take part, so that it works for a defective A too. A itself comes back if there is nothing to do.

    Parameters
    ----------
    A
        Dense; real stays real.
    distance
        From the unit circle, below 1, or from the imaginary axis; positive.
    discrete
        Which of the two.
    """
    T, U = schur(A, output="real" if np.isrealobj(A) else "complex")
    changed, k = False, 0
    while k < T.shape[0]:
        size = 2 if np.isrealobj(T) and k + 1 < T.shape[0] and T[k + 1, k] != 0 else 1
        block = T[k : k + size, k : k + size]
        if discrete:
            modulus = np.sqrt(abs(np.linalg.det(block))) if size == 2 else abs(block[0, 0])
            if modulus > 1 - distance:
                block *= (1 - distance) / modulus
                changed = True
        elif block[0, 0].real > -distance:  # LAPACK makes both diagonal entries of a pair the real part
            block -= (block[0, 0].real + distance) * np.eye(size)
            changed = True
        k += size
    return U @ T @ U.conj().T if changed else A
