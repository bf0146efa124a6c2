"""Balanced truncation by the square-root method."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ssm_gramians import StateSpace, gramian_factors

from .._balance import balance
from .._bounds import error_bound
from .._errors import StabilityLossError
from .._order import Order, selection_from
from .._project import project
from .._reduction import Reduction
from .._stability import require_stable, unstable_pole

if TYPE_CHECKING:
    from ssm_gramians import Backend, Solver

    from .._order import Selection


def balanced_truncation(
    system: StateSpace,
    order: int | Selection | None = None,
    *,
    energy: float | None = None,
    error: float | None = None,
    solver: Solver | None = None,
    backend: str | Backend | None = None,
) -> Reduction:
    r"""‖G − G_r‖_∞ ≤ 2 Σ_{i>r} σ_i: keep the r states that take part most in the map, and stability with them.

    Exactly one of order, energy, error. States whose σ is below rounding, eps · n · σ₁, carry nothing and cannot be
    balanced: they are left out even at full order, which changes the map by no more than rounding does.

    Parameters
    ----------
    system
        Stable; dense, diagonal or paired (balanced as the real system it stands for); continuous or discrete.
        A batch gets one order that is enough for every member. Arithmetic is in double precision, whatever comes.
    order
        The number of states to keep, or a rule such as `Order`, `Energy`, `Error`.
    energy
        Keep at least this fraction of Σσ, in (0, 1].
    error
        Allow at most this H∞ error.
    solver, backend
        As for `ssm_gramians.gramian_factors`.

    Returns
    -------
    reduction
        A continuous system is returned balanced; a discrete one nearly so.

    Raises
    ------
    OrderError
        If the wish is none, double, or out of range.
    InstabilityError
        If a pole does not decay.
    NonFiniteError
        If a matrix holds NaN or infinity.
    StabilityLossError
        If rounding made the reduced system unstable.

    References
    ----------
    B. C. Moore, IEEE Trans. Automat. Control 26 (1981) 17-32.
    L. Pernebo, L. M. Silverman, IEEE Trans. Automat. Control 27 (1982) 382-387 (stability).
    U. M. Al-Saggaf, G. F. Franklin, IEEE Trans. Automat. Control 32 (1987) 815-819 (discrete time).
    """
    rule = selection_from(order, energy, error)
    if isinstance(rule, Order):
        rule.check(system.order)
    require_stable(system)
    Z_P, Z_Q = gramian_factors(system, solver=solver, backend=backend)
    projection = balance(Z_P, Z_Q, rule)
    reduced = project(system, projection.left, projection.right)
    pole = unstable_pole(reduced)
    if pole is not None:
        msg = (
            f"rounding made the reduced system of order {projection.order} unstable: eigenvalue {pole:.6g}; "
            f"its smallest state is at the level of rounding: keep fewer states"
        )
        raise StabilityLossError(msg, pole)
    bound = error_bound(projection.hsv, projection.order)
    return Reduction(reduced, projection.hsv, projection.order, bound, projection.left, projection.right)
