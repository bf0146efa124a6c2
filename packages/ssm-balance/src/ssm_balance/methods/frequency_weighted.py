"""Truncation that counts frequencies by weights."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from array_api_compat import array_namespace

from ssm_gramians import ShapeError, StateSpace, UnsupportedError

from .._arrays import Array, in_double
from .._descriptor import undivided, without_descriptor
from .._errors import BalanceError
from .._order import Error, Order, selection_from
from .._reduction import Reduction
from .._single_factor import controllability_factor
from .._stability import require_stable
from .._truncate import truncate
from ._definite import definite_factors, of_one_dtype
from ._promise import WithinBound, no_bound
from .limited import require_stability

if TYPE_CHECKING:
    from ssm_gramians import Backend, Solver

    from .._order import Selection


def frequency_weighted_truncation(
    system: StateSpace,
    order: int | Selection | None = None,
    *,
    energy: float | None = None,
    error: float | None = None,
    input_weight: StateSpace | None = None,
    output_weight: StateSpace | None = None,
    stable: bool = False,
    balancing_free: bool = False,
    solver: Solver | None = None,
    backend: str | Backend | None = None,
) -> Reduction:
    r"""Make ‖W_o (G − G_r) W_i‖_∞ small: keep the states that coloured inputs reach and filtered outputs show.

    P is the block of x in the controllability Gramian of G W_i, Q that in the observability Gramian of W_o G. With one
    weight alone the reduced system is stable; with two it need not be. Exactly one of order, energy, error.

    Parameters
    ----------
    system
        Stable; any kind, continuous or discrete; E regular. A batch gets one order.
    order
        The number of states to keep, or a rule; it reads the weighted σ.
    energy
        Keep at least this fraction of Σσ, in (0, 1].
    error
        Choose the order by 2 Σ_{i>r} σ_i ≤ error, here a rule of thumb; with stable=True, by the bound.
    input_weight
        W_i, stable, with as many outputs as the system has inputs: u = W_i w for white w.
    output_weight
        W_o, stable, with as many inputs as the system has outputs. One system, or one for each member of a batch.
    stable
        Guarantee stability, and the bound ‖G − G_r‖_∞ ≤ ‖L‖ ‖K‖ 2 Σ_{i>r} σ_i: the right-hand sides of the equations
        of P and Q are replaced by their moduli (Wang, Sreeram and Liu). The weighted error may grow.
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
    BalanceError
        If there is no weight.
    ShapeError
        If a weight does not fit the system.
    UnsupportedError
        If its dt is another.
    InstabilityError
        If a pole of the system or of a weight does not decay.
    StabilityLossError
        If the reduced system is unstable.
    NonFiniteError
        If a matrix holds NaN or infinity.

    References
    ----------
    D. F. Enns, CDC (1984) 127-132.
    G. Wang, V. Sreeram, W. Q. Liu, IEEE Trans. Automat. Control 44 (1999) 1734-1739 (stable, bound).
    """
    rule = selection_from(order, energy, error)
    if isinstance(rule, Order):
        rule.check(system.order)
    if input_weight is None and output_weight is None:
        msg = "got no weight; want input_weight=, output_weight= or both (balanced_truncation needs none)"
        raise BalanceError(msg)
    require_stable(system)
    plain, options = without_descriptor(system).to_dense(), {"solver": solver, "backend": backend}
    Z_P = _weighted_factor(plain, input_weight, "input_weight", options)
    Z_Q = _weighted_factor(plain.dual(), output_weight and _dual(output_weight), "output_weight", options)
    bound: Any = no_bound
    if stable:
        Z_P, Z_Q, bound = definite_factors(system, Z_P, Z_Q, solver, backend)
        rule = WithinBound(rule.tolerance, bound) if isinstance(rule, Error) else rule
    else:
        Z_P = _factor(plain, options) if Z_P is None else Z_P
        Z_Q = undivided(system, _factor(plain.dual(), options) if Z_Q is None else Z_Q)
    return truncate(
        system,
        Z_P,
        Z_Q,
        rule,
        method="frequency-weighted balanced truncation",
        bound=bound,
        balancing_free=balancing_free,
        require=None if stable else require_stability,
    )


def _dual(weight: StateSpace) -> StateSpace:
    return without_descriptor(weight).to_dense().dual()


def _weighted_factor(system: StateSpace, weight: StateSpace | None, name: str, options: dict[str, Any]) -> Array | None:
    """Z with Z Zᴴ the block of x in the controllability Gramian of G W."""
    if weight is None:
        return None
    if weight.outputs != system.inputs or weight.batch_shape not in ((), system.batch_shape):
        theirs, ours = ("outputs", "inputs") if name == "input_weight" else ("inputs", "outputs")
        msg = (
            f"{name} has {weight.outputs} {theirs} and batch {weight.batch_shape}; want {system.inputs}, as the system "
            f"has {ours}, and batch () or {system.batch_shape}"
        )
        raise ShapeError(msg)
    if weight.dt != system.dt:
        msg = f"{name} has dt = {weight.dt}, the system {system.dt} seconds; want one: discretise one of them first"
        raise UnsupportedError(msg)
    require_stable(weight)
    joint = _cascade(system, without_descriptor(weight).to_dense())
    return _factor(joint, options)[..., : system.order, :]


def _cascade(system: StateSpace, weight: StateSpace) -> StateSpace:
    """G W with the states [x; x_w]: A_c = [A, B C_w; 0, A_w], B_c = [B D_w; B_w]."""
    xp = array_namespace(system.B)
    parts = [in_double(M) for M in (system.A, system.B, system.C, weight.A, weight.B, weight.C, weight.D)]
    dtype, batch = xp.result_type(*parts), system.batch_shape
    A, B, C, A_w, B_w, C_w, D_w = (
        xp.broadcast_to(xp.astype(M, dtype, copy=False), (*batch, *M.shape[-2:])) for M in parts
    )
    below = xp.zeros((*batch, weight.order, system.order), dtype=dtype, device=B.device)
    top = xp.concat([A, B @ C_w], axis=-1)
    joint = xp.concat([top, xp.concat([below, A_w], axis=-1)], axis=-2)
    unseen = xp.zeros((*batch, system.outputs, weight.order), dtype=dtype, device=B.device)
    reached, shown = xp.concat([B @ D_w, B_w], axis=-2), xp.concat([C, unseen], axis=-1)
    return StateSpace(joint, reached, shown, dt=system.dt)


def _factor(system: StateSpace, options: dict[str, Any]) -> Array:
    A, B = of_one_dtype(system.A, system.B)
    return controllability_factor(A, B, discrete=system.is_discrete, **options)
