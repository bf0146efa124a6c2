"""Where a matrix has entries: what needs no Schur form, or several small ones."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy import linalg

from .._arrays import Array

_SMALL = 64  # below it the Schur form of the whole costs less than a search for its blocks is worth


class Pattern(NamedTuple):
    """Number of nonzero diagonals below and above the main one, and the coordinates of each independent block."""

    lower: int
    upper: int
    blocks: tuple[Array, ...]  # empty if there is only one


def pattern_of(A: Array) -> Pattern:
    """Return the pattern of a square matrix; O(n^2), and next to nothing for a full one."""
    lower, upper = linalg.bandwidth(A)
    searched = A.shape[-1] >= _SMALL and min(lower, upper) > 0
    return Pattern(lower, upper, _components(A) if searched else ())


def _components(A: Array) -> tuple[Array, ...]:
    """Return the connected components of the graph of A, or nothing if all is one."""
    if _is_connected(A):
        return ()
    from scipy import sparse

    count, labels = sparse.csgraph.connected_components(sparse.csr_array(A != 0), directed=False)
    if count == 1:
        return ()
    order = np.argsort(labels, kind="stable")
    return tuple(np.split(order, np.cumsum(np.bincount(labels))[:-1]))


def _is_connected(A: Array) -> bool:
    """Say whether all is seen to be one block without the price of a search; a few dozen steps of one at most."""
    n = A.shape[-1]
    if ((np.diagonal(A, 1) != 0) | (np.diagonal(A, -1) != 0)).all():  # each coordinate is coupled to the next
        return True
    links = A != 0
    if np.count_nonzero(links) > n * n - 2 * n + 2:
        return True
    links = (links | links.T).astype(np.float32)
    reached: Array = links[0]
    before = 0
    for _ in range(24):
        count = int(np.count_nonzero(reached))
        if count in (before, n):
            return bool(count == n)
        reached, before = links @ (reached > 0), count
    return False
