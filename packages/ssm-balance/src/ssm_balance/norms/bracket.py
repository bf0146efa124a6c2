"""A norm between two numbers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import astuple, dataclass
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from .._host import members
from .._stability import require_members

if TYPE_CHECKING:
    from jaxtyping import Float

    from ssm_gramians import StateSpace


@dataclass(frozen=True)
class NormBracket:
    """lower ≤ norm ≤ upper, up to the rounding of the arithmetic.

    Parameters
    ----------
    lower
        Some input is amplified as much. A float; for a batch, an array.
    upper
        No input is amplified more.
    """

    lower: float | Float[np.ndarray, "*batch"]
    upper: float | Float[np.ndarray, "*batch"]


@dataclass(frozen=True)
class GainBracket(NormBracket):
    """lower ≤ ‖G‖_∞ ≤ upper.

    Parameters
    ----------
    lower
        The gain at `frequency`. A float; for a batch, an array, as are the others.
    upper
        No frequency has this gain: a matrix of twice the order has no eigenvalue on the imaginary axis. Infinite where
        nothing is known from above.
    frequency
        In radians per second; infinite if D alone is the largest gain.
    """

    frequency: float | Float[np.ndarray, "*batch"]


Bracket = TypeVar("Bracket", bound=NormBracket)


def over_members(system: StateSpace, measure: Callable[[StateSpace], Bracket]) -> Bracket:
    """Return measure(system); of a batch one bracket that holds arrays, its members taken one by one.

    Raises
    ------
    ShapeError
        If the batch is empty.
    """
    if not system.batch_shape:
        return measure(system)
    require_members(system)
    found = [measure(member) for member in members(system)]
    return type(found[0])(*(np.reshape(ends, system.batch_shape) for ends in zip(*map(astuple, found), strict=True)))
