"""How well a model does, in the unit that people use for its kind of task."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True)
class Score:
    """factor × (loss or accuracy).

    Parameters
    ----------
    name, unit
        What it is called, and what stands behind the number.
    field
        ``"accuracy"`` (in [0, 1]) or ``"loss"`` (cross entropy in nats).
    factor
        From that to the unit.
    """

    name: str
    unit: str
    field: str
    factor: float

    def of(self, figures: Mapping[str, Any], prefix: str = "") -> float | None:
        """Return the score in figures such as a line of metrics; None if it was not measured."""
        value = figures[prefix + self.field]
        return None if value is None else self.factor * value

    def text(self, value: float, more: int = 0) -> str:
        """Return the value as people read it, without the name; with more digits where it is a final one."""
        return f"{value:.{1 + more}f} {self.unit}" if self.unit else f"{value:.{3 + more}f}"


ACCURACY = Score("accuracy", "%", "accuracy", 100.0)
BITS_PER_BYTE = Score("bits per byte", "", "loss", 1 / math.log(2))
