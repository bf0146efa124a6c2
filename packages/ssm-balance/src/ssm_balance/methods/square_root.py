"""Balanced truncation by the square-root method."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from ssm_gramians import StateSpace, get_backend, gramian_factors

from .._bounds import error_bound
from .._order import Order, selection_from
from .._reduction import Reduction
from .._stability import require_stable
from .._stable_split import keeps_unstable, reduce_stable_part
from .._truncate import truncate

if TYPE_CHECKING:
    from ssm_gramians import Backend, Solver

    from .._order import Selection
    from .._stable_split import Unstable


def balanced_truncation(
    system: StateSpace,
    order: int | Selection | None = None,
    *,
    energy: float | None = None,
    error: float | None = None,
    balancing_free: bool = False,
    unstable: Unstable = "refuse",
    margin: float = 0.0,
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
    balancing_free
        Return the same reduced system in well-conditioned coordinates that are not balanced.
    unstable
        "keep" reduces the stable part and adds the unstable one; "refuse" raises InstabilityError.
    margin
        Of the stable part, as for `split_stable`.
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
    if keeps_unstable(unstable):
        method = partial(balanced_truncation, balancing_free=balancing_free, solver=solver, backend=backend)
        return reduce_stable_part(system, rule, margin, method)
    if isinstance(rule, Order):
        rule.check(system.order)
    require_stable(system)
    Z_P, Z_Q = gramian_factors(system, solver=solver, backend=backend)
    return truncate(
        system,
        Z_P,
        Z_Q,
        rule,
        method="balanced truncation",
        bound=error_bound,
        balancing_free=balancing_free,
        threads=get_backend(system.B if backend is None else backend).threads,
    )
