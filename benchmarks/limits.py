"""What this machine can do at most, measured: matrix products, exponentials, and memory.

The limit of a scan is the time of its arithmetic if nothing else cost any: so many exponentials at the rate of a
polynomial one in the first-level cache, so many vector operations, so many bytes.
"""

from __future__ import annotations

import time
from statistics import median

import numba
import numpy as np
import torch

LANES, LOOPS = 2048, 2000


def gemm():
    """Return multiply-adds of single-precision matrix products a second, two operations each."""
    size = 1024
    a, b = torch.randn(2, size, size)
    return 2 * size**3 / _seconds(lambda: a @ b)


@numba.njit(fastmath=True, nogil=True)
def _exponentials(x, out, loops):
    for _ in range(loops):
        for i in range(x.size):  # exp(x) = 2^k exp(r), by a polynomial of degree 5 and the bits of 2^k
            k = np.floor(x[i] * np.float32(1.44269504) + np.float32(0.5))
            r = x[i] - k * np.float32(0.693359375) + k * np.float32(2.12194440e-4)
            p = np.float32(1.9875691500e-4)
            p = p * r + np.float32(1.3981999507e-3)
            p = p * r + np.float32(8.3334519073e-3)
            p = p * r + np.float32(4.1665795894e-2)
            p = p * r + np.float32(1.6666665459e-1)
            p = p * r + np.float32(5.0000001201e-1)
            out[i] += (p * r * r + r + np.float32(1)) * np.float32(k + np.float32(127))


@numba.njit(fastmath=True, nogil=True)
def _multiply_adds(x, out, loops):
    for _ in range(loops):
        for i in range(x.size):
            out[i] = out[i] * np.float32(0.999) + x[i]


def exponentials():
    """Return polynomial exponentials a second, single precision, one core, in the first-level cache."""
    x, out = np.random.default_rng(0).standard_normal((2, LANES)).astype(np.float32)
    return LANES * LOOPS / _seconds(lambda: _exponentials(x, out, LOOPS))


def vector_operations():
    """Return multiply-adds a second between arrays in the first-level cache, one core."""
    x, out = np.random.default_rng(0).standard_normal((2, LANES)).astype(np.float32)
    return LANES * LOOPS / _seconds(lambda: _multiply_adds(x, out, LOOPS))


def bandwidth():
    """Return bytes a second that a copy of memory larger than the caches reads and writes."""
    a = torch.randn(32 << 20)
    b = torch.empty_like(a)
    return 2 * 4 * a.numel() / _seconds(lambda: b.copy_(a))


def _seconds(call, rounds=7):
    call()
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return median(times)


if __name__ == "__main__":
    torch.set_num_threads(1)
    print(f"matrix products   {gemm() / 1e9:8.1f} GFLOP/s")
    print(f"exponentials      {exponentials() / 1e9:8.2f} G/s")
    print(f"vector operations {vector_operations() / 1e9:8.2f} G multiply-adds/s")
    print(f"memory            {bandwidth() / 1e9:8.1f} GB/s")
