"""Bounded-real balanced truncation: a contraction stays one."""

from __future__ import annotations

import math
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from ssm_gramians import StateSpace

from .._bounds import error_bound
from .._errors import BalanceError, PassivityError, RiccatiError
from .._host import dense_matrices, members, on_host
from .._order import Order, selection_from
from .._reduction import Reduction
from .._riccati import Supply, factors_by_member, storage_factor
from .._stability import require_stable
from .._truncate import require_kept_stability, truncate
from ..norms import hinf_bracket

if TYPE_CHECKING:
    from jaxtyping import Inexact

    from .._order import Selection

_ROUNDING = np.finfo(float).eps ** 0.5  # of a gain on the border: a root of an eigenvalue problem


def bounded_real_truncation(
    system: StateSpace,
    order: int | Selection | None = None,
    *,
    energy: float | None = None,
    error: float | None = None,
    gain: float = 1.0,
    balancing_free: bool = False,
) -> Reduction:
    r"""‖G_r‖_∞ ≤ γ if ‖G‖_∞ < γ, and ‖G − G_r‖_∞ ≤ 2 Σ_{i>r} σ_i: no more energy comes out than goes in.

    The σ_i = √eig(X Y) belong to the Riccati equations of the energy that can be drawn at a state and that is needed to
    reach it. They are the Hankel singular values of a larger system, with the losses as further inputs and outputs, of
    which G is a part: never below those of G.

    Exactly one of order, energy, error.

    Parameters
    ----------
    system
        Stable, gain below γ; continuous or discrete; E regular. In dense arithmetic, O(n³). A batch is solved one by
        one and gets one order.
    order
        The number of states to keep, or a rule.
    energy
        Keep at least this fraction of Σσ, in (0, 1].
    error
        Allow at most this H∞ error.
    gain
        γ, the gain that is not to be exceeded.
    balancing_free
        Return the same reduced system in well-conditioned coordinates that are not balanced.

    Returns
    -------
    reduction
        The gain of the reduced system has been checked.

    Raises
    ------
    OrderError
        If the wish is none, double, or out of range.
    InstabilityError
        If a pole does not decay.
    PassivityError
        If the gain of the system is not below γ, or that of the reduced system is above by more than rounding.
    NonFiniteError
        If a matrix holds NaN or infinity.
    SingularDescriptorError
        If E is singular.
    BalanceError
        If γ is not positive and finite.

    References
    ----------
    P. C. Opdenacker, E. A. Jonckheere, IEEE Trans. Circuits Systems 35 (1988) 184-189.
    """
    if not 0 < gain < math.inf:
        msg = f"gain is {gain!r}; want the largest gain allowed, positive and finite"
        raise BalanceError(msg)
    rule = selection_from(order, energy, error)
    if isinstance(rule, Order):
        rule.check(system.order)
    require_stable(system)
    Z_P, Z_Q = factors_by_member(system, partial(_contraction_factor, gain=gain))
    return truncate(
        system,
        Z_P,
        Z_Q,
        rule,
        method="bounded-real balanced truncation",
        bound=error_bound,
        balancing_free=balancing_free,
        require=partial(_require_kept_gain, gain=gain),
    )


def _contraction_factor(system: StateSpace, gain: float) -> Inexact[np.ndarray, "n k"]:
    _, _, C, D = dense_matrices(system)
    Ch = C.conj().T
    supply = Supply(Ch @ C, Ch @ D, D.conj().T @ D - gain**2 * np.eye(D.shape[1]))
    try:
        if np.linalg.norm(D, 2) >= gain:
            raise RiccatiError
        return storage_factor(system, supply, C)
    except RiccatiError as failure:
        bracket = hinf_bracket(system)
        msg = (
            f"the gain is {bracket.lower:.9g} at {bracket.frequency:.6g} rad/s; want a system with a gain below "
            f"{gain:.9g}, not on the border: scale it, or pass a larger gain="
        )
        raise PassivityError(msg) from failure


def _require_kept_gain(reduced: StateSpace, gain: float) -> None:
    require_kept_stability(reduced)
    for member in members(on_host(reduced)):
        bracket = hinf_bracket(member)
        if bracket.lower > gain * (1 + _ROUNDING):
            msg = (
                f"rounding made the reduced system of order {member.order} exceed the gain {gain:.9g}: "
                f"{bracket.lower:.9g} at {bracket.frequency:.6g} rad/s; keep fewer states, or pass a larger gain="
            )
            raise PassivityError(msg)
