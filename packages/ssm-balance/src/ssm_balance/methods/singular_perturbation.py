"""Balanced residualisation."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from array_api_compat import array_namespace, device

from ssm_gramians import StateSpace, gramian_factors

from .._arrays import adjoint, in_double, is_complex, product
from .._balance import balance
from .._bounds import error_bound
from .._descriptor import descriptor_times
from .._hankel_gradient import changed
from .._order import Order, selection_from
from .._project import project
from .._reduction import Reduction
from .._stability import require_stable
from .._stable_split import keeps_unstable, reduce_stable_part
from .._truncate import require_kept_stability

if TYPE_CHECKING:
    from jaxtyping import Float, Inexact

    from ssm_gramians import Backend, Solver

    from .._arrays import Array, Matrix
    from .._balance import Projection
    from .._order import Selection
    from .._stable_split import Unstable


def singular_perturbation(
    system: StateSpace,
    order: int | Selection | None = None,
    *,
    energy: float | None = None,
    error: float | None = None,
    unstable: Unstable = "refuse",
    margin: float = 0.0,
    solver: Solver | None = None,
    backend: str | Backend | None = None,
) -> Reduction:
    r"""G_r(0) = G(0), or G_r(1) = G(1), and ‖G − G_r‖_∞ ≤ 2 Σ_{i>r} σ_i: the weak states follow at once, as if at rest.

    Exactly one of order, energy, error. Truncation is exact at high frequencies, this at low ones: the σ and the bound
    are the same. What is below rounding, eps · n · σ₁, cannot be balanced and is truncated; D makes up for it.

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
    unstable
        "keep" reduces the stable part and adds the unstable one; "refuse" raises InstabilityError.
    margin
        Of the stable part, as for `split_stable`.
    solver, backend
        As for `ssm_gramians.gramian_factors`.

    Returns
    -------
    reduction
        Not a projection: left and right are None. A continuous system is returned balanced; a discrete one nearly so.

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
    K. V. Fernando, H. Nicholson, IEEE Trans. Automat. Control 27 (1982) 466-468.
    Y. Liu, B. D. O. Anderson, Int. J. Control 50 (1989) 1379-1405 (bound, discrete time).
    A. Varga, CDC (1991) 1062-1065 (well-conditioned bases).
    """
    rule = selection_from(order, energy, error)
    if keeps_unstable(unstable):
        return reduce_stable_part(system, rule, margin, partial(singular_perturbation, solver=solver, backend=backend))
    if isinstance(rule, Order):
        rule.check(system.order)
    require_stable(system)
    Z_P, Z_Q = gramian_factors(system, solver=solver, backend=backend)
    whole = balance(Z_P, Z_Q, _AboveRounding(rule, max(*Z_P.shape[-2:], Z_Q.shape[-1])), E=system.E)
    kept = min(rule.select(whole.hsv), whole.order)
    reduced = _with_gain(residualize(project(system, *_bases(whole, kept, system.E)), kept), system)
    require_kept_stability(reduced)
    bound = error_bound(whole.hsv, kept)
    return Reduction(reduced, whole.hsv, kept, bound, None, None, system, "singular perturbation")


def residualize(system: StateSpace, order: int) -> StateSpace:
    """Set ẋ₂ = 0, or x₂(k+1) = x₂(k), for the states after the first `order`: the gain at frequency zero stays.

    Parameters
    ----------
    system
        Dense.
    order
        How many states stay.
    """
    if order == system.order:
        return system
    A, B, C = system.A, system.B, system.C
    xp, r = array_namespace(A), order
    eye = xp.eye(system.order - r, dtype=A.dtype, device=device(A))
    fast = A[..., r:, r:] - eye if system.is_discrete else A[..., r:, r:]
    drive = xp.concat([A[..., r:, :r], xp.astype(B[..., r:, :], A.dtype)], axis=-1)
    slaved = -xp.linalg.solve(fast, drive)  # x₂ = slaved [x₁; u]
    states, inputs = slaved[..., :r], slaved[..., r:]
    return StateSpace(
        A[..., :r, :r] + A[..., :r, r:] @ states,
        B[..., :r, :] + A[..., :r, r:] @ inputs,
        C[..., :r] + product(C[..., r:], states),
        system.D + product(C[..., r:], inputs),
        system.dt,
    )


def _with_gain(reduced: StateSpace, full: StateSpace) -> StateSpace:
    """Give D what rounding took from the gain at frequency zero."""
    xp = array_namespace(reduced.D)
    rest = xp.asarray([1.0 if full.is_discrete else 0.0], dtype=xp.float64, device=device(reduced.D))
    missing = (changed(full, in_double).transfer_function(rest) - reduced.transfer_function(rest))[..., 0, :, :]
    D = reduced.D + (missing if is_complex(reduced.D) else xp.real(missing))
    return StateSpace(reduced.A, reduced.B, reduced.C, D, reduced.dt)


@dataclass(frozen=True)
class _AboveRounding:
    """Every state that all members can balance."""

    rule: Selection
    size: int

    def select(self, hsv: Float[Array, "*batch n"]) -> int:
        xp = array_namespace(hsv)
        order = self.rule.select(hsv)
        if 0 in hsv.shape:
            return order
        floor = xp.finfo(hsv.dtype).eps * self.size * hsv[..., :1]
        return max(order, int(xp.min(xp.sum(xp.astype(hsv > floor, xp.int64), axis=-1))))


def _bases(
    whole: Projection, kept: int, E: Matrix | None
) -> tuple[Inexact[Array, "*batch n k"], Inexact[Array, "*batch n k"]]:
    """Leave the strong states balanced; give the weak ones, whose coordinates do not matter, orthonormal bases."""
    xp = array_namespace(whole.left)
    left, right = (
        xp.concat([basis[..., :kept], xp.linalg.qr(basis[..., kept:])[0]], axis=-1)
        for basis in (whole.left, whole.right)
    )
    gram = product(adjoint(left), descriptor_times(E, right))
    return adjoint(xp.linalg.solve(gram, adjoint(left))), right
