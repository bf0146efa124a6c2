"""The bound of methods that promise nothing."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from array_api_compat import array_namespace

if TYPE_CHECKING:
    from jaxtyping import Float

    from .._arrays import Array


def no_bound(hsv: Float[Array, "*batch n"], order: int) -> float | Float[Array, "*batch"]:
    """Infinity, one for each member of a batch."""
    del order
    return math.inf if hsv.ndim == 1 else array_namespace(hsv).full_like(hsv[..., 0], math.inf)
