"""Greedy elimination: always the mode with the largest diagonal entry of what is left, until enough is gone."""

from __future__ import annotations

from math import inf, log
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Protocol, Self

from .._arrays import Array, namespace
from ._cauchy_pairing import Modes, largest

if TYPE_CHECKING:
    from jaxtyping import Float, Inexact

LOOK = 16  # steps between two looks at how fast the trace falls; at the first of them it may still be settling


class Remainder(Protocol):
    """What is left of a Gramian: its modes, and generators in whatever form."""

    columns_per_step: ClassVar[int]

    @property
    def modes(self) -> Modes:
        """Return the modes."""
        ...

    @property
    def inputs(self) -> int:
        """Return the number of inputs."""
        ...

    def roots(self) -> Float[Array, "*batch n"]:
        """Return the roots of the diagonal."""
        ...

    def squares(self) -> Float[Array, "*batch n"]:
        """Return the diagonal."""
        ...

    def pivot(self, chosen: Array) -> Any:
        """Return what `eliminate` needs to know of the mode where `chosen` is true."""
        ...

    def eliminate(self, pivot: Any) -> tuple[tuple[Array, ...], Self]:
        """Return the columns of one step, and what it leaves."""
        ...

    def part(self, where: Array | slice) -> Self:
        """Return some of the modes of one system."""
        ...

    def put(self, where: slice, part: Any) -> None:
        """Overwrite the generators of some of the modes."""
        ...

    def copy(self) -> Self:
        """Return the same with generators of its own."""
        ...


class Factor(NamedTuple):
    """A factor, the traces of what each step left (worst system, relative to the whole), and the steps."""

    Z: Inexact[Array, "*batch n k"]
    traces: list[float]
    converged: bool

    @property
    def steps(self) -> int:
        """Return the number of modes, or pairs of them, that were eliminated."""
        return len(self.traces) - 1


def eliminate_greedily(start: Remainder, *, rtol: float, limit: int) -> Factor:
    """Eliminate modes of each system until the trace of the rest is below rtol times the trace, or nothing is left."""
    roots = start.roots()
    xp, n = namespace(roots), roots.shape[-1]
    columns: list[Array] = []
    whole, traces, rest = _trace(roots), [1.0], start
    while True:
        done = traces[-1] <= rtol or len(traces) > n
        if done or len(traces) > limit or is_hopeless(traces, rtol=rtol, limit=limit, modes=n):
            break
        found, rest = rest.eliminate(rest.pivot(largest(roots)))
        columns += found
        roots = rest.roots()
        # the squares of the last ones may underflow; where all modes go, nobody asks
        traces.append(_worst(_trace(roots), whole) if rtol > 0 else 1.0)
    return Factor(xp.stack(columns, axis=-1), traces, done)


def is_hopeless(traces: list[float], *, rtol: float, limit: int, modes: int) -> bool:
    """Say whether, as fast as the trace has fallen in the last half of the steps, twice the limit would not do.

    Where every mode may be eliminated, the end is near in any case.
    """
    steps = len(traces) - 1
    if limit >= modes or steps < 2 * LOOK or steps % LOOK or rtol == 0:
        return False
    rate = log(traces[steps // 2] / traces[-1]) / (steps - steps // 2)
    needed = steps + log(traces[-1] / rtol) / rate if rate > 0 else inf
    return needed > 2 * limit


def _trace(roots: Float[Array, "*batch n"]) -> Float[Array, "*batch"]:
    return namespace(roots).sum(roots * roots, axis=-1)


def _worst(rest: Float[Array, "*batch"], whole: Float[Array, "*batch"]) -> float:
    """Return the largest share of a trace that is left."""
    xp = namespace(rest)
    if 0 in rest.shape:
        return 0.0
    safe = xp.where(whole == 0, xp.ones_like(whole), whole)
    return float(xp.max(rest / safe))
