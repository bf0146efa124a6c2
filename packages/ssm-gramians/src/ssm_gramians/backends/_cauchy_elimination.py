"""Elimination of the modes of a diagonal system in compiled loops: what the solver `Cauchy` asks of a backend."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from ._cauchy_kernels import PIECE, greedy, sweep, trace
from ._cauchy_twofold_kernels import twofold_greedy

if TYPE_CHECKING:
    from jaxtyping import Float, Inexact

_MANY = 1 << 15  # modes of one system from which on it is cut in pieces
_BLOCK = 8  # pivots applied in one pass over the pieces
_SAMPLE = 256  # one mode in so many is a candidate for the next pivots


class Elimination:
    """A batch of systems with one input, of which some modes have been eliminated.

    Parameters
    ----------
    kind
        0 in continuous time, 1 in discrete time.
    paired
        Whether modes are eliminated with their conjugates.
    x, margin
        Modes and their meet with themselves, shape (..., n).
    g
        Generators, shape (..., n), of the dtype of x.
    """

    def __init__(
        self,
        kind: int,
        paired: bool,
        x: Inexact[Any, "*batch n"],
        margin: Float[Any, "*batch n"],
        g: Inexact[Any, "*batch n"],
    ) -> None:
        self._kind, self._batch, n = kind, g.shape[:-1], g.shape[-1]
        self._style = 2 if paired else int(np.iscomplexobj(g))
        count = math.prod(self._batch)
        parts = (lambda z: (z.real, z.imag)) if self._style else lambda z: (z, np.empty((*self._batch, 0)))
        # writable, though nothing writes: the loops are compiled for each kind of array anew
        flat = (np.require(part, dtype=margin.dtype, requirements=["C", "W"]) for part in (*parts(x), margin))
        self._modes = tuple(part.reshape(count, part.shape[-1]) for part in flat)
        self._g = tuple(np.array(z, dtype=margin.dtype, order="C").reshape(count, z.shape[-1]) for z in parts(g))
        self._weight = np.divide(1.0, self._modes[2], dtype=np.float64)
        self._buffer = self._rows(min(n, 64))
        self.traces = [1.0]  # after each step, relative to the first one, in the worst system
        self._whole = np.array([self._trace(k) for k in range(self._weight.shape[0])])
        self._many = self._g[0].shape[0] == 1 and n >= _MANY
        self._tops = np.empty(0, dtype=np.int64)

    def advance(self, steps: int, rtol: float) -> None:
        """Eliminate so many modes of each system, fewer once all traces are below rtol times the first ones."""
        first, last = len(self.traces) - 1, len(self.traces) - 1 + steps
        if last * self._per_step > self._buffer.shape[1]:
            old, self._buffer = self._buffer, self._rows(last + last // 2)
            self._buffer[:, : old.shape[1]] = old
        if self._many:
            self._advance_in_pieces(first, last, rtol)
            return
        traces = np.empty((self._whole.shape[0], last + 1))
        chosen = np.empty((self._whole.shape[0], last), dtype=np.int64)
        target = rtol * self._whole if rtol > 0 else np.full_like(self._whole, -1.0)
        greedy(self._kind, self._style, *self._arrays, self._buffer, chosen, traces, first, last, target)
        worst = np.max(traces / np.where(self._whole > 0, self._whole, 1)[:, None], axis=0, initial=0.0)
        self._accept([float(left) for left in worst[first + 1 :]], rtol)

    def factor(self) -> Inexact[Any, "*batch n k"]:
        """Return the columns so far."""
        Z = self._buffer[:, : (len(self.traces) - 1) * self._per_step]
        Z = Z.view(np.result_type(Z.dtype, np.complex64)) if self._style == 1 else Z
        return Z.reshape(*self._batch, *Z.shape[1:]).swapaxes(-1, -2)

    @property
    def _per_step(self) -> int:
        return 2 if self._style == 2 else 1

    def _trace(self, k: int) -> float:
        return float(trace(self._style, self._g[0][k], self._g[1][k], self._weight[k]))

    @property
    def _arrays(self) -> tuple[Any, ...]:
        return (*self._modes, self._weight, *self._g)

    def _rows(self, steps: int) -> Any:
        batch, n = self._g[0].shape
        shape = (batch, steps * self._per_step, n if self._style == 0 else 2 * n)
        return np.empty(shape, dtype=self._g[0].dtype)  # pages that are not written cost nothing

    def _accept(self, traces: list[float], rtol: float) -> None:
        for left in traces:
            if rtol > 0 and self.traces[-1] <= rtol:
                break
            self.traces.append(left)

    def _advance_in_pieces(self, first: int, last: int, rtol: float) -> None:
        """Choose pivots among candidates, several at a time, and apply them to pieces that stay in the cache."""
        arrays, pieces = [array[0] for array in self._arrays], -(-self._g[0].shape[1] // PIECE)
        while first < last and self.traces[-1] > rtol:
            pivots = self._plan(min(_BLOCK, last - first), rtol / self.traces[-1])
            traces, tops = np.empty((pieces, len(pivots))), np.empty(pieces, dtype=np.int64)
            sweep(self._kind, self._style, *arrays, pivots, self._buffer[0], first, traces, tops)
            self._tops, first = tops, first + len(pivots)
            self._accept([float(left) for left in traces.sum(axis=0) / self._whole[0]], rtol)

    def _plan(self, most: int, target: float) -> Any:
        """Return the next pivots: those of a greedy elimination of the candidates, until they are where all should be.

        Candidates are a sample of the modes and the largest one of each piece: a mode that stands alone is not missed.
        """
        places = np.union1d(np.arange(0, self._g[0].shape[1], _SAMPLE), self._tops)
        arrays = [array[:, places] if array.shape[1] else array for array in self._arrays]
        x, y, margin, weight, g, h = arrays
        whole = np.array([trace(self._style, g[0], h[0], weight[0])])
        scratch = np.empty((1, most * self._per_step, 2 * len(places)), dtype=g.dtype)
        chosen, traces = np.empty((1, most), dtype=np.int64), np.empty((1, most + 1))
        greedy(self._kind, self._style, *arrays, scratch, chosen, traces, 0, most, 0.5 * target * whole)
        chosen = chosen[0, : max(np.count_nonzero(chosen >= 0), 1)]
        return np.stack((x[0, chosen], (y if self._style else x)[0, chosen], margin[0, chosen]), axis=1)


def eliminate_rows(kind: int, paired: bool, x: Any, G: Any, margin: Any, noise: Any) -> tuple[Any, Any]:
    """Eliminate all modes with several inputs, in twice the precision.

    Parameters
    ----------
    kind
        0 in continuous time, 1 in discrete time.
    paired
        Whether the last half of the modes are the conjugates of the first half, to be eliminated with them.
    x, G
        Modes and generator rows as `high` and `low` parts, shapes (1 or 2, ..., n) and (1 or 2, ..., n, m).
    margin, noise
        The meet of modes with themselves, and the norm below which a row is zero, shape (..., n).

    Returns
    -------
    tuple
        The columns, complex, shape (..., n, n), one a row; and the mode that each step eliminated.
    """
    *batch, n, m = G.high.shape[1:]
    count, steps = math.prod(batch), n // 2 if paired else n
    modes, rows = (np.zeros((count, 4, *shape), dtype=margin.dtype) for shape in ((n,), (m, n)))
    for part in range(G.high.shape[0]):
        for k, values in enumerate((G.high, G.low)):
            rows[:, 2 * part + k] = values[part].swapaxes(-1, -2).reshape(count, m, n)
    for part in range(x.high.shape[0]):
        for k, values in enumerate((x.high, x.low)):
            modes[:, 2 * part + k] = values[part].reshape(count, n)
    Z, chosen = np.empty((count, n, 2 * n), dtype=margin.dtype), np.empty((count, steps), dtype=np.int64)
    flat = (np.require(values, requirements=["C", "W"]).reshape(count, n) for values in (margin, noise))
    twofold_greedy(kind, paired, modes, rows, *flat, Z, chosen)
    Z = Z.view(np.result_type(Z.dtype, np.complex64))
    return Z.reshape(*batch, n, n), chosen.reshape(*batch, steps)
