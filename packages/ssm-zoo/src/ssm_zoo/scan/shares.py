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
        lines = cut(ceil(channels / lanes), by_channel)
        spans = [(part.start * lanes, min(part.stop * lanes, channels)) for part in lines]
        sequences = [(part.start, part.stop) for part in cut(batch, by_sequence)]
        return cls(list(product(sequences, spans)), threads)


def cut(size: int, pieces: int) -> list[slice]:
    """Return slices that follow each other, as long as each other or nearly so."""
    return [slice(a, b) for a, b in pairwise(size * k // pieces for k in range(pieces + 1))]
