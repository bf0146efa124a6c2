"""Clusters of poles that share their eigenvectors, moved apart by a small change of A."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.linalg import rsf2csf, schur, solve_sylvester
from scipy.linalg.lapack import dtrsen, ztrsen

if TYPE_CHECKING:
    from jaxtyping import Complex, Float, Inexact

_FINE = 1e-4  # for a real double pole: a pair of conjugates cancels nothing, and its error is the square of the spacing


def separated(A: Inexact[np.ndarray, "n n"], spacing: float, *, discrete: bool) -> Inexact[np.ndarray, "n n"]:
    """Return A + V (M′ − M) Wᴴ: in the invariant subspace V of each cluster, M = Wᴴ A V gets poles that lie apart.

    A cluster of k goes to the corners of a regular k-gon, 1/xᵏ to about 1/(xᵏ ± δᵏ), and real A stays real: as many of
    the corners as can be are conjugate pairs, whose two residues are one number and cannot cancel badly when rounded.

    Parameters
    ----------
    A
        Stable.
    spacing
        Poles nearer than this, in terms of their distance to the stability border, are a cluster; its new radius.
    discrete
        Which border.
    """
    T, Q = schur(A, output="real" if np.isrealobj(A) else "complex")
    complex_T, complex_Q = rsf2csf(T, Q) if np.isrealobj(A) else (T, Q)
    poles = np.diag(complex_T)
    distance = 1 - np.abs(poles) if discrete else -poles.real
    change = np.zeros_like(A)
    for cluster in clusters(poles, spacing * distance):
        radius = spacing * float(distance[cluster].min())
        if np.isrealobj(A) and _is_real(poles[cluster], cluster, T):
            V, W, M = _subspace(T, Q, cluster)
            radius *= min(1, _FINE / spacing) if len(cluster) == 2 else 1
            change = change + V @ (_real_corners(M, radius) - M) @ W.T
        elif not np.isrealobj(A) or poles[cluster].imag.mean() > 0:
            V, W, M = _subspace(complex_T, complex_Q, cluster)
            moved = V @ (_corners(M, radius, discrete) - M) @ W.conj().T
            change = change + (2 * moved.real if np.isrealobj(A) else moved)
    return A + change


def clusters(poles: Complex[np.ndarray, " n"], reach: Float[np.ndarray, " n"]) -> list[list[int]]:
    """Group poles that are linked by gaps within reach; poles by themselves are left out."""
    near = np.abs(poles[:, None] - poles) <= np.minimum(reach, reach[:, None])
    groups: list[list[int]] = []
    unseen = set(range(poles.size))
    while unseen:
        group, front = set(), {unseen.pop()}
        while front:
            group |= front
            front = {int(j) for i in front for j in np.flatnonzero(near[i])} - group
        unseen -= group
        groups.append(sorted(group))
    return [group for group in groups if len(group) > 1]


def _is_real(poles, cluster, T):
    """Say whether the cluster is closed under conjugation: no 2 x 2 block of a real Schur form is cut."""
    chosen = np.zeros(T.shape[0], dtype=bool)
    chosen[cluster] = True
    cut = (np.diag(T, -1) != 0) & (chosen[1:] != chosen[:-1])
    return not cut.any() and abs(poles.imag.sum()) <= np.sqrt(np.finfo(float).eps) * np.abs(poles).max()


def _subspace(T, Q, cluster):
    """Return V, W with WᴴV = I, and M = WᴴAV, for the invariant subspace of the chosen diagonal entries."""
    select = np.zeros(T.shape[0], dtype=int)
    select[cluster] = 1
    reorder = ztrsen if np.iscomplexobj(T) else dtrsen
    T, Q = reorder(select, T, Q, job="N", lwork=T.shape[0])[:2]
    k = len(cluster)
    V = Q[:, :k]
    if k == T.shape[0]:
        return V, V, T
    R = solve_sylvester(T[:k, :k], -T[k:, k:], T[:k, k:])
    return V, V + Q[:, k:] @ R.conj().T, T[:k, :k]


def _corners(M, radius, discrete):
    """Put a triangular M's poles at the corners, two of them along the border."""
    moved, k = M.copy(), M.shape[0]
    centre = np.diag(M).mean()
    along = 1j * (centre / abs(centre) if discrete and centre else 1)
    np.fill_diagonal(moved, centre + radius * along * np.exp(2j * np.pi * np.arange(k) / k))
    return moved


def _real_corners(M, radius):
    """Put a quasi-triangular M's poles at the corners, in conjugate pairs but for the last of an odd number."""
    order = _triangular_order(M)
    moved, k, centre = np.triu(M[np.ix_(order, order)]), M.shape[0], float(np.trace(M)) / M.shape[0]
    for j in range(k // 2):
        corner = radius * np.exp(1j * np.pi * (2 * j + 1 + k % 2) / k)
        here, upper = slice(2 * j, 2 * j + 2), moved[2 * j, 2 * j + 1]
        upper = upper if abs(upper) > corner.imag else np.copysign(corner.imag, upper)
        real = centre + corner.real
        moved[here, here] = [[real, upper], [-(corner.imag**2) / upper, real]]
    if k % 2:
        moved[-1, -1] = centre + radius
    back = np.empty_like(moved)
    back[np.ix_(order, order)] = moved
    return back


def _triangular_order(M):
    """Swap the states of each 2 x 2 block of which the lower entry is the larger: what is below is then small."""
    order = np.arange(M.shape[0])
    for k in range(M.shape[0] - 1):
        if abs(M[k + 1, k]) > abs(M[k, k + 1]):
            order[[k, k + 1]] = order[[k + 1, k]]
    return order
