"""What a method promises of its error, and the order that keeps a promise."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from array_api_compat import array_namespace

if TYPE_CHECKING:
    from jaxtyping import Float

    from .._arrays import Array
    from .._truncate import Bound


def no_bound(hsv: Float[Array, "*batch n"], order: int) -> float | Float[Array, "*batch"]:
    """Infinity, one for each member of a batch."""
    del order
    return math.inf if hsv.ndim == 1 else array_namespace(hsv).full_like(hsv[..., 0], math.inf)


@dataclass(frozen=True)
class WithinBound:
    """The smallest order whose bound is within the tolerance, for every member of a batch.

    Parameters
    ----------
    tolerance
        The largest error allowed.
    bound
        The error as a function of the values and the order, falling to zero.
    """

    tolerance: float
    bound: Bound

    def select(self, hsv: Float[Array, "*batch n"]) -> int:
        """Return the order, from 1 to n."""
        xp, states = array_namespace(hsv), hsv.shape[-1]
        for order in range(1, states):
            if bool(xp.all(xp.asarray(self.bound(hsv, order)) <= self.tolerance)):
                return order
        return states
