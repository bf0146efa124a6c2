"""LAPACK called without the interpreter's lock, and products, so that threads share the members of a batch."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from ctypes import CFUNCTYPE, c_char, c_char_p, c_void_p, py_object, pythonapi
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
from array_api_compat import is_numpy_array
from scipy.linalg import cython_lapack

from ._arrays import product

if TYPE_CHECKING:
    from collections.abc import Callable

    from jaxtyping import Inexact

    from ._arrays import Array

_TASKS = 4  # a thread: one that is late holds the others up by a quarter of its work at most
_MEMBERS = 16  # of a part at most: what one step leaves is in the cache for the next


@cache
def routine(name: str, arguments: int) -> Callable[..., None]:
    """Return a LAPACK routine of SciPy's that takes so many pointers; ctypes lets go of the lock while it runs."""
    capsule = cython_lapack.__pyx_capi__[name]
    signature = CFUNCTYPE(c_char_p, py_object)(("PyCapsule_GetName", pythonapi))(capsule)
    address = CFUNCTYPE(c_void_p, py_object, c_char_p)(("PyCapsule_GetPointer", pythonapi))(capsule, signature)
    return CFUNCTYPE(None, *[c_void_p] * arguments)(address)


def letter(value: str) -> c_char:
    """Return a character to point to."""
    return c_char(value.encode())


def addresses(array: np.ndarray) -> range:
    """Return where each member of a batch begins."""
    first, step = array.ctypes.data, array.strides[0]
    return range(first, first + step * array.shape[0], step)


def in_parts(work: Callable[[slice], Any], members: int, threads: int) -> list[Any]:
    """Return what `work` makes of each part of a batch, in order."""
    size = max(1, min(-(-members // (_TASKS * threads)), _MEMBERS))
    parts = [slice(start, min(start + size, members)) for start in range(0, members, size)]
    if threads == 1 or len(parts) < 2:
        return [work(part) for part in parts]
    with ThreadPoolExecutor(min(threads, len(parts))) as pool:
        return list(pool.map(work, parts))


def shared_product(
    X: Inexact[Array, "*batch n k"], Y: Inexact[Array, "*batch k m"], threads: int
) -> Inexact[Array, "*batch n m"]:
    """X Y, by several threads where there are a batch of NumPy arrays and more threads than one."""
    batched = X.ndim == Y.ndim == 3 and X.shape[0] == Y.shape[0]
    if threads == 1 or not batched or not (is_numpy_array(X) and is_numpy_array(Y)):
        return product(X, Y)
    out = np.empty((X.shape[0], X.shape[1], Y.shape[2]), dtype=np.result_type(X, Y))
    in_parts(lambda part: np.matmul(X[part], Y[part], out=out[part]), X.shape[0], threads)
    return out
