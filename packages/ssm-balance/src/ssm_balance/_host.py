"""A system as NumPy arrays in double precision, for the algorithms that exist only in LAPACK."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from array_api_compat import array_namespace, device, is_array_api_obj, to_device

from ssm_gramians import StateSpace, Structure

from ._arrays import in_double

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from jaxtyping import Inexact

    from ._arrays import Array, Matrix


def on_host(system: StateSpace) -> StateSpace:
    """Return the system with NumPy arrays in double precision, from any device and without gradients."""
    return _mapped(system, lambda matrix: to_numpy(in_double(matrix)))


def to_numpy(X: Inexact[Array, "*shape"]) -> Inexact[np.ndarray, "*shape"]:
    """Return an array of any library, on any device, as a NumPy array: not a copy if it can be avoided."""
    if hasattr(X, "detach"):
        X = X.detach().resolve_conj().resolve_neg()  # Torch puts both off until someone looks
    return np.asarray(to_device(X, "cpu") if is_array_api_obj(X) else X)


def from_numpy(M: Inexact[np.ndarray, "*shape"], like: Array) -> Inexact[Array, "*shape"]:
    """Copy a NumPy array to the library and the device of another array."""
    return array_namespace(like).asarray(np.array(M), device=device(like))


def in_kind_of(like: Array, system: StateSpace) -> StateSpace:
    """Return a system in NumPy arrays as a dense one of the library and on the device of an array."""
    A, B, C, D = (from_numpy(M, like) for M in dense_matrices(system))
    return StateSpace(A, B, C, D, system.dt)


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
