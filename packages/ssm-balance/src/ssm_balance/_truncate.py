"""What every method that projects has in common after its two factors."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ._balance import balance
from ._errors import StabilityLossError
from ._project import project
from ._reduction import Reduction
from ._stability import unstable_pole

if TYPE_CHECKING:
    from collections.abc import Callable

    from jaxtyping import Float, Inexact

    from ssm_gramians import StateSpace

    from ._arrays import Array
    from ._order import Selection

    Bound = Callable[[Array, int], "float | Float[Array, '*batch']"]


def truncate(
    system: StateSpace,
    Z_P: Inexact[Array, "*batch n k"],
    Z_Q: Inexact[Array, "*batch n l"],
    rule: Selection,
    *,
    method: str,
    bound: Bound,
    balancing_free: bool = False,
    require: Callable[[StateSpace], None] | None = None,
    threads: int = 1,
) -> Reduction:
    """Z_Qᴴ E Z_P = U Σ Vᴴ, cut at r: the system in the coordinates of the r largest σ.

    Parameters
    ----------
    system
        What is reduced; the caller has checked it.
    Z_P, Z_Q
        The factors that decide what matters.
    rule
        How many states to keep.
    method
        Its name, for the reduction.
    bound
        The H∞ error bound as a function of the σ and the order.
    balancing_free
        As for `balance`.
    require
        What raises unless the reduced system is as the method promises; stable, if None.
    threads
        As for `balance`.

    Raises
    ------
    OrderError
        If the rule asks for what cannot be had.
    StabilityLossError
        If the reduced system has a pole that does not decay.
    """
    projection = balance(Z_P, Z_Q, rule, E=system.E, balancing_free=balancing_free, threads=threads)
    reduced = project(system, projection.left, projection.right)
    (require or require_kept_stability)(reduced)
    limit = bound(projection.hsv, projection.order)
    left, right = projection.left, projection.right
    return Reduction(reduced, projection.hsv, projection.order, limit, left, right, system, method)


def require_kept_stability(reduced: StateSpace) -> None:
    """Raise StabilityLossError if a reduced system has a pole that does not decay."""
    pole = unstable_pole(reduced)
    if pole is not None:
        msg = (
            f"rounding made the reduced system of order {reduced.order} unstable: eigenvalue {pole:.6g}; "
            f"its smallest state is at the level of rounding: keep fewer states"
        )
        raise StabilityLossError(msg, pole)
