"""What a method says of itself; the laws hold it to this, and the table of methods shows it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from ssm_gramians import StateSpace

from .systems import DT, KINDS, Kind, stable_system

if TYPE_CHECKING:
    from .._reduction import Reduction

BOTH = frozenset({"continuous", "discrete"})
CONTINUOUS = frozenset({"continuous"})
NEVER: frozenset[str] = frozenset()
WORDS = {
    "stability": "every pole of the reduced system decays",
    "DC gain": "G_r = G at frequency zero",
    "D": "G_r = G at infinite frequency",
    "poles": "every pole of the reduced system is one of the full system",
    "contraction": "a gain below γ stays at most γ",
    "passivity": "a positive-real system stays one",
}


class Promises:
    """The declarations of one method, as class attributes; where none is made, nothing is promised.

    `MethodConformance` has the laws.
    """

    name: ClassVar[str]
    """What it is called in the table."""
    bound: ClassVar[str | None] = None
    """The a priori H∞ error bound, as a formula; None if `error_bound` is infinite."""
    bound_is_relative: ClassVar[bool] = False
    """Whether `error=` and `relative_error_bound` are about the relative error."""
    optimal: ClassVar[str | None] = None
    """"Hankel" if ‖G − G_r‖_H = σ_{r+1}; "H2" if the H2 error is never above that of balanced truncation."""
    keeps: ClassVar[frozenset[str]] = frozenset()
    """Of the keys of `WORDS`."""
    times: ClassVar[frozenset[str]] = BOTH
    """"continuous", "discrete"."""
    kinds: ClassVar[tuple[Kind, ...]] = KINDS
    """The kinds of systems for which all this is promised; a sparse A among them."""
    sparse_descriptor: ClassVar[bool] = False
    """Whether a sparse E is taken."""
    batched: ClassVar[bool] = True
    """Whether a batch is taken, and gets one order; refused if not."""
    takes_unstable: ClassVar[bool] = False
    """Whether an unstable system is reduced as it is; refused if not."""
    splits_unstable: ClassVar[bool] = False
    """Whether `unstable="keep"` reduces the stable part and keeps the rest."""
    takes_torch: ClassVar[bool] = True
    """Whether tensors are taken, and given back."""
    projects: ClassVar[frozenset[str]] = BOTH
    """The times in which the result is a Petrov-Galerkin projection by `left` and `right`."""
    keeps_values: ClassVar[frozenset[str]] = NEVER
    """The times in which the reduced system has the first r of the values that the order was chosen from."""
    values_are_hankel: ClassVar[bool] = False
    """Whether `hsv` are the Hankel singular values of the system."""
    invariant: ClassVar[bool] = True
    """Whether the reduced map is the same in whatever coordinates the system comes."""
    keeps_pairs: ClassVar[bool] = False
    """Whether conjugate poles stay together, so that there may be one state more than was asked for."""
    rtol: ClassVar[float] = 1e-8
    """How far rounding may move the reduced map, relative to the gain of the system."""
    note: ClassVar[str] = ""
    """What else the table says."""

    reduce: Any

    def system(self, kind: Kind = "dense", dt: float = 0.0) -> StateSpace:
        """Return a system that the method takes; override it where the method asks for more than stability."""
        return stable_system(kind, dt)

    def run(self, system: StateSpace, order: Any = None, **wish: Any) -> Reduction:
        """Reduce by the method under test."""
        return self.reduce(system, order, **wish)

    def systems(self) -> list[StateSpace]:
        """Return one dense system for each time that is taken."""
        return [self.system("dense", dt) for dt in (0.0, DT) if time_of(dt) in self.times]


def time_of(dt: float) -> str:
    """Return "discrete" or "continuous"."""
    return "discrete" if dt else "continuous"
