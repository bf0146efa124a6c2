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
        The values that the order was chosen from, descending, shape (..., n): the Hankel singular values of the full
        system, or what takes their place in the method.
    order
        The states kept, r; less than was asked where the rest is rounding.
    error_bound
        The H∞ error is at most this, in exact arithmetic; one for each member of a batch. Infinite if the method
        promises nothing.
    left, right
        W and V, shape (..., n, r), with leftᴴ E right = I: the reduced state is leftᴴ E x, and x ≈ right times it.
        None if the method is no projection.
    full
        The system that was reduced.
    method
        The name of the method.
    """

    system: StateSpace
    hsv: Float[Array, "*batch n"]
    order: int
    error_bound: float | Float[Array, "*batch"]
    left: Inexact[Array, "*batch n r"] | None
    right: Inexact[Array, "*batch n r"] | None
    full: StateSpace
    method: str
