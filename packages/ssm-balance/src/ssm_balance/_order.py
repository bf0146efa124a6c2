"""How many states to keep: rules that read Hankel singular values and answer with an order."""

from __future__ import annotations

import math
import operator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from array_api_compat import array_namespace

from ._errors import OrderError

if TYPE_CHECKING:
    from jaxtyping import Float

    from ._arrays import Array


@runtime_checkable
class Selection(Protocol):
    """A rule for the order; anything with this method can be given where an order is wanted."""

    def select(self, hsv: Float[Array, "*batch n"]) -> int:
        """Return the order, from 1 to n; for a batch one order that satisfies the rule for each member."""


@dataclass(frozen=True)
class Order:
    """r = `order`: keep this many states.

    Parameters
    ----------
    order
        At least 1.

    Raises
    ------
    OrderError
        If it is no whole number, or below 1; in `select`, if there are fewer states.
    """

    order: int

    def __post_init__(self):
        if isinstance(self.order, bool) or not hasattr(self.order, "__index__"):
            msg = f"order must be a whole number; got {self.order!r}"
            raise OrderError(msg)
        object.__setattr__(self, "order", operator.index(self.order))
        if self.order < 1:
            msg = f"order must be at least 1; got {self.order}"
            raise OrderError(msg)

    def select(self, hsv: Float[Array, "*batch n"]) -> int:
        """Return the order itself, if there are as many states."""
        self.check(hsv.shape[-1])
        return self.order

    def check(self, states: int) -> None:
        """Raise OrderError if a system with so many states cannot be cut to this order."""
        if self.order > states:
            msg = f"order must be from 1 to {states}, the order of the system; got {self.order}"
            raise OrderError(msg)


@dataclass(frozen=True)
class Energy:
    """Smallest r ≥ 1 with Σ_{i≤r} σ_i ≥ fraction · Σ σ_i: the plain sum, not the squares.

    It is decided on what is left out, Σ_{i>r} σ_i ≤ (1 − fraction) Σ σ_i, so that fraction 1 keeps every nonzero value.

    Parameters
    ----------
    fraction
        In (0, 1].

    Raises
    ------
    OrderError
        If the fraction is outside (0, 1].
    """

    fraction: float

    def __post_init__(self):
        if not 0 < self.fraction <= 1:
            msg = f"energy is the fraction of Σσ to keep, in (0, 1]; got {self.fraction!r}"
            raise OrderError(msg)

    def select(self, hsv: Float[Array, "*batch n"]) -> int:
        """Return the smallest order that keeps the fraction."""
        total = array_namespace(hsv).sum(hsv, axis=-1, keepdims=True)
        return _smallest_order(hsv, total - self.fraction * total)


@dataclass(frozen=True)
class Error:
    """Smallest r ≥ 1 with 2 Σ_{i>r} σ_i ≤ tolerance: the H∞ error is then at most the tolerance.

    Parameters
    ----------
    tolerance
        In the units of the gain of the system; finite, not negative.

    Raises
    ------
    OrderError
        If the tolerance is negative, infinite or NaN.
    """

    tolerance: float

    def __post_init__(self):
        if not 0 <= self.tolerance < math.inf:
            msg = f"error is the largest H∞ error allowed, finite and not negative; got {self.tolerance!r}"
            raise OrderError(msg)

    def select(self, hsv: Float[Array, "*batch n"]) -> int:
        """Return the smallest order whose bound is within the tolerance."""
        return _smallest_order(hsv, self.tolerance / 2)


def as_selection(order: int | Selection) -> Selection:
    """Make a rule of a number; a rule stays itself."""
    return order if isinstance(order, Selection) else Order(order)


def selection_from(order: int | Selection | None, energy: float | None, error: float | None) -> Selection:
    """Make one rule of the three keywords, of which exactly one is given.

    Raises
    ------
    OrderError
        If none is given, or more than one, or the one that is given has no meaning.
    """
    given = {"order": order, "energy": energy, "error": error}
    names = [name for name, value in given.items() if value is not None]
    if len(names) != 1:
        msg = f"give exactly one of order, energy, error; got {' and '.join(names) or 'none'}"
        raise OrderError(msg)
    if energy is not None:
        return Energy(energy)
    if error is not None:
        return Error(error)
    assert order is not None
    return as_selection(order)


def remainders(hsv: Float[Array, "*batch n"]) -> Float[Array, "*batch n+1"]:
    """ρ_r = Σ_{i>r} σ_i for r = 0 … n, summed from the small end."""
    xp = array_namespace(hsv)
    return xp.flip(xp.cumulative_sum(xp.flip(hsv, axis=-1), axis=-1, include_initial=True), axis=-1)


def _smallest_order(hsv: Array, limit: Array | float) -> int:
    xp = array_namespace(hsv)
    above = xp.astype(remainders(hsv)[..., 1:] > limit, xp.int64)
    if 0 in above.shape:
        msg = f"there is nothing to select an order from: the Hankel singular values have shape {tuple(hsv.shape)}"
        raise OrderError(msg)
    return 1 + int(xp.max(xp.sum(above, axis=-1)))
