"""The kernels of the `cupy` backend, compiled on first use for one dtype each, launched on the current stream."""

from __future__ import annotations

from functools import cache
from math import prod
from typing import TYPE_CHECKING, Any

import cupy
import numpy as np

from ._cuda_source import cuda_source

if TYPE_CHECKING:
    from .._arrays import Array

_THREADS = 256  # a power of two, which the sums over a block need
_BLOCKS = 65_535  # threads of a grid go on with the next entry, so that no batch is too large


@cache
def _module(char: str) -> Any:
    return cupy.RawModule(code=cuda_source(char), options=("--std=c++14", "--fmad=false"))


def quotient(name: str, G: Array, a: Array, b: Array) -> Array:
    """Run `stein_quotient` or `lyapunov_quotient` on a batch whose parts may lack the leading dimensions."""
    dtype, n = np.result_type(G.dtype, a.dtype, b.dtype), G.shape[-1]
    batch = np.broadcast_shapes(G.shape[:-2], a.shape[:-1], b.shape[:-1])
    G, g_step = _flat(G, batch, 2, dtype)
    a, a_step = _flat(a, batch, 1, dtype)
    b, b_step = _flat(b, batch, 1, dtype)
    out = cupy.empty((*batch, n, n), dtype=dtype)
    steps = np.int64(g_step), np.int32(a_step), np.int32(b_step)
    _for_each_entry(name, out, G, a, b, out, np.int64(out.size), np.int32(n), *steps)
    return out


def paired_stein(Q: Array, slots: Array) -> Array:
    """Run `paired_stein` on a batch."""
    n = slots.shape[-1]
    dtype = np.result_type(Q.dtype, np.complex64)
    Q, slots = cupy.ascontiguousarray(Q), cupy.ascontiguousarray(slots.astype(dtype, copy=False))
    out = cupy.empty_like(Q)
    _for_each_entry("paired_stein", slots, Q, slots, out, np.int64(Q.size // 4), np.int32(n))
    return out


def smith_sums(A: Array, Q: Array, *, rtol: float, max_steps: int) -> tuple[Array, Array, Array, Array]:
    """Run `smith_sums`, one block a system, in shared memory if three matrices fit there."""
    batch, n = A.shape[:2]
    A, Q = cupy.ascontiguousarray(A), cupy.ascontiguousarray(Q)
    real = np.empty(0, A.dtype).real.dtype
    X, residual = cupy.empty_like(Q), cupy.empty(batch, dtype=real)
    steps, outcome = cupy.empty(batch, dtype=cupy.int64), cupy.empty(batch, dtype=cupy.int64)
    kernel = _module(A.dtype.char).get_function("smith_sums")
    entries, sums = 3 * n * (n | 1), _THREADS * real.itemsize
    most = cupy.cuda.Device().attributes["MaxSharedMemoryPerBlockOptin"]
    fits = sums + entries * A.dtype.itemsize <= most
    shared = sums + entries * A.dtype.itemsize if fits else sums
    kernel.max_dynamic_shared_size_bytes = max(shared, kernel.max_dynamic_shared_size_bytes)
    scratch = np.intp(0) if fits else cupy.empty(batch * entries, dtype=A.dtype)
    limits = np.int32(n), np.int32(max_steps), real.type(rtol), real.type(1 / np.finfo(real).eps)
    kernel((batch,), (_THREADS,), (A, Q, X, residual, steps, outcome, scratch, *limits), shared_mem=shared)
    return X, residual, steps, outcome


def _for_each_entry(name: str, like: Array, *arguments: Any) -> None:
    """Launch a kernel that strides over entries; `like` has the dtype that it is compiled for."""
    total = next(int(value) for value in arguments if isinstance(value, np.int64))
    if total:
        blocks = min(_BLOCKS, -(-total // _THREADS))
        _module(like.dtype.char).get_function(name)((blocks,), (_THREADS,), arguments)


def _flat(array: Array, batch: tuple[int, ...], axes: int, dtype: Any) -> tuple[Array, int]:
    """Return contiguous entries and how many there are from one system to the next: 0 if all share them."""
    array = array.astype(dtype, copy=False)
    size = prod(array.shape[-axes:])
    if array.size == size:
        return cupy.ascontiguousarray(array), 0
    return cupy.ascontiguousarray(cupy.broadcast_to(array, (*batch, *array.shape[-axes:]))), size
