"""What a reduction hands back: the smaller system, and the evidence."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ssm_gramians import StateSpace

from ._arrays import Array

if TYPE_CHECKING:
    from jaxtyping import Float, Inexact


@dataclass(frozen=True, eq=False)
class Reduction:
    """A reduced system with what is known about it.

    Parameters
    ----------
    system
        The reduced system, dense, in double precision.
    hsv
        All Hankel singular values of the full system, descending, shape (..., n).
    order
        The states kept, r; less than was asked where the rest is rounding.
    error_bound
        The H∞ error is at most this, in exact arithmetic; one for each member of a batch.
    left, right
        W and V, shape (..., n, r), with leftᴴ right = I: the reduced state is leftᴴ x, and x ≈ right (leftᴴ x).
    """

    system: StateSpace
    hsv: Float[Array, "*batch n"]
    order: int
    error_bound: float | Float[Array, "*batch"]
    left: Inexact[Array, "*batch n r"]
    right: Inexact[Array, "*batch n r"]
