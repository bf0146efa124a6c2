"""Eigenvectors of many tridiagonal matrices at once, from eigenvalues that are known."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from jaxtyping import Bool, Float


def tridiagonal_vectors(
    diagonal: Float[np.ndarray, "batch n"],
    beside: Float[np.ndarray, "batch n"],
    values: Float[np.ndarray, "batch count"],
    out: Float[np.ndarray, "batch count n"],
) -> Bool[np.ndarray, " batch"]:
    r"""T − λ = N D Nᵀ, factored from both ends to the row k where they meet with the least γ: T v = λ v + γ e_k.

    Every operation is one over all members and eigenvalues. Vectors of eigenvalues that are close to one another are
    right each by itself, but orthogonal no better than rounding over their distance.

    Parameters
    ----------
    diagonal, beside
        T; the last entry of `beside` is not used.
    values
        Eigenvalues, to rounding.
    out
        For the vectors, of unit length, one a row.

    Returns
    -------
    good
        Whether all residuals of a member are of the size of rounding.

    References
    ----------
    B. N. Parlett, I. S. Dhillon, Linear Algebra Appl. 267 (1997) 247-279.
    """
    n, size = diagonal.shape[-1], np.abs(values).max(axis=-1, initial=0.0)[:, None]
    e = np.ascontiguousarray(beside.T[: n - 1, :, None])  # (n - 1, batch, 1)
    shifted = diagonal.T[:, :, None] - values  # (n, batch, count)
    with np.errstate(all="ignore"):  # what overflows has no small residual
        down, up = _pivots(shifted, e), _pivots(shifted[::-1], e[::-1])[::-1]
        gamma = down + up - shifted
        meet = np.abs(gamma).argmin(axis=0)[None]
        start = np.zeros_like(shifted)
        np.put_along_axis(start, meet, 1.0, axis=0)
        v = _run(start[::-1], (-e / down[:-1])[::-1])[::-1] + _run(start, -e / up[1:]) - start
        length = np.linalg.norm(v, axis=0)
        residual = np.abs(np.take_along_axis(gamma, meet, axis=0)[0]) / length
        out[...] = (v / length).transpose(1, 2, 0)
    good = (residual <= 8 * np.finfo(float).eps * np.sqrt(n) * size) & np.isfinite(length)
    return good.all(axis=-1) & np.isfinite(out).all(axis=(-2, -1))


def _pivots(shifted, e):
    """Return the pivots of Gaussian elimination from the first row on."""
    pivots, square = np.empty_like(shifted), e * e
    pivots[0] = shifted[0]
    for i in range(1, len(pivots)):
        np.divide(square[i - 1], pivots[i - 1], out=pivots[i])
        np.subtract(shifted[i], pivots[i], out=pivots[i])
    return pivots


def _run(start, ratio):
    """Return v with v_i = start_i + ratio_{i-1} v_{i-1}."""
    v = start.copy()
    step = np.empty_like(v[0])
    for i in range(1, len(v)):
        np.multiply(ratio[i - 1], v[i - 1], out=step)
        v[i] += step
    return v
