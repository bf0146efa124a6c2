"""What a process that does nothing but train may ask of the system it runs on."""

from __future__ import annotations

import ctypes
import sys

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # malloc.h
_KEEP = 1 << 30  # bytes


def keep_freed_memory() -> bool:
    """Let glibc keep up to 1 GiB of freed memory, and say whether it will.

    A training step frees and asks for the same few megabytes again and again. By default they go back to the kernel,
    which hands them out as zeroed pages of 4 kB: a quarter of the time of a small model's step. Elsewhere than with
    glibc nothing happens.
    """
    if not sys.platform.startswith("linux"):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    return mallopt is not None and all(mallopt(option, _KEEP) for option in (_TRIM_THRESHOLD, _MMAP_THRESHOLD))
