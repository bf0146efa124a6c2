"""LQG balanced truncation: for plants that a controller will hold."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from .._order import Error, Order, Selection, selection_from
from .._reduction import Reduction
from .._riccati import factors_by_member, regulator_factor
from .._stability import require_finite
from .._truncate import truncate
from ._promise import no_bound

if TYPE_CHECKING:
    from jaxtyping import Float

    from ssm_gramians import StateSpace

    from .._arrays import Array


def lqg_truncation(
    system: StateSpace,
    order: int | Selection | None = None,
    *,
    energy: float | None = None,
    error: float | None = None,
    balancing_free: bool = False,
) -> Reduction:
    r"""‖[N, M] − [N_r, M_r]‖_∞ ≤ 2 Σ_{i>r} μ_i / √(1 + μ_i²): keep the states that are hard to filter and to control.

    G = M⁻¹ N are normalised coprime factors, and μ_i = √eig(X Y) for the solutions X and Y of the Riccati equations of
    the regulator and of the filter. The bound is one on the gap between the two systems: a controller whose robustness
    margin is larger, ‖[K; I](I − G K)⁻¹[I, G]‖⁻¹, stabilises both. There is none on G − G_r, which may have poles in
    common with neither and need not be finite: `error_bound` is infinite, and `coprime_error_bound(hsv, order)` tells
    what holds.

    Exactly one of order, energy, error.

    Parameters
    ----------
    system
        May be unstable, if its unstable modes can be controlled and observed; continuous or discrete; E regular. In
        dense arithmetic, O(n³). A batch is solved one by one and gets one order.
    order
        The number of states to keep, or a rule; it reads the μ_i.
    energy
        Keep at least this fraction of Σμ, in (0, 1].
    error
        Allow at most this error of the coprime factors, by the bound.
    balancing_free
        Return the same reduced system in well-conditioned coordinates that are not balanced.

    Returns
    -------
    reduction
        `hsv` are the μ_i. As stable or unstable as the full system where μ_r > μ_{r+1} and the bound is below the
        margin; nothing checks it.

    Raises
    ------
    OrderError
        If the wish is none, double, or out of range.
    NonFiniteError
        If a matrix holds NaN or infinity.
    RiccatiError
        If an unstable mode cannot be controlled or observed.
    SingularDescriptorError
        If E is singular.

    References
    ----------
    E. A. Jonckheere, L. M. Silverman, IEEE Trans. Automat. Control 28 (1983) 949-964.
    D. G. Meyer, IEEE Trans. Automat. Control 35 (1990) 1341-1345 (bound).
    """
    rule = _CoprimeRule(selection_from(order, energy, error))
    if isinstance(rule.wish, Order):
        rule.wish.check(system.order)
    require_finite(system)
    Z_P, Z_Q = factors_by_member(system, regulator_factor)
    return truncate(
        system,
        Z_P,
        Z_Q,
        rule,
        method="LQG balanced truncation",
        bound=no_bound,
        balancing_free=balancing_free,
        require=require_finite,
    )


@dataclass(frozen=True)
class _CoprimeRule:
    """An allowed error is one of the coprime factors, whose Hankel singular values are μ / √(1 + μ²)."""

    wish: Selection

    def select(self, hsv: Float[Array, "*batch n"]) -> int:
        return self.wish.select(hsv / (1 + hsv**2) ** 0.5 if isinstance(self.wish, Error) else hsv)
