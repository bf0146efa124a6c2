"""Whether a Lyapunov equation is one for iterations: seen from one LU decomposition, before anything else is done."""

from __future__ import annotations

from math import inf, log, log2
from typing import TYPE_CHECKING

import numpy as np

from ._triangular_leaf import lapack

if TYPE_CHECKING:
    from jaxtyping import Inexact

    from .._arrays import Array

_TERMS = 16


def doublings_of(A: Inexact[Array, "n n"]) -> float:
    r"""Return how many doublings of squared Smith $AX + XA^H + Q = 0$ would take: a guess, infinite if it may not end.

    The guess is the rate at which $M^j v$ decays, $M = (pI + A)(pI - A)^{-1}$, over 16 terms, with p the mean of the
    negative real parts. Norms of A or M would say nothing: a matrix far from normal decays all the same. The costs are
    those of the LU decomposition, a fiftieth of a Schur form.
    """
    n = A.shape[-1]
    p = -float(np.trace(A).real) / n
    if not p > 0:
        return inf
    getrf, getrs = lapack("getrf", A.dtype), lapack("getrs", A.dtype)
    shifted = np.negative(A, order="F")  # as LAPACK wants it: no other copy is made
    shifted[np.diag_indices(n)] += p
    lu, pivots, info = getrf(shifted, overwrite_a=True)
    if info != 0:
        return inf
    v = np.cos(np.arange(1.0, n + 1) ** 2).astype(A.dtype)
    norms = []
    for _ in range(_TERMS):
        v = 2 * p * getrs(lu, pivots, v)[0] - v
        norms.append(float(np.linalg.norm(v)))
    late, early = norms[-1], norms[_TERMS // 2 - 1]
    if not 0 < late < early:
        return 0.0 if late == 0 else inf
    return log2(max(1.0, -log(np.finfo(A.dtype).eps) / 2 / (log(early / late) / (_TERMS // 2))))
