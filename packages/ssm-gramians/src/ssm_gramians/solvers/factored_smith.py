"""Squared Smith on factors: Gramians that are never squared keep the digits of their small singular values."""

from __future__ import annotations

from math import log2
from typing import TYPE_CHECKING

import numpy as np

from .._arrays import Array, adjoint, namespace, promote
from .._solution import Status
from ..backends import Backend
from ._doubling import square_norm
from ._powers import TERMS, Powers, doublings

if TYPE_CHECKING:
    from jaxtyping import Inexact


def summed_factor(
    powers: Powers, B: Inexact[Array, "batch n m"], backend: Backend, *, dual: bool, truncate: float | None
) -> tuple[Inexact[Array, "batch n k"], Status, int]:
    r"""Return Z with $Z Z^H = \sum_k A^k B (A^k B)^H$, or that of the adjoint, how it ended, and the doublings.

    A term costs n^2 m and a squaring n^3: terms are taken one by one until Z is square, and doubled only then. A step
    that is smaller than rtol relative to Z, row by row, ends the sum; steps that shrink too slowly for `max_steps` do,
    too.
    """
    drop = 10 * B.shape[-2] * backend.eps(B) if truncate is None else truncate  # what rounding leaves, and some
    most, single = powers.max_steps, int(log2(max(1, B.shape[-2] // max(1, B.shape[-1]))))
    Z, done, doublings = _single_terms(powers, B, backend, dual=dual, count=2 ** min(single, most))
    if done:
        return revealed(Z, drop), Status.CONVERGED, doublings
    if doublings > most:
        return Z, Status.STEPS_EXHAUSTED, min(single, most)
    for k in range(min(single, most), most):
        Z, status = _doubled(powers, k, Z, dual=dual)
        if status is Status.CONVERGED:
            return revealed(Z, drop), status, k + 1
        if status is Status.DIVERGED:
            return Z, status, k
        if 2 * Z.shape[-1] <= Z.shape[-2]:  # the decomposition costs less than the next product
            Z = revealed(Z, drop)
    return Z, Status.STEPS_EXHAUSTED, most


def _doubled(powers: Powers, k: int, Z: Array, *, dual: bool) -> tuple[Array, Status]:
    """Return the factor of the first 2^(k+1) terms from that of the first 2^k."""
    xp = namespace(Z)
    with np.errstate(all="ignore"):  # what overflows has diverged, and says so
        M, Z = promote(adjoint(powers[k]) if dual else powers[k], Z)
        step = M @ Z
        change, size = _row_norms(step), _row_norms(Z)
        if not bool(xp.all(powers.alive(k)) & xp.all(xp.isfinite(change))):
            return Z, Status.DIVERGED
        done = bool(xp.all(change <= powers.rtol * size) & xp.all(square_norm(M) < 1))
    return compress(step, Z), Status.CONVERGED if done else Status.STEPS_EXHAUSTED


def _single_terms(powers: Powers, B: Array, backend: Backend, *, dual: bool, count: int) -> tuple[Array, bool, int]:
    """Return [B, AB, ...] of `count` terms at most, whether they were enough, and how many doublings it takes."""
    xp = namespace(B)
    M, W = promote(adjoint(powers[0]) if dual else powers[0], B)
    terms, norms, rows = [W], [backend.norm(W)], _row_norms(W)
    while len(terms) < count:
        W = M @ W
        terms.append(W)
        norms.append(backend.norm(W))
        change = _row_norms(W)
        rows = xp.hypot(rows, change)
        if bool(xp.all(change <= powers.rtol * rows)):
            return xp.concat(terms, axis=-1), True, len(terms).bit_length()
    half = len(norms) // 2
    known = len(norms) >= TERMS and 0 not in B.shape
    needed = doublings(norms[half - 1], norms[-1], half, powers.rtol) if known else 0
    return xp.concat(terms, axis=-1), False, needed


def _row_norms(Z: Array) -> Array:
    return namespace(Z).linalg.vector_norm(Z, axis=-1)


def horizon_factor(
    A: Inexact[Array, "*batch n n"], B: Inexact[Array, "*batch n m"], horizon: int, *, average: bool
) -> Inexact[Array, "*batch n k"]:
    r"""Return Z with $Z Z^H = \sum_{k<L} w_k A^k B (A^k B)^H$, $w_k = 1$, or $1 - k/L$ for the average over 1..L.

    The sum is doubled along the bits of L, on factors; A need not be stable.
    """
    total, mean, power, length = B, B, A, 1  # squares: sum over k < length; sum of those sums up to length
    for bit in bin(horizon)[3:]:
        mean = compress(mean, length**0.5 * total, power @ mean)
        total, power, length = compress(total, power @ total), power @ power, 2 * length
        if bit == "1":
            total, power, length = compress(B, A @ total), A @ power, length + 1
            mean = compress(mean, total)
    return mean / horizon**0.5 if average else total


def compress(*factors: Inexact[Array, "*batch n k"]) -> Inexact[Array, "*batch n r"]:
    r"""Return Z with at most n columns and $Z Z^H = \sum_i Z_i Z_i^H$."""
    xp = namespace(*factors)
    Z = xp.concat(factors, axis=-1)
    return Z if Z.shape[-1] <= Z.shape[-2] else adjoint(xp.linalg.qr(adjoint(Z), mode="reduced")[1])


def revealed(Z: Inexact[Array, "*batch n k"], rtol: float) -> Inexact[Array, "*batch n r"]:
    r"""Return a factor of $Z Z^H$ with as few columns as its rank, to a tolerance relative to the norm of each row."""
    if rtol == 0 or 0 in Z.shape:
        return Z
    xp = namespace(Z)
    rows = xp.linalg.vector_norm(Z, axis=-1, keepdims=True)
    scale = xp.astype(xp.where(rows > 0, rows, xp.ones_like(rows)), Z.dtype)
    U, s, _ = xp.linalg.svd(Z / scale, full_matrices=False)
    rank = max(1, int(xp.max(xp.count_nonzero(s > rtol * s[..., :1], axis=-1))))
    return scale * U[..., :rank] * xp.astype(s[..., None, :rank], Z.dtype)
