"""How a scan over independent channels is cut into tasks: by sequences, and if these are few, by channels too."""

from __future__ import annotations

from itertools import pairwise, product
from math import ceil
from typing import NamedTuple, TypeAlias

from .simd import LINE_BYTES
from .threads import scan_threads

Span: TypeAlias = tuple[int, int]

_WORTH_A_THREAD = 50_000  # nanoseconds; below it, waking a thread costs more than it saves
_SHARES = 2  # per thread: a core that is busy with something else then takes fewer of them


class Shares(NamedTuple):
    """The tasks, each a span of sequences and a span of channels, and the threads for them."""

    tasks: list[tuple[Span, Span]]
    threads: int

    @classmethod
    def of(cls, batch: int, channels: int, itemsize: int, nanoseconds: float) -> Shares:
        """Cut work of so many nanoseconds, channels at whole lines; the same call is always cut the same way."""
        threads = max(1, min(scan_threads(), int(nanoseconds / _WORTH_A_THREAD)))
        pieces = _SHARES * threads if threads > 1 else 1
        lanes = LINE_BYTES // itemsize
        by_sequence = min(batch, pieces)
        by_channel = min(ceil(pieces / by_sequence), ceil(channels / lanes))
        spans = [(a * lanes, min(b * lanes, channels)) for a, b in _cut(ceil(channels / lanes), by_channel)]
        return cls(list(product(_cut(batch, by_sequence), spans)), threads)


def _cut(size: int, pieces: int) -> list[Span]:
    return list(pairwise(size * k // pieces for k in range(pieces + 1)))
