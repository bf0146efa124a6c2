"""When to reduce."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from .._errors import OptionError


class Schedule(Protocol):
    """Says after which training steps a reduction is due; a function of the step serves too.

    A schedule that decides by what happens has two methods more, `watches(step)`, which says whether it wants to look
    at that step, and `see(step, loss, values)`, which is then told the loss (None if the reducer was not given it) and
    what the states of each layer are worth. What it remembers is its `state_dict`.
    """

    def due(self, step: int) -> bool:
        """Say whether a reduction is due after `step` training steps (the first step is 1)."""
        ...


@dataclass(frozen=True)
class Warmup:
    """Equidistant cuts within the first part of training: the schedule of the CompreSSM paper.

    Cutting early makes most of the training cheap, and leaves it to repair what a cut costs.

    Parameters
    ----------
    total_steps
        Length of the training run in steps.
    fraction
        Share of the run within which all cuts fall, in (0, 1].
    cuts
        How many cuts, at least 1; the last falls at the end of that share.

    Raises
    ------
    OptionError
        If an option is out of range, or there are more cuts than steps.

    References
    ----------
    CompreSSM, arXiv 2510.02823, section 4: four cuts in the first 10 % of the steps.
    """

    total_steps: int
    fraction: float = 0.1
    cuts: int = 4

    def __post_init__(self) -> None:
        if not 0 < self.fraction <= 1:
            msg = f"fraction is {self.fraction}; want a share of the run in (0, 1]"
            raise OptionError(msg)
        if not 1 <= self.cuts <= self.total_steps * self.fraction:
            msg = (
                f"{self.cuts} cuts within {self.fraction:g} of {self.total_steps} steps; "
                "want at least one cut, and at least one step for each: train longer or cut less often"
            )
            raise OptionError(msg)

    def due(self, step: int) -> bool:
        """Say whether `step` is one of the equidistant cuts."""
        window = int(self.total_steps * self.fraction)
        return step in {window * k // self.cuts for k in range(1, self.cuts + 1)}


@dataclass(frozen=True)
class Every:
    """A cut every `interval` steps, from `start` to `stop` inclusive.

    Parameters
    ----------
    interval
        Steps between two cuts, at least 1.
    start
        The earliest step at which a cut may fall.
    stop
        The last such step; no limit if None.

    Raises
    ------
    OptionError
        If the interval is below 1 or the range is empty.
    """

    interval: int
    start: int = 1
    stop: int | None = None

    def __post_init__(self) -> None:
        if self.interval < 1 or (self.stop is not None and self.stop < self.start):
            msg = f"got {self}; want interval >= 1 and start <= stop"
            raise OptionError(msg)

    def due(self, step: int) -> bool:
        """Say whether `step` is a multiple of the interval within the range."""
        return step % self.interval == 0 and self.start <= step and (self.stop is None or step <= self.stop)


@dataclass(frozen=True, init=False)
class At:
    """Cuts after the named steps.

    Parameters
    ----------
    steps
        The steps, each at least 1.

    Raises
    ------
    OptionError
        If there is none, or one is below 1.
    """

    steps: tuple[int, ...]

    def __init__(self, *steps: int) -> None:
        if not steps or min(steps) < 1:
            msg = f"got steps {steps}; want at least one, each >= 1 (the first training step is 1)"
            raise OptionError(msg)
        object.__setattr__(self, "steps", steps)

    def due(self, step: int) -> bool:
        """Say whether `step` was named."""
        return step in self.steps


@dataclass(frozen=True)
class When:
    """A cut whenever a function of the step says so.

    Parameters
    ----------
    function
        Takes the number of steps done, at least 1, and returns whether a cut is due.
    """

    function: Callable[[int], bool]

    def due(self, step: int) -> bool:
        """Ask the function."""
        return bool(self.function(step))


def schedule_of(schedule: Schedule | Callable[[int], bool]) -> Schedule:
    """Return the schedule, or one made of a function."""
    return schedule if hasattr(schedule, "due") else When(schedule)
