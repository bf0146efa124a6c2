"""Balanced truncation of very large systems, through Gramian factors of few columns."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from array_api_compat import array_namespace

from ssm_gramians import (
    Cauchy,
    ConvergenceError,
    Diagonal,
    ExtendedKrylov,
    GramiansError,
    LowRankADI,
    RationalKrylov,
    SingularEquationError,
    StateSpace,
    gramian_factors,
)

from .._bounds import error_bound
from .._errors import BalanceError, OrderError
from .._left_out import left_out
from .._order import Error, Order, selection_from
from .._reduction import Reduction
from .._stability import require_finite, require_regular_descriptor, require_stable
from .._truncate import truncate

if TYPE_CHECKING:
    from jaxtyping import Float

    from ssm_gramians import Backend, Solver

    from .._arrays import Array
    from .._order import Selection

_FEW = 500  # states of a sparse matrix up to which all eigenvalues cost less than a second


def low_rank_truncation(
    system: StateSpace,
    order: int | Selection | None = None,
    *,
    energy: float | None = None,
    error: float | None = None,
    rtol: float | None = None,
    balancing_free: bool = False,
    solver: Solver | None = None,
    backend: str | Backend | None = None,
) -> Reduction:
    r"""‖G − G_r‖_∞ ≤ 2 Σ_{i>r} σ_i + 2 δ, with P ≈ Z_P Z_Pᴴ and Q ≈ Z_Q Z_Qᴴ of k columns each: balancing in O(n k²).

    For a large sparse A, with or without E, and for millions of diagonal states. The values σ_i of Z_Qᴴ E Z_P are never
    above those of the whole Gramians, and the sum of all these is at most δ = ‖Z_Q‖_F ‖E Z_P‖_F (2 √τ + τ) larger, if
    the factors leave out the part τ of the traces. So the bound is never below that of exact truncation. τ is `rtol`:
    for a diagonal A the solver knows it, and δ is mostly far too large; else rtol limits the residuals, not the traces,
    and δ is an estimate. That the bases are slightly off as well is not in the bound: `certify` measures the error.

    Exactly one of order, energy, error.

    Parameters
    ----------
    system
        Stable; diagonal, paired or sparse, or dense; E sparse or dense, regular. Of more than 500 sparse states the
        poles are out of reach: an unstable one makes the solver diverge.
    order
        The number of states to keep, or a rule; it reads the values that were computed.
    energy
        Keep at least this fraction of their sum, in (0, 1].
    error
        Allow at most this H∞ error, by the bound.
    rtol
        What the factors may leave out, of the trace (diagonal A) or of the residual; 1e-14 and 1e-12 if None.
    balancing_free
        Return the same reduced system in well-conditioned coordinates that are not balanced.
    solver
        In the place of `Cauchy` for a diagonal A, and of `ExtendedKrylov`, `LowRankADI` and `RationalKrylov`, tried in
        turn, for the others; it brings its own rtol.
    backend
        As for `ssm_gramians.gramian_factors`.

    Returns
    -------
    reduction
        `hsv` has as many values as were computed.

    Raises
    ------
    OrderError
        If the wish is none, double, or out of range, or finer than the factors.
    BalanceError
        If rtol is not between 0 and 1, or given beside a solver.
    InstabilityError
        If a pole does not decay, as far as the poles are known.
    ConvergenceError
        If no solver finds factors of few columns.
    SingularDescriptorError
        If E is singular.
    NonFiniteError
        If a matrix holds NaN or infinity.
    StabilityLossError
        If the reduced system is unstable.

    References
    ----------
    P. Benner, J. Saak, GAMM-Mitt. 36 (2013) 32-52.
    """
    rule = selection_from(order, energy, error)
    if isinstance(rule, Order):
        rule.check(system.order)
    solvers = _solvers(system, rtol) if solver is None else (solver,)
    if rtol is not None and (solver is not None or not 0 < rtol < 1):
        msg = f"rtol is {rtol!r} and solver {solver!r}; want rtol between 0 and 1, or a solver that brings its own"
        raise BalanceError(msg)
    _require_sound(system)
    Z_P, Z_Q, found = _factors(system, solvers, backend)
    rest = left_out(Z_P, Z_Q, getattr(found, "rtol", 0.0), system.E)

    def bound(hsv: Float[Array, "*batch n"], order: int) -> Any:
        return error_bound(hsv, order) + 2 * (rest.item() if hsv.ndim == 1 else rest)

    rule = _attainable(rule, array_namespace(rest).max(rest).item()) if isinstance(rule, Error) else rule
    method = "low-rank balanced truncation"
    reduction = truncate(system, Z_P, Z_Q, rule, method=method, bound=bound, balancing_free=balancing_free)
    return replace(reduction, hsv=reduction.hsv[..., : min(Z_P.shape[-1], Z_Q.shape[-1])])


def _solvers(system: StateSpace, rtol: float | None) -> tuple[Solver, ...]:
    if isinstance(system.A, Diagonal) and system.E is None:
        return (Cauchy(rtol=1e-14 if rtol is None else rtol),)
    rtol = 1e-12 if rtol is None else rtol
    one_matrix, many = ExtendedKrylov(rtol=rtol), LowRankADI(rtol=rtol)
    return (*((one_matrix, many) if system.E is None else (many, one_matrix)), RationalKrylov(rtol=rtol))


def _factors(
    system: StateSpace, solvers: tuple[Solver, ...], backend: str | Backend | None
) -> tuple[Array, Array, Solver]:
    failures: list[GramiansError] = []
    for solver in solvers:
        try:
            return *gramian_factors(system, solver=solver, backend=backend), solver
        except (ConvergenceError, SingularEquationError) as failure:
            failures.append(failure)
    raise failures[0]


def _attainable(rule: Error, rest: float) -> Error:
    room = rule.tolerance - 2 * rest
    if room <= 0:
        msg = (
            f"error={rule.tolerance:.3g} is finer than the Gramian factors, which leave {2 * rest:.3g} open; "
            "want a larger error, or a smaller rtol"
        )
        raise OrderError(msg)
    return replace(rule, tolerance=room)


def _require_sound(system: StateSpace) -> None:
    """Raise for NaN, a singular E, and unstable poles as far as they are cheap."""
    if system.order <= _FEW or (isinstance(system.A, Diagonal) and system.E is None):
        require_stable(system)
        return
    require_finite(system)
    require_regular_descriptor(system)
