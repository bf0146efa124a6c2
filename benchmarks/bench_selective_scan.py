"""The selective scan alone beside what the arithmetic allows: batch 8, 256 channels, single precision, one thread.

The limit counts one exponential and four vector operations for every state and step forward, one and thirteen backward,
at the rates that `limits.py` measures on this machine in the first-level cache and in registers; memory is left out.
"""

from __future__ import annotations

import limits
import pytest
import torch

from ssm_zoo.process import keep_freed_memory
from ssm_zoo.scan import selective_scan, set_scan_threads

BATCH, CHANNELS = 8, 256
OPERATIONS = {"forward": 4, "backward": 13}


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """Take one thread: the limit is that of one core."""
    keep_freed_memory()
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    set_scan_threads(1)
    yield
    torch.set_num_threads(before)
    set_scan_threads(None)


def arguments(n, length):
    """Return u, dt, A, B and C."""
    u, dt = torch.randn(BATCH, length, CHANNELS), 0.1 * torch.rand(BATCH, length, CHANNELS)
    B, C = torch.randn(2, BATCH, length, n)
    return [tensor.requires_grad_() for tensor in (u, dt, -1 - torch.rand(CHANNELS, n), B, C)]


@pytest.mark.parametrize("direction", OPERATIONS)
@pytest.mark.parametrize(("n", "length"), [(16, 512), (64, 512), (16, 2048)])
def test_share_of_the_limit(race, benchmark, n, length, direction):
    """One pass, its time and its share."""
    given = arguments(n, length)
    y, _ = selective_scan(*given)
    weights = torch.randn_like(y)

    def run():
        if direction == "forward":
            with torch.no_grad():
                selective_scan(*given)
        else:
            torch.autograd.grad(y, given, weights, retain_graph=True)

    updates = BATCH * length * CHANNELS * n
    limit = updates / limits.exponentials() + OPERATIONS[direction] * updates / limits.vector_operations()
    race(f"selective scan alone, N={n} L={length} {direction}, 1 thread", {"ours": run})
    ours = benchmark.extra_info["contestants"]["ours"]
    ours |= {"limit ms": round(1e3 * limit, 1), "share": f"{100 * limit / ours['seconds']:.0f} %"}
