"""What a reduction hands back: the smaller system, and the evidence."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ssm_gramians import StateSpace

from ._arrays import Array
from ._certificate import Certificate
from ._host import members
from ._measure import measure

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
    relative_error_bound
        ‖G⁻¹ (G − G_r)‖_∞ is at most this, for methods that promise a relative error; None for the others.
    unstable_order
        How many of the states kept are those of an unstable part, which have no value in `hsv`.
    """

    system: StateSpace
    hsv: Float[Array, "*batch n"]
    order: int
    error_bound: float | Float[Array, "*batch"]
    left: Inexact[Array, "*batch n r"] | None
    right: Inexact[Array, "*batch n r"] | None
    full: StateSpace
    method: str
    relative_error_bound: float | Float[Array, "*batch"] | None = None
    unstable_order: int = 0

    def certify(self, *, rtol: float = 1e-8, dense_limit: int = 600) -> Certificate | tuple[Certificate, ...]:
        """Measure ‖G − G_r‖_∞ ≤ error_bound: the true error, enclosed, and the state the reduced system is in.

        Parameters
        ----------
        rtol
            The relative width of the H∞ bracket, at least 16 eps; so much more than the bound is not noticed.
        dense_limit
            The error system has the states of both systems. Up to this order its H∞ norm is enclosed, by eigenvalue
            problems of twice the order. Above, sparse and diagonal systems stay what they are: a diagonal one is
            enclosed through a model of at most so many states, if there is one that is near enough; any other one is
            looked at from below only, which may refute a bound but not prove it.

        Returns
        -------
        certificate
            Prints as a table. One for each member of a batch, in a tuple.

        Raises
        ------
        BalanceError
            If rtol is below rounding.
        InstabilityError
            If the error has a pole on the stability border.
        """
        if not self.full.batch_shape:
            return self._certified(self.full, self.system, (), rtol, dense_limit)
        pairs = zip(members(self.full), members(self.system), np.ndindex(self.full.batch_shape), strict=True)
        return tuple(self._certified(full, small, index, rtol, dense_limit) for full, small, index in pairs)

    def _certified(self, full, reduced, index, rtol, dense_limit):
        bounds: Any = self.error_bound
        relative: Any = self.relative_error_bound
        return measure(
            full,
            reduced,
            method=self.method,
            error_bound=float(bounds[index].item() if index else bounds),
            relative_error_bound=None if relative is None else float(relative[index].item() if index else relative),
            largest_value=self.hsv[(*index, 0)].item(),
            rtol=rtol,
            dense_limit=dense_limit,
        )
