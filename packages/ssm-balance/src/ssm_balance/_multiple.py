"""Orders that the hardware likes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from ._errors import OrderError
from ._order import Order, Selection, as_selection

if TYPE_CHECKING:
    from jaxtyping import Float

    from ._arrays import Array


@dataclass(frozen=True)
class Multiple:
    """The order of another rule, rounded to a multiple of `of`, from `of` to n.

    n itself is the answer where the next multiple is above it, multiple or not. Rounded up, an order keeps what the
    rule promised; otherwise it may not.

    Parameters
    ----------
    selection
        The rule, or an order.
    of
        At least 1: 8 or 16 for tensor cores.
    rounding
        "up", "down" or "nearest" (halfway up).

    Raises
    ------
    OrderError
        If `of` is no whole number above 0, or there is no such rounding.

    Examples
    --------
    >>> import numpy as np
    >>> Multiple(Order(10), of=8).select(np.ones(64))
    16
    """

    selection: int | Selection
    of: int = 8
    rounding: Literal["up", "down", "nearest"] = "up"

    def __post_init__(self):
        object.__setattr__(self, "selection", as_selection(self.selection))
        object.__setattr__(self, "of", whole_number("of", self.of))
        if self.rounding not in ("up", "down", "nearest"):
            msg = f"rounding is {self.rounding!r}; want 'up', 'down' or 'nearest'"
            raise OrderError(msg)

    def select(self, hsv: Float[Array, "*batch n"]) -> int:
        """Return the rounded order."""
        assert isinstance(self.selection, Selection)
        order = self.selection.select(hsv)
        added = {"up": self.of - 1, "down": 0, "nearest": self.of // 2}[self.rounding]
        multiple = (order + added) // self.of * self.of
        return min(max(multiple, self.of), hsv.shape[-1])


def whole_number(name: str, value: int) -> int:
    """Return the value as an int; raise OrderError unless it is a whole number, at least 1."""
    try:
        return Order(value).order
    except OrderError:
        msg = f"{name} must be a whole number, at least 1; got {value!r}"
        raise OrderError(msg) from None
