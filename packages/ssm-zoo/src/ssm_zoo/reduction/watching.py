"""Schedules that watch the training and decide by what they see."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .._errors import OptionError


@dataclass
class Settled:
    """One cut, once the states keep their places: when the values change little from one look to the next.

    Parameters
    ----------
    every
        Steps between two looks; each costs about as much as a cut.
    tolerance
        Largest change of the normalised spectrum, in the sum of absolute values, that counts as settled.
    looks
        How many looks in a row it must have been settled.
    cuts
        How many cuts, each once the values have settled anew.

    Raises
    ------
    OptionError
        If an option is out of range.
    """

    every: int = 50
    tolerance: float = 0.05
    looks: int = 2
    cuts: int = 1

    def __post_init__(self) -> None:
        if self.every < 1 or self.looks < 1 or self.cuts < 1 or not self.tolerance > 0:
            msg = f"got {self}; want every, looks and cuts of at least 1, and a positive tolerance"
            raise OptionError(msg)
        self._last: dict[str, list[float]] = {}
        self._calm = self._done = 0
        self._due: int | None = None

    def watches(self, step: int) -> bool:
        """Say whether this is a step to look at."""
        return step % self.every == 0 and self._done < self.cuts

    def see(self, step: int, loss: float | None, values: Mapping[str, Sequence[float]]) -> None:
        """Compare the spectra with those of the look before; the cut is due at the next step."""
        del loss
        shares = {name: _shares(found) for name, found in values.items()}
        moved = max((_distance(share, self._last.get(name, [])) for name, share in shares.items()), default=2.0)
        self._calm = self._calm + 1 if moved <= self.tolerance else 0
        self._last = shares
        if self._calm >= self.looks:
            self._due, self._calm, self._last, self._done = step + 1, 0, {}, self._done + 1

    def due(self, step: int) -> bool:
        """Say whether the values had settled at the last look."""
        return step == self._due

    def state_dict(self) -> dict[str, Any]:
        """Return what is remembered, as plain numbers and lists."""
        return {"last": self._last, "calm": self._calm, "done": self._done, "due": self._due}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from there."""
        self._last, self._calm, self._done, self._due = state["last"], state["calm"], state["done"], state["due"]


@dataclass
class Plateau:
    """A cut whenever the loss has stopped falling: it was not below the best by a share for so many looks.

    Parameters
    ----------
    every
        Steps between two looks at the loss; `step` of the reducer must be given the loss.
    patience
        Looks without progress before a cut.
    least
        Share of the best loss by which a new one must be below it.
    cuts
        How many cuts at most; the waiting starts anew after each.

    Raises
    ------
    OptionError
        If an option is out of range.
    """

    every: int = 50
    patience: int = 3
    least: float = 0.01
    cuts: int = 1

    def __post_init__(self) -> None:
        if self.every < 1 or self.patience < 1 or self.cuts < 1 or not 0 <= self.least < 1:
            msg = f"got {self}; want every, patience and cuts of at least 1, and least in [0, 1)"
            raise OptionError(msg)
        self._best, self._waited, self._done = float("inf"), 0, 0
        self._due: int | None = None

    def watches(self, step: int) -> bool:
        """Say whether this is a step to look at."""
        return step % self.every == 0 and self._done < self.cuts

    def see(self, step: int, loss: float | None, values: Mapping[str, Sequence[float]]) -> None:
        """Compare the loss with the best one; the cut is due at the next step."""
        del values
        if loss is None:
            msg = "Plateau wants the loss: call reducer.step(loss) with a function that returns it"
            raise OptionError(msg)
        if loss < (1 - self.least) * self._best:
            self._best, self._waited = loss, 0
            return
        self._waited += 1
        if self._waited >= self.patience:
            self._due, self._best, self._waited, self._done = step + 1, float("inf"), 0, self._done + 1

    def due(self, step: int) -> bool:
        """Say whether the loss had stopped falling at the last look."""
        return step == self._due

    def state_dict(self) -> dict[str, Any]:
        """Return what is remembered, as plain numbers."""
        return {"best": self._best, "waited": self._waited, "done": self._done, "due": self._due}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from there."""
        self._best, self._waited, self._done, self._due = state["best"], state["waited"], state["done"], state["due"]


def _shares(values: Sequence[float]) -> list[float]:
    total = sum(values) or 1.0
    return [value / total for value in values]


def _distance(one: Sequence[float], other: Sequence[float]) -> float:
    if len(one) != len(other):
        return 2.0
    return sum(abs(a - b) for a, b in zip(one, other, strict=True))
