"""Optimal Hankel-norm approximation."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from ssm_gramians import StateSpace, gramian_factors

from .._all_pass import Balanced, embedding, nearest_constant
from .._balance import balance
from .._bilinear import to_continuous, to_discrete
from .._bounds import hankel_error_bound
from .._by_member import Cut, reduce_members
from .._errors import BalanceError, OrderError
from .._host import dense_matrices
from .._order import Error, Order, selection_from
from .._project import project
from .._spectral_split import SchurForm
from .._stability import require_stable
from .._stable_split import keeps_unstable, reduce_stable_part
from .._truncate import require_kept_stability

if TYPE_CHECKING:
    from jaxtyping import Float, Inexact

    from ssm_gramians import Backend, Solver

    from .._order import Selection
    from .._reduction import Reduction
    from .._stable_split import Unstable


def hankel_norm_approximation(
    system: StateSpace,
    order: int | Selection | None = None,
    *,
    energy: float | None = None,
    error: float | None = None,
    repeated_rtol: float = 1e-9,
    unstable: Unstable = "refuse",
    margin: float = 0.0,
    solver: Solver | None = None,
    backend: str | Backend | None = None,
) -> Reduction:
    r"""‖G − G_r‖_H = σ_{r+1}, the least that is possible, and ‖G − G_r‖_∞ ≤ Σ_{i>r} σ_i, half the bound of truncation.

    Exactly one of order, energy, error. The system is balanced, without the states that carry nothing, and embedded;
    G_r is the stable part of that. D is chosen for the H∞ bound, as the Hankel norm does not see it. A discrete system
    is taken to continuous time and back by the bilinear map, which keeps both norms.

    Parameters
    ----------
    system
        Stable; dense, diagonal or paired; a regular dense E is divided out. The members of a batch are taken one by
        one, to one order. Tensors are reduced in NumPy, without gradients.
    order
        The number of states to keep, or a rule; `Error(..., optimal=True)` knows the bounds of this method.
    energy
        Keep at least this fraction of Σσ, in (0, 1].
    error
        Allow at most this H∞ error.
    repeated_rtol
        Values as near to σ_{r+1} as this, relative, are one value. If σ_r is among them the order is lowered to where
        they begin, since states within the group do not lower the error.
    unstable
        "keep" reduces the stable part and adds the unstable one; "refuse" raises InstabilityError.
    margin
        Of the stable part, as for `split_stable`.
    solver, backend
        As for `ssm_gramians.gramian_factors`.

    Returns
    -------
    reduction
        No projection: left and right are None.

    Raises
    ------
    OrderError
        If the wish is none, double, or out of range; if σ_1 = σ_{r+1}, so that the best system is a constant.
    InstabilityError
        If a pole does not decay.
    NonFiniteError
        If a matrix holds NaN or infinity.
    StabilityLossError
        If rounding made the reduced system unstable.

    References
    ----------
    K. Glover, Int. J. Control 39 (1984) 1115-1193.
    """
    rule = selection_from(order, energy, error)
    if error is not None:
        rule = Error(error, optimal=True)
    if not 0 <= repeated_rtol < 1:
        msg = f"repeated_rtol is {repeated_rtol}; want from 0 to below 1"
        raise BalanceError(msg)
    if keeps_unstable(unstable):
        method = partial(hankel_norm_approximation, repeated_rtol=repeated_rtol, solver=solver, backend=backend)
        return reduce_stable_part(system, rule, margin, method)
    if isinstance(rule, Order):
        rule.check(system.order)
    require_stable(system)

    def analyse(member):
        balanced, hsv = _balanced(member, solver, backend)
        return _HankelAnalysis(member, balanced, hsv, repeated_rtol)

    return reduce_members(system, rule, analyse, method="optimal Hankel-norm approximation")


@dataclass(frozen=True, eq=False)
class _HankelAnalysis:
    """One system, balanced, in continuous time."""

    full: StateSpace
    balanced: Balanced
    values: Float[np.ndarray, " n"]
    rtol: float

    def cut(self, order: int) -> Cut:
        """Embed, and take the stable part."""
        if order >= self.balanced.sigma.size:
            return self._as_cut(self.balanced)
        group = self.balanced.group(order, self.rtol)
        if group.start == 0:
            msg = (
                f"order {order}: σ_1 to σ_{group.stop} are equal, and the best system of a lower order is a constant; "
                f"want order {group.stop} or more"
            )
            raise OrderError(msg)
        return self._as_cut(_stable_part(embedding(self.balanced, group), group.start, self.rtol))

    def _as_cut(self, found: Balanced) -> Cut:
        system = to_discrete(StateSpace(found.A, found.B, found.C, found.D), self.full.dt)
        require_kept_stability(system)
        return Cut(system, float(hankel_error_bound(self.values, system.order)))


def _balanced(
    system: StateSpace, solver: Solver | None, backend: str | Backend | None
) -> tuple[Balanced, Float[np.ndarray, " n"]]:
    """Balance what is above rounding."""
    Z_P, Z_Q = gramian_factors(system, solver=solver, backend=backend)
    projection = balance(Z_P, Z_Q, system.order)
    minimal = to_continuous(project(system, projection.left, projection.right))
    A, B, C, D = dense_matrices(minimal)
    return Balanced(A, B, C, D, projection.hsv[: projection.order]), projection.hsv


def _stable_part(embedded: Balanced, order: int, rtol: float) -> Balanced:
    """Keep the `order` most stable poles, and put the best constant in the place of the antistable part."""
    form = SchurForm(embedded.A)
    chosen = np.zeros(embedded.sigma.size, dtype=bool)
    chosen[np.argsort(form.eigenvalues.real, stable=True)[:order]] = True
    split = form.split(chosen)
    A, B, C, D = embedded.A, embedded.B, embedded.C, embedded.D
    if order < chosen.size:
        W, V = split.left_rest.conj().T, split.right_rest
        D = D + _constant_for(StateSpace(-W @ A @ V, W @ B, -C @ V), rtol)  # F(−s), of the same gains as F
    W, V = split.left.conj().T, split.right
    return replace(embedded, A=W @ A @ V, B=W @ B, C=C @ V, D=D, sigma=embedded.sigma[:order])


def _constant_for(mirrored: StateSpace, rtol: float) -> Inexact[np.ndarray, "m m"]:
    require_kept_stability(mirrored)
    return nearest_constant(_balanced(mirrored, None, None)[0], rtol)
