"""Every way to weigh states, by name."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from .._errors import OptionError
from .balancing import Activations, Adjoints, Method, WhiteNoise
from .rivals import LAST, AIREPrune, LeadingRemoved, Magnitude, OutputEnergy, Published, Random

if TYPE_CHECKING:
    from collections.abc import Callable

METHODS: dict[str, Callable[[], Method]] = {
    "activations": Activations,
    "adjoints": Adjoints,
    "white": WhiteNoise,
    "infinite": lambda: Activations(horizon=math.inf),
    "published": Published,
    "last": LAST,
    "aire": AIREPrune,
    "magnitude": Magnitude,
    "random": Random,
    "energy": OutputEnergy,
    "leading-removed": LeadingRemoved,
}
"""Balancing from activations; with gradients; from white noise; from activations that never end; and the rivals."""

_DIAGONAL, _MODAL = ("lru", "s5"), ("lru", "s5", "s4d")
LAYERS_OF = {
    "infinite": (*_MODAL, "s4"),
    "white": (*_MODAL, "s4"),
    "published": _DIAGONAL,
    "leading-removed": _DIAGONAL,
    "last": _MODAL,
    "aire": _MODAL,
    "magnitude": (*_MODAL, "mamba", "mamba2"),
    "random": (*_MODAL, "mamba", "mamba2"),
    "energy": (*_MODAL, "mamba", "mamba2"),
}
"""The layers that a method is defined for, where it is not for all."""


def method_named(choice: str | Method) -> Method:
    """Return the method of that name in `METHODS`, or the object itself.

    Raises
    ------
    OptionError
        If there is no such name.
    """
    if not isinstance(choice, str):
        return choice
    if choice not in METHODS:
        msg = f"balance is {choice!r}; want one of {', '.join(map(repr, METHODS))}, or a method object"
        raise OptionError(msg)
    return METHODS[choice]()
