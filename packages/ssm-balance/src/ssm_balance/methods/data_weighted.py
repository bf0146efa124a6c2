"""Balancing by what a system does to the data it sees, not to white noise."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ssm_gramians import EmpiricalGramian, StateSpace, UnsupportedError, gramian_factors, weighted

from .._balance import balance
from .._errors import BalanceError, OrderError
from .._host import from_numpy, in_kind_of, on_host, to_numpy
from .._order import Error, Order, selection_from
from .._project import project
from .._pull_inside import pulled_inside
from .._reduction import Reduction
from .._snapshots import Snapshots, output_matrix
from .._stability import require_members, require_stable

if TYPE_CHECKING:
    from ssm_gramians import Backend, Solver

    from .._arrays import Array
    from .._order import Selection


def data_weighted_truncation(
    system: StateSpace,
    order: int | Selection | None = None,
    *,
    states: Array | EmpiricalGramian,
    adjoint_states: Array | EmpiricalGramian | None = None,
    mask: Array | None = None,
    horizon: float | None = None,
    output_weight: Array | None = None,
    refit: bool = True,
    margin: float = 0.5,
    energy: float | None = None,
    error: float | None = None,
    solver: Solver | None = None,
    backend: str | Backend | None = None,
) -> Reduction:
    r"""P = E[x xᴴ] over states x, Q = E[λ λᴴ] over adjoint states λ or Σ_{k<L} (1 − k/L) (Aᴴ)ᵏ Cᴴ W C Aᵏ; balance them.

    Keeps what matters for the inputs that really come, for as long as a sequence lasts: often far fewer states than
    white noise over all time asks for. There is no H∞ bound, `error_bound` is infinite; `snapshot_error` measures on
    these states or on others. Stable by construction: a pole that comes too near the border is pulled back.

    Parameters
    ----------
    system
        Stable; one system, not a batch.
    order, energy
        The wish, of which exactly one; the values are √λ(P Q) of these P and Q.
    states
        x_t, shape (..., length, n): neighbours on the last axis but one follow one another in time, the leading axes
        are sequences. For a paired system n complex slots, or the real coordinates [Re x, Im x]. Or an
        `EmpiricalGramian`, where states came in no order or were too many to keep.
    adjoint_states
        λ_t = Aᴴ λ_{t+1} + Cᴴ g_t with g the gradient at the output, in the same coordinates; any number of them.
    mask
        True for the states that count, False for padding; shape that of the states without n.
    horizon
        L, steps or seconds that a state has left to act on the output; if None the length of the sequences, or for
        ever where that is unknown or time is continuous.
    output_weight
        W, shape (p, p): the energy of the output is yᴴ W y.
    refit
        Fit C to the outputs of these states by least squares, with the reduced system driven as the full one was.
    margin
        The reduced system keeps this fraction of the distance of the full system's slowest pole from the border.
    error
        Refused: no error is promised.
    solver, backend
        As for `ssm_gramians.gramian_factors`, for Q.

    Returns
    -------
    reduction
        Balanced but for poles that were pulled and for the refit of C.

    Raises
    ------
    OrderError
        If the wish is none, double, an error, or out of range.
    BalanceError
        If the margin is outside (0, 1], or there are weight or horizon and adjoint states as well.
    InstabilityError
        If the system is unstable.
    ShapeError, NonFiniteError
        If states, adjoint states or mask do not fit, or are not finite.
    UnsupportedError
        If the system is a batch, ShapeError if an empty one.

    References
    ----------
    S. Lall, J. E. Marsden, S. Glavaški, Int. J. Robust Nonlinear Control 12 (2002) 519-535 (P from snapshots).
    C. W. Rowley, Int. J. Bifurcation and Chaos 15 (2005) 997-1013 (P and Q from snapshots).
    """
    rule = selection_from(order, energy, error)
    _check_wish(rule, system, margin)
    if adjoint_states is not None and (horizon is not None or output_weight is not None):
        msg = "adjoint_states carry their own horizon and output weight: give either them, or horizon and output_weight"
        raise BalanceError(msg)
    require_stable(system)
    host = on_host(system)
    seen = Snapshots.of(states, host, mask)
    if adjoint_states is None:
        Z_Q = _observability(host, seen, horizon, output_weight, solver, backend)
    else:
        Z_Q = Snapshots.of(adjoint_states, host, name="adjoint_states").factor()
    projection = balance(seen.factor(), Z_Q, rule, E=host.E)
    reduced = _stable(project(host, projection.left, projection.right), host, margin)
    if refit:
        reduced = _refitted(reduced, host, seen, projection.left)
    return _reduction(reduced, projection, system)


def _check_wish(rule: Selection, system: StateSpace, margin: float) -> None:
    if isinstance(rule, Error):
        msg = "no error is promised where the input is data and not white noise; want order or energy"
        raise OrderError(msg)
    require_members(system)
    if system.batch_shape:
        msg = f"data_weighted_truncation takes one system; got a batch {system.batch_shape}: reduce its members in turn"
        raise UnsupportedError(msg)
    if isinstance(rule, Order):
        rule.check(system.order)
    if not 0 < margin <= 1:
        msg = f"margin is the fraction of the full system's distance from the border to keep, in (0, 1]; got {margin}"
        raise BalanceError(msg)


def _observability(system, seen, horizon, output_weight, solver, backend):
    if output_weight is not None:
        system = weighted(system, output_weight=to_numpy(output_weight).astype(system.D.dtype))
    if horizon is None and seen.in_time:
        horizon = seen.states.shape[1]
    options: dict[str, Any] = {"solver": solver, "backend": backend}
    return gramian_factors(system, horizon=horizon, average=horizon is not None, **options)[1]


def _stable(reduced, full, margin):
    poles = full.poles()
    distance = margin * float(np.min(1 - np.abs(poles) if full.is_discrete else -np.real(poles)))
    A = pulled_inside(reduced.A, distance, discrete=full.is_discrete)
    return StateSpace(A, reduced.B, reduced.C, reduced.D, reduced.dt)


def _refitted(reduced, full, seen, left):
    """C_r + the least change that brings C_r ξ as near as it can come to C x; what ξ never shows stays as it is."""
    xi = seen.kept(seen.reduced(full, left, reduced.A))
    gap = seen.kept(seen.states) @ output_matrix(full).T - xi @ reduced.C.T
    scale = np.linalg.norm(xi, axis=0)
    scale = np.where(scale > 0, scale, 1)
    change = np.linalg.lstsq(xi / scale, gap, rcond=np.sqrt(np.finfo(float).eps))[0] / scale[:, None]
    return StateSpace(reduced.A, reduced.B, reduced.C + change.T, reduced.D, reduced.dt)


def _reduction(reduced, projection, system):
    parts = (projection.left, projection.right, projection.hsv)
    left, right, hsv = (from_numpy(part, system.B) for part in parts)
    return Reduction(
        in_kind_of(system.B, reduced), hsv, projection.order, np.inf, left, right, system, "data-weighted truncation"
    )
