"""How many states to keep: rules that read Hankel singular values and answer with an order."""

from __future__ import annotations

import math
import operator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol, runtime_checkable

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
        return _smallest_order(remainders(hsv)[..., 1:], total - self.fraction * total)


@dataclass(frozen=True)
class Error:
    """Smallest r ≥ 1 with 2 Σ_{i>r} σ_i ≤ tolerance: the error is then at most the tolerance.

    That is what truncation promises of the H∞ norm of the error, and so of its Hankel norm, which is never larger.
    Optimal Hankel-norm approximation promises more: Σ_{i>r} σ_i for the H∞ norm and σ_{r+1} for the Hankel norm, below
    which no system of order r comes.

    Parameters
    ----------
    tolerance
        In the units of the gain of the system; finite, not negative.
    norm
        "hinf" or "hankel". There is no rule for "h2": G(s/a) has the same Hankel singular values for every a > 0, but
        √a times the H2 norm, so that they say nothing about it.
    optimal
        Use what optimal Hankel-norm approximation promises. For no other method is it true.

    Raises
    ------
    OrderError
        If the tolerance is negative, infinite or NaN, or if nothing is known about the norm.

    References
    ----------
    K. Glover, Int. J. Control 39 (1984) 1115-1193, sections 7 and 9.
    """

    tolerance: float
    norm: Literal["hinf", "hankel"] = "hinf"
    optimal: bool = False

    def __post_init__(self):
        if not 0 <= self.tolerance < math.inf:
            msg = f"error is the largest error allowed, finite and not negative; got {self.tolerance!r}"
            raise OrderError(msg)
        if self.norm == "h2":
            msg = (
                "Hankel singular values do not bound the H2 error, got norm='h2': G(s/a) has the same and √a times "
                "the H2 norm. Use norm='hinf' (in discrete time H2 ≤ √min(inputs, outputs) H∞), and read the H2 error "
                "from Reduction.certify()"
            )
            raise OrderError(msg)
        if self.norm not in ("hinf", "hankel"):
            msg = f"norm is {self.norm!r}; want 'hinf' or 'hankel'"
            raise OrderError(msg)

    def select(self, hsv: Float[Array, "*batch n"]) -> int:
        """Return the smallest order whose bound is within the tolerance."""
        if not self.optimal:
            return _smallest_order(remainders(hsv)[..., 1:], self.tolerance / 2)
        if self.norm == "hinf":
            return _smallest_order(remainders(hsv)[..., 1:], self.tolerance)
        return _smallest_order(hsv[..., 1:], self.tolerance) if hsv.shape[-1] > 1 else 1


def as_selection(order: int | Selection) -> Selection:
    """Make a rule of a number; a rule stays itself."""
    if hasattr(order, "allocate"):
        msg = f"{order!r} is shared by several systems; call its allocate(...) and give each system its own order"
        raise OrderError(msg)
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


def _smallest_order(left_out: Array, limit: Array | float) -> int:
    """Count the orders r = 1, 2, … at which what is left out is above the limit."""
    xp = array_namespace(left_out)
    if 0 in left_out.shape:
        msg = f"there is nothing to select an order from: the Hankel singular values have shape {tuple(left_out.shape)}"
        raise OrderError(msg)
    return 1 + int(xp.max(xp.sum(xp.astype(left_out > limit, xp.int64), axis=-1)))
