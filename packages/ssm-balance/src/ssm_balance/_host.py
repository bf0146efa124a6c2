"""A system as NumPy arrays in double precision, for the algorithms that exist only in LAPACK."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ssm_gramians import StateSpace, Structure

from ._arrays import in_double

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ._arrays import Array, Matrix


def on_host(system: StateSpace) -> StateSpace:
    """Return the system with NumPy arrays; those of Torch must be on the CPU and need no gradient."""
    return _mapped(system, lambda matrix: np.asarray(in_double(matrix)))


def dense_matrices(system: StateSpace) -> tuple[Array, Array, Array, Array]:
    """Return A, B, C, D, dense; for a paired system the real ones of order 2n."""
    dense = system.to_dense()
    return dense.A, dense.B, dense.C, dense.D


def members(system: StateSpace) -> Iterator[StateSpace]:
    """Yield the systems of a batch one by one."""
    for index in np.ndindex(system.batch_shape):
        yield _mapped(system, lambda matrix, index=index: matrix[index])  # type: ignore[misc]


def _mapped(system: StateSpace, change: Callable[[Array], Array]) -> StateSpace:
    def moved(M: Matrix) -> Matrix:
        return M.map(change) if isinstance(M, Structure) else change(M)

    E = None if system.E is None else moved(system.E)
    return StateSpace(moved(system.A), change(system.B), change(system.C), change(system.D), system.dt, E)
