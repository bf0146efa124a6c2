"""The threads of the scans: how many, the pool in which they run, and the memory that each keeps.

See diagonal/README.md for why Torch's threads and the scan's get in each other's way.
"""

from __future__ import annotations

import os
import threading
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import TYPE_CHECKING, TypeVar

import torch

from ssm_zoo._errors import require

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from torch import Tensor

Result = TypeVar("Result")

_count: int | None = None
_scratch = threading.local()


def scan_threads() -> int:
    """Return how many threads a scan takes."""
    return torch.get_num_threads() if _count is None else _count


def set_scan_threads(count: int | None) -> int | None:
    """Let scans take `count` threads, whatever Torch takes; None means as many as Torch. Returns what was set before.

    Raises
    ------
    OptionError
        If the number is below 1.
    """
    global _count
    require(count is None or count >= 1, f"got count={count}, wanted at least 1, or None")
    before, _count = _count, count
    return before


def on_threads(work: Callable[..., Result], tasks: Sequence[tuple], threads: int) -> list[Result]:
    """Return `work(*task)` of every task, in their order, whatever thread did which.

    The work must let go of the interpreter lock, as kernels compiled with `nogil` and Torch's products do.
    """
    inference = torch.is_inference_mode_enabled()

    def guarded(task: tuple) -> Result:  # grad mode and autocast belong to a thread
        with torch.inference_mode(inference), torch.no_grad(), torch.autocast("cpu", enabled=False):
            return work(*task)

    run = map if threads == 1 or len(tasks) == 1 else _pool(threads).map
    return list(run(guarded, tasks))


def scratch(name: str, size: int, like: Tensor) -> Tensor:
    """Return memory of the calling thread, which keeps it: fresh memory costs a page fault every 4 kB."""
    key = f"{name} {like.dtype}"
    held = vars(_scratch).get(key)
    if held is None or held.numel() < size:
        with torch.inference_mode(False):  # usable in any mode afterwards
            held = like.new_empty(size)
        setattr(_scratch, key, held)
    return held[:size]


@cache
def _pool(threads: int) -> ThreadPoolExecutor:
    """Start threads whose matrix products stay on their own thread.

    Numba's own threads were slower by far: they share the cores with Torch's, which spin while they wait.
    """
    everyone_is_here = threading.Barrier(threads)

    def settle() -> None:
        torch.get_num_threads()  # Torch asks for its default at the first call, which would undo the next line later
        torch.set_num_threads(1)
        everyone_is_here.wait()

    before = torch.get_num_threads()
    pool = ThreadPoolExecutor(threads, "ssm-zoo-scan", settle)
    list(pool.map(lambda _: None, range(threads)))
    torch.set_num_threads(before)  # the threads set it for themselves, but also for every thread yet to come
    return pool


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_pool.cache_clear)  # threads do not survive a fork
