"""Truncation that counts only a part of time, or of the frequencies."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ssm_gramians import StateSpace, gramian_factors

from .._descriptor import without_descriptor
from .._errors import StabilityLossError
from .._order import Error, Order, selection_from
from .._reduction import Reduction
from .._stability import require_finite, require_regular_descriptor, require_stable, unstable_pole
from .._truncate import truncate
from ._definite import definite_factors
from ._promise import WithinBound, no_bound

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ssm_gramians import Backend, Solver

    from .._order import Selection


def time_limited_truncation(
    system: StateSpace,
    order: int | Selection | None = None,
    *,
    horizon: float,
    energy: float | None = None,
    error: float | None = None,
    stable: bool = False,
    balancing_free: bool = False,
    solver: Solver | None = None,
    backend: str | Backend | None = None,
) -> Reduction:
    r"""Keep the states that inputs reach and outputs show before a horizon: P = ∫₀ᵀ e^{At} B Bᴴ e^{Aᴴt} dt.

    What happens later does not count. The error up to the horizon, as `horizon_gain(difference(...), L)` measures it,
    is usually, not always, smaller than that of `balanced_truncation`. Exactly one of order, energy, error.

    Parameters
    ----------
    system
        Any kind, continuous or discrete; E regular. It may be unstable, unless a stable result is asked for.
    order
        The number of states to keep, or a rule; it reads the σ of the limited Gramians.
    horizon
        T seconds in continuous time, L steps k < L in discrete time.
    energy
        Keep at least this fraction of Σσ, in (0, 1].
    error
        Choose the order by 2 Σ_{i>r} σ_i ≤ error, here a rule of thumb; with stable=True, by the bound.
    stable
        Guarantee stability, and the bound ‖L‖ ‖K‖ 2 Σ_{i>r} σ_i: the right-hand sides of the equations of P and Q are
        replaced by their moduli. The error up to the horizon grows a little.
        Moduli, and so the result, depend on the coordinates that the system comes in.
    balancing_free
        Return the same reduced system in well-conditioned coordinates that are not balanced.
    solver, backend
        As for `ssm_gramians.gramian_factors`.

    Returns
    -------
    reduction
        `error_bound` is infinite without stable=True.

    Raises
    ------
    OrderError
        If the wish is none, double, or out of range.
    ValueError
        If the horizon is not positive, or in discrete time no whole number.
    StabilityLossError
        If a stable system has become unstable.
    InstabilityError
        If stable=True and a pole does not decay.
    NonFiniteError
        If a matrix holds NaN or infinity.
    SingularDescriptorError
        If E is singular.

    References
    ----------
    W. Gawronski, J.-N. Juang, Int. J. Systems Sci. 21 (1990) 349-376.
    S. Gugercin, A. C. Antoulas, Int. J. Control 77 (2004) 748-766, section 5 (stable, bound).
    """
    limits = {"horizon": horizon}
    rule = selection_from(order, energy, error)
    return _limited(
        system,
        rule,
        limits,
        method="time-limited balanced truncation",
        stable=stable,
        balancing_free=balancing_free,
        solver=solver,
        backend=backend,
    )


def frequency_limited_truncation(
    system: StateSpace,
    order: int | Selection | None = None,
    *,
    band: tuple[float, float] | Sequence[tuple[float, float]],
    energy: float | None = None,
    error: float | None = None,
    stable: bool = False,
    balancing_free: bool = False,
    solver: Solver | None = None,
    backend: str | Backend | None = None,
) -> Reduction:
    r"""Keep the states that inputs reach and outputs show on a band Ω: P = (2π)⁻¹ ∫_Ω R(ω) B Bᴴ R(ω)ᴴ dω.

    R = (iωI − A)⁻¹. Other frequencies do not count. The error on the band, as `linf_bracket(difference(...), band)`
    measures it, is usually, not always, smaller than that of `balanced_truncation`.

    Exactly one of order, energy, error.

    Parameters
    ----------
    system
        Any kind, continuous or discrete; E regular; no pole on the band. It may be unstable, unless a stable result is
        asked for.
    order
        The number of states to keep, or a rule; it reads the σ of the limited Gramians.
    band
        A pair (low, high) in rad/s, or several that do not overlap.
    energy
        Keep at least this fraction of Σσ, in (0, 1].
    error
        Choose the order by 2 Σ_{i>r} σ_i ≤ error, here a rule of thumb; with stable=True, by the bound.
    stable
        Guarantee stability, and the bound ‖L‖ ‖K‖ 2 Σ_{i>r} σ_i: the right-hand sides of the equations of P and Q are
        replaced by their moduli. The error on the band grows, sometimes to that of `balanced_truncation`.
        Moduli, and so the result, depend on the coordinates that the system comes in.
    balancing_free
        Return the same reduced system in well-conditioned coordinates that are not balanced.
    solver, backend
        As for `ssm_gramians.gramian_factors`.

    Returns
    -------
    reduction
        `error_bound` is infinite without stable=True.

    Raises
    ------
    OrderError
        If the wish is none, double, or out of range.
    ValueError
        If the band is empty or out of range.
    StabilityLossError
        If a stable system has become unstable.
    InstabilityError
        If a pole is on the band; if stable=True and a pole does not decay.
    NonFiniteError
        If a matrix holds NaN or infinity.
    SingularDescriptorError
        If E is singular.

    References
    ----------
    W. Gawronski, J.-N. Juang, Int. J. Systems Sci. 21 (1990) 349-376.
    S. Gugercin, A. C. Antoulas, Int. J. Control 77 (2004) 748-766, section 5 (stable, bound).
    """
    limits = {"band": band}
    rule = selection_from(order, energy, error)
    return _limited(
        system,
        rule,
        limits,
        method="frequency-limited balanced truncation",
        stable=stable,
        balancing_free=balancing_free,
        solver=solver,
        backend=backend,
    )


def _limited(
    system: StateSpace,
    rule: Selection,
    limits: dict[str, Any],
    *,
    method: str,
    stable: bool,
    balancing_free: bool,
    solver: Solver | None,
    backend: str | Backend | None,
) -> Reduction:
    if isinstance(rule, Order):
        rule.check(system.order)
    (require_stable if stable else _require_finite_and_regular)(system)
    bound: Any = no_bound
    if stable:
        Z_P, Z_Q = gramian_factors(without_descriptor(system), solver=solver, backend=backend, **limits)
        Z_P, Z_Q, bound = definite_factors(system, Z_P, Z_Q, solver, backend)
        rule = WithinBound(rule.tolerance, bound) if isinstance(rule, Error) else rule
    else:
        Z_P, Z_Q = gramian_factors(system, solver=solver, backend=backend, **limits)
    require = None if stable else require_finite if unstable_pole(system) is not None else require_stability
    return truncate(system, Z_P, Z_Q, rule, method=method, bound=bound, balancing_free=balancing_free, require=require)


def _require_finite_and_regular(system: StateSpace) -> None:
    require_finite(system)
    require_regular_descriptor(system)


def require_stability(reduced: StateSpace) -> None:
    """Raise StabilityLossError if a method that guarantees nothing lost stability."""
    pole = unstable_pole(reduced)
    if pole is not None:
        msg = (
            f"the reduced system of order {reduced.order} is unstable: eigenvalue {pole:.6g}; this method does not "
            "guarantee stability: pass stable=True, or another order"
        )
        raise StabilityLossError(msg, pole)
