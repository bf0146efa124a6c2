"""Many modes: pivots are chosen from a sample, several at a time, and applied to pieces that stay in the cache."""

from __future__ import annotations

from typing import Any

import array_api_compat

from .._arrays import Array, namespace
from ._cauchy_greedy import Factor, Remainder, is_hopeless
from ._cauchy_pairing import largest

MANY = 1 << 15  # modes from which on passes over memory cost more than Python does
_BLOCK = 8  # pivots applied in one pass
_SAMPLE = 256  # one mode in so many is a candidate for the next pivots


def eliminate_many(start: Remainder, *, rtol: float, limit: int) -> Factor:
    """Eliminate modes of one system as `eliminate_greedily` does, with nearly the same pivots.

    Candidates for the next few pivots are a sample of the modes and the largest one of each piece, so that a mode that
    stands alone is not missed for long. The traces are exact.
    """
    n, rest, traces = start.modes.x.shape[0], start.copy(), [1.0]
    pieces = _pieces(n, start)
    columns = _Columns(start, n)
    whole, tops = _survey(rest, pieces)
    while traces[-1] > rtol and len(traces) <= limit and whole > 0:
        if is_hopeless(traces, rtol=rtol, limit=limit, modes=n):
            break
        candidates = rest.part(_candidates(tops, n, start))
        pivots = _plan(candidates, min(_BLOCK, limit + 1 - len(traces)), rtol / traces[-1])
        left, tops = _sweep(rest, pieces, pivots, columns)
        traces += [trace / whole for trace in left]
    enough = next((k for k, trace in enumerate(traces) if trace <= rtol), len(traces) - 1)
    return Factor(columns.first(enough), traces[: enough + 1], whole == 0 or traces[enough] <= rtol)


def _plan(candidates: Remainder, most: int, target: float) -> list[Any]:
    """Return the next pivots: those of a greedy elimination of the candidates, until they are where all should be."""
    pivots: list[Any] = []
    xp, squares = namespace(candidates.modes.x), candidates.squares()
    goal = 0.5 * target * float(xp.sum(squares))
    while len(pivots) < most and (not pivots or float(xp.sum(squares)) > goal):
        pivots.append(candidates.pivot(largest(squares)))
        _, candidates = candidates.eliminate(pivots[-1])
        squares = candidates.squares()
    return pivots


def _sweep(rest: Remainder, pieces: list[slice], pivots: list[Any], columns: _Columns) -> tuple[list[float], list[int]]:
    """Apply the pivots to all modes; return the trace that each leaves, and where each piece is largest at the end."""
    xp = namespace(rest.modes.x)
    left, tops = [0.0] * len(pivots), []
    columns.reserve(len(pivots))
    for piece in pieces:
        local = rest.part(piece)
        for k, pivot in enumerate(pivots):
            found, local = local.eliminate(pivot)
            columns.put(k, piece, found)
            squares = local.squares()
            left[k] += float(xp.sum(squares))
        rest.put(piece, local)
        tops.append(piece.start + int(xp.argmax(squares)))
    columns.accept(len(pivots))
    return left, tops


def _survey(rest: Remainder, pieces: list[slice]) -> tuple[float, list[int]]:
    xp = namespace(rest.modes.x)
    squares = [rest.part(piece).squares() for piece in pieces]
    tops = [piece.start + int(xp.argmax(values)) for piece, values in zip(pieces, squares, strict=True)]
    return sum(float(xp.sum(values)) for values in squares), tops


def _candidates(tops: list[int], n: int, start: Remainder) -> Array:
    xp = namespace(start.modes.x)
    places = sorted({*range(0, n, _SAMPLE), *tops})
    return xp.asarray(places, device=array_api_compat.device(start.modes.x))


def _pieces(n: int, start: Remainder) -> list[slice]:
    """Cut the modes in pieces whose arrays fit in the cache of a core; on other devices there is one piece."""
    on_host = str(array_api_compat.device(start.modes.x)) in {"cpu", "CPU_DEVICE"}
    size = (1 << 15) // start.inputs if on_host else n
    return [slice(k, min(k + size, n)) for k in range(0, n, size)]


class _Columns:
    """The factor, column after column in memory, in a buffer that doubles; pages that are not written cost nothing."""

    def __init__(self, start: Remainder, n: int) -> None:
        self._like, self._n = start, n
        self._buffer = self._empty(64)
        self._used = 0

    def reserve(self, steps: int) -> None:
        """Make room."""
        needed = self._used + steps * self._like.columns_per_step
        if needed > self._buffer.shape[0]:
            old, self._buffer = self._buffer, self._empty(needed + needed // 2)
            self._buffer[: self._used, :] = old[: self._used, :]

    def put(self, step: int, piece: slice, found: tuple[Array, ...]) -> None:
        """Write the rows of a piece; a paired column is [Re c; Im c]."""
        row = self._used + step * len(found)
        size = piece.stop - piece.start
        for k, column in enumerate(found):
            self._buffer[row + k, piece] = column[:size]
            if column.shape[0] > size:
                self._buffer[row + k, self._n + piece.start : self._n + piece.stop] = column[size:]

    def accept(self, steps: int) -> None:
        """Keep what the last steps wrote."""
        self._used += steps * self._like.columns_per_step

    def first(self, steps: int) -> Array:
        """Return the factor of the first steps."""
        return self._buffer[: steps * self._like.columns_per_step, :].T

    def _empty(self, columns: int) -> Array:
        xp, x = namespace(self._like.modes.x), self._like.modes.x
        rows, dtype = self._n, x.dtype
        if self._like.columns_per_step == 2:  # a pair of real ones
            rows, dtype = 2 * self._n, self._like.modes.margin.dtype
        return xp.empty((columns, rows), dtype=dtype, device=array_api_compat.device(x))
