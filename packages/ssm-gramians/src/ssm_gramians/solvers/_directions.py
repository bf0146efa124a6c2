"""Vectors without structure, for whatever is to be seen of a matrix at the price of a product with a vector."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import array_api_compat
import numpy as np

from .._arrays import Array, namespace

if TYPE_CHECKING:
    from jaxtyping import Inexact


def directions(n: int, *, like: Array) -> Inexact[Array, "n 2"]:
    """Return two vectors of entries in (-1, 1) that follow no pattern and are not zero: cosines of squares."""
    return namespace(like).asarray(_cosines(n), dtype=like.dtype, device=array_api_compat.device(like))


@lru_cache(maxsize=32)
def _cosines(n: int) -> Inexact[Array, "n 2"]:
    k = np.arange(1.0, n + 1)
    return np.stack((np.cos(k * k), np.cos(k * k + k)), axis=-1)
