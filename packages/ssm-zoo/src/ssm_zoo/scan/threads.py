"""How many threads a scan takes: as many as Torch, or a number of its own.

See README.md for why Torch's threads and the scan's get in each other's way.
"""

from __future__ import annotations

import torch

from ssm_zoo._errors import require

_count: int | None = None


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
