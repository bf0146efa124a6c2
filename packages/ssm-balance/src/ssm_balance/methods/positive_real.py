"""Positive-real balanced truncation: a passive system stays passive."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from array_api_compat import array_namespace

from ssm_gramians import InstabilityError, ShapeError, StateSpace

from .._bounds import error_bound
from .._descriptor import without_descriptor
from .._errors import PassivityError, RiccatiError
from .._host import dense_matrices, members, on_host
from .._order import Error, Order, selection_from
from .._reduction import Reduction
from .._riccati import Supply, factors_by_member, storage_factor
from .._stability import require_stable
from .._truncate import require_kept_stability, truncate
from ..norms import GainBracket, hinf_bracket
from ._promise import WithinBound

if TYPE_CHECKING:
    from jaxtyping import Float, Inexact

    from .._arrays import Array
    from .._order import Selection
    from .._truncate import Bound

_ROUNDING = np.finfo(float).eps ** 0.5  # of a gain on the border: a root of an eigenvalue problem


def positive_real_truncation(
    system: StateSpace,
    order: int | Selection | None = None,
    *,
    energy: float | None = None,
    error: float | None = None,
    balancing_free: bool = False,
) -> Reduction:
    r"""G_r + G_rᴴ ≥ 0 on the axis if G + Gᴴ > 0, and ‖(Dᴴ + G)⁻¹ − (Dᴴ + G_r)⁻¹‖_∞ ≤ 2 ‖(D + Dᴴ)⁻¹‖ Σ_{i>r} π_i.

    The π_i = √eig(X Y), none above 1, belong to the Riccati equations of the energy that can be drawn at a state and
    that is needed to reach it: what an impedance, an admittance or a mechanical structure with forces and velocities
    stores. With δ for that bound and F = Dᴴ + G follows ‖G − G_r‖_∞ ≤ δ ‖F‖²_∞ / (1 − δ ‖F‖_∞) as long as δ ‖F‖_∞ < 1:
    this is `error_bound`, infinite else.

    Exactly one of order, energy, error.

    Parameters
    ----------
    system
        Stable, as many outputs as inputs, D + Dᴴ > 0; continuous or discrete; E regular. In dense arithmetic, O(n³). A
        batch is solved one by one and gets one order.
    order
        The number of states to keep, or a rule; it reads the π_i.
    energy
        Keep at least this fraction of Σπ, in (0, 1].
    error
        Allow at most this H∞ error, by the bound.
    balancing_free
        Return the same reduced system in well-conditioned coordinates that are not balanced.

    Returns
    -------
    reduction
        `hsv` are the π_i. The reduced system has been checked to be positive real.

    Raises
    ------
    OrderError
        If the wish is none, double, or out of range.
    ShapeError
        If there are not as many outputs as inputs.
    InstabilityError
        If a pole does not decay.
    PassivityError
        If the system is not strictly positive real, or the reduced system not positive real, by more than rounding.
    NonFiniteError
        If a matrix holds NaN or infinity.
    SingularDescriptorError
        If E is singular.

    References
    ----------
    U. B. Desai, D. Pal, IEEE Trans. Automat. Control 29 (1984) 1097-1100.
    S. Gugercin, A. C. Antoulas, Int. J. Control 77 (2004) 748-766 (bound).
    """
    rule = selection_from(order, energy, error)
    if isinstance(rule, Order):
        rule.check(system.order)
    if system.inputs != system.outputs:
        msg = f"got {system.outputs} outputs and {system.inputs} inputs; a positive-real map has as many of both"
        raise ShapeError(msg)
    require_stable(system)
    Z_P, Z_Q = factors_by_member(system, _passive_factor)
    bound = _bound_for(system)
    return truncate(
        system,
        Z_P,
        Z_Q,
        WithinBound(rule.tolerance, bound) if isinstance(rule, Error) else rule,
        method="positive-real balanced truncation",
        bound=bound,
        balancing_free=balancing_free,
        require=_require_kept_passivity,
    )


def _passive_factor(system: StateSpace) -> Inexact[np.ndarray, "n k"]:
    _, _, C, D = dense_matrices(system)
    n, R = C.shape[1], D + D.conj().T
    smallest = np.linalg.eigvalsh(R)[0]
    if smallest <= np.finfo(float).eps * R.shape[0] * np.linalg.norm(R, 2):
        msg = f"D + Dᴴ has the eigenvalue {smallest:.3g}; want it positive definite: add some feedthrough"
        raise PassivityError(msg)
    try:
        return storage_factor(system, Supply(np.zeros((n, n)), -C.conj().T, -R), C[:0])
    except RiccatiError as failure:
        wave = _wave_gain(system)
        msg = (
            f"the system is not strictly positive real: (G − I)(G + I)⁻¹ has gain {wave.lower:.9g} at "
            f"{wave.frequency:.6g} rad/s; want a gain below 1, not on the border: add some feedthrough"
        )
        raise PassivityError(msg) from failure


def _bound_for(system: StateSpace) -> Bound:
    """δ ‖F‖² / (1 − δ ‖F‖), the gains ‖F‖ of Dᴴ + G found once."""
    plain = on_host(without_descriptor(system)).to_dense()
    shifted = [_plus(member, member.D.conj().T) for member in members(plain)]
    gains = np.array([hinf_bracket(member, rtol=1e-3).upper for member in shifted])
    weights = np.array([1 / np.linalg.eigvalsh(member.D)[0] for member in shifted])

    def bound(hsv: Float[Array, "*batch n"], order: int) -> float | Float[Array, "*batch"]:
        delta = np.reshape(np.asarray(error_bound(hsv, order)), -1) * weights
        room = 1 - delta * gains
        limit = np.where(room > 0, delta * gains**2 / np.where(room > 0, room, 1), np.inf)
        if hsv.ndim == 1:
            return float(limit[0])
        return array_namespace(hsv).asarray(np.reshape(limit, hsv.shape[:-1]), device=hsv.device)

    return bound


def _require_kept_passivity(reduced: StateSpace) -> None:
    require_kept_stability(reduced)
    for member in members(on_host(reduced)):
        wave = _wave_gain(member)
        if wave.lower > 1 + _ROUNDING:
            msg = (
                f"rounding made the reduced system of order {member.order} active: (G − I)(G + I)⁻¹ has gain "
                f"{wave.lower:.9g} at {wave.frequency:.6g} rad/s; keep fewer states, or add some feedthrough"
            )
            raise PassivityError(msg)


def _wave_gain(system: StateSpace) -> GainBracket:
    """‖(G − I)(G + I)⁻¹‖_∞, at most 1 exactly where G is positive real."""
    A, B, C, D = dense_matrices(system)
    eye = np.eye(D.shape[0])
    T = np.linalg.inv(D + eye)
    BT = B @ T
    try:
        return hinf_bracket(StateSpace(A - BT @ C, BT, 2 * T @ C, eye - 2 * T, system.dt))
    except InstabilityError as failure:
        pole = complex(failure.eigenvalue or 0)
        return GainBracket(
            math.inf, math.inf, abs(np.angle(pole)) / system.dt if system.is_discrete else abs(pole.imag)
        )


def _plus(system: StateSpace, feedthrough: Inexact[np.ndarray, "m m"]) -> StateSpace:
    return StateSpace(system.A, system.B, system.C, system.D + feedthrough, system.dt)
