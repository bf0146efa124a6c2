"""Which part of time or frequency a Gramian adds up."""

from __future__ import annotations

import math
from dataclasses import dataclass

from ._band import Bands
from ._errors import UnsupportedError
from ._structure import kind_of
from ._system import StateSpace


@dataclass(frozen=True)
class Span:
    """All of time, a horizon, or a band of frequencies.

    Parameters
    ----------
    horizon
        L steps in discrete time, T seconds in continuous time; None for all of time.
    average
        The mean over the horizons up to this one.
    band
        In rad/s; None for all frequencies.
    """

    horizon: float | None = None
    average: bool = False
    band: Bands | None = None

    @property
    def is_all(self) -> bool:
        """Say whether it is all of time: the Gramian that solves an equation, and needs a stable system."""
        return self.horizon is None and self.band is None

    def check(self, system: StateSpace) -> None:
        """Raise for a span that means nothing, or not to this system."""
        if self.horizon is not None and self.band is not None:
            msg = "got a horizon and a band; want one of them"
            raise ValueError(msg)
        if self.horizon is None and self.average:
            msg = "average=True needs a horizon: pass horizon="
            raise ValueError(msg)
        if not self.is_all and kind_of(system.A) == "matrix_free":
            msg = "a horizon or a band needs the entries of A, and A is matrix-free; want a dense or structured A"
            raise UnsupportedError(msg)
        if self.horizon is not None:
            _check_horizon(self.horizon, discrete=system.is_discrete)


def _check_horizon(horizon: float, *, discrete: bool) -> None:
    if discrete and (horizon != math.floor(horizon) or horizon < 1):
        msg = f"horizon is {horizon}; want a whole number of steps, at least 1"
        raise ValueError(msg)
    if not 0 < horizon < math.inf:
        msg = f"horizon is {horizon}; want a positive number of seconds"
        raise ValueError(msg)
