"""Where a matrix has entries: what needs no Schur form, or several small ones."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy import linalg

from .._arrays import Array


class Pattern(NamedTuple):
    """Number of nonzero diagonals below and above the main one, and the coordinates of each independent block."""

    lower: int
    upper: int
    blocks: tuple[Array, ...]  # empty if there is only one


def pattern_of(A: Array) -> Pattern:
    """Return the pattern of a square matrix; O(n^2), and next to nothing for a full one."""
    lower, upper = linalg.bandwidth(A)
    return Pattern(lower, upper, () if lower == upper == 0 else _components(A))


def _components(A: Array) -> tuple[Array, ...]:
    """Return the connected components of the graph of A, or nothing if all is one."""
    n = A.shape[-1]
    chained = (np.diagonal(A, 1) != 0) | (np.diagonal(A, -1) != 0)
    if chained.all() or np.count_nonzero(A) > n * n - 2 * n + 2:
        return ()
    from scipy import sparse

    count, labels = sparse.csgraph.connected_components(sparse.csr_array(A != 0), directed=False)
    if count == 1:
        return ()
    order = np.argsort(labels, kind="stable")
    return tuple(np.split(order, np.cumsum(np.bincount(labels))[:-1]))
