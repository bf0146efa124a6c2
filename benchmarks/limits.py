"""What this machine can do at most, measured: matrix products, exponentials, and memory.

The limit of a scan is the time of its arithmetic if nothing else cost any: so many exponentials at the rate of a
polynomial one in the first-level cache, so many vector operations, so many bytes.
"""

from __future__ import annotations

import time
from statistics import median

import numpy as np
import torch

from ssm_zoo.scan.elementary import exp2
from ssm_zoo.scan.simd import fma, kernel, load, store

LINE, LOOPS = 16, 20_000  # numbers in a line; times that a kilobyte or so is passed


def gemm():
    """Return multiply-adds of single-precision matrix products a second, two operations each."""
    size = 1024
    a, b = torch.randn(2, size, size)
    return 2 * size**3 / _seconds(lambda: a @ b)


@kernel
def _exponentials(x, out, loops):
    for _ in range(loops):
        for i in range(0, x.size, LINE):
            store(out, i, exp2(load(x, i)))


@kernel
def _multiply_adds(x, out, loops):
    a, b, c, d = load(x, 0), load(x, LINE), load(x, 2 * LINE), load(x, 3 * LINE)
    e, f, m, k = load(x, 4 * LINE), load(x, 5 * LINE), load(x, 6 * LINE), load(x, 7 * LINE)
    for _ in range(loops):  # six chains in registers: enough to hide the latency
        a, b, c = fma(a, m, k), fma(b, m, k), fma(c, m, k)
        d, e, f = fma(d, m, k), fma(e, m, k), fma(f, m, k)
    for i, line in enumerate((a, b, c, d, e, f)):
        store(out, i * LINE, line)


def exponentials():
    """Return polynomial exponentials a second, single precision, one core, in the first-level cache."""
    x, out = _numbers()
    return x.size * LOOPS / _seconds(lambda: _exponentials(x, out, LOOPS))


def vector_operations():
    """Return multiply-adds a second in registers, single precision, one core."""
    x, out = _numbers()
    return 6 * LINE * 100 * LOOPS / _seconds(lambda: _multiply_adds(x, out, 100 * LOOPS))


def _numbers():
    x = np.linspace(-0.5, 0.3, 64 * LINE, dtype=np.float32)
    return x, np.empty_like(x)


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
