"""How a scan is cut: parts of the states and shares of the batch for the threads, tiles that stay in cache in turn."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from ..shares import cut
from ..threads import scan_threads

if TYPE_CHECKING:
    from collections.abc import Iterable

    from torch import Tensor

_TILE_BYTES = 1 << 21  # stays in a level-3 cache; smaller tiles pay more for Python between the products than they save
_SHARES = 2  # per thread: a core that is busy with something else then takes fewer of them
_WORTH_A_THREAD = 1 << 22  # complex multiply-adds; below it, waking a thread costs more than it saves
_NARROWEST = 32  # states; a narrower share leaves the vector units idle


class Plan(NamedTuple):
    """How a call is cut: parts of the states, shares of the batch, and tiles of `group` sequences by `chunk` steps."""

    parts: list[slice]
    shares: list[slice]
    group: int
    chunk: int
    length: int
    reverse: bool
    threads: int

    @classmethod
    def of(cls, inputs: Tensor, n: int, p: int, reverse: bool, whole: bool) -> Plan:
        """Return the plan for a call; `whole` if a tile must hold all states of a step."""
        batch, length, m = inputs.shape
        work = batch * length * n * (m + p + 2)
        threads = max(1, min(scan_threads(), work // _WORTH_A_THREAD))
        parts = 1 if whole else max(1, min(threads // batch, n // _NARROWEST))
        shares = min(batch, _SHARES * threads) if threads > 1 else 1
        share = -(-batch // shares)
        group = -(-share // -(-share // max(1, _rows_of_a_tile(inputs, n) // length)))
        return cls(cut(n, parts), cut(batch, shares), group, -(-length // chunks(inputs, n)), length, reverse, threads)

    def tiles(self, rows: slice) -> Iterable[tuple[slice, list[slice]]]:
        """Give groups of sequences, each with its spans of time in the order of the scan."""
        spans = [slice(k, min(k + self.chunk, self.length)) for k in range(0, self.length, self.chunk)]
        if self.reverse:
            spans.reverse()
        for start in range(rows.start, rows.stop, self.group):
            yield slice(start, min(start + self.group, rows.stop)), spans


def chunks(inputs: Tensor, n: int) -> int:
    """Return how many spans of time a sequence is cut into, whatever the number of threads."""
    return -(-inputs.shape[1] // _rows_of_a_tile(inputs, n))


def _rows_of_a_tile(inputs: Tensor, n: int) -> int:
    return max(1, _TILE_BYTES // (max(2 * n, inputs.shape[2]) * inputs.element_size()))
