"""An unstable system as the sum of a stable one, which can be reduced, and an unstable one, which is kept."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np
from array_api_compat import array_namespace
from scipy.linalg import block_diag

from ssm_gramians import InstabilityError, ShapeError, StateSpace, Structure

from ._descriptor import without_descriptor
from ._errors import BalanceError, OrderError
from ._host import from_numpy, in_kind_of, on_host, to_numpy
from ._order import Order
from ._project import project
from ._reduction import Reduction
from ._spectral_split import SchurForm, SpectralSplit
from ._stability import require_finite

if TYPE_CHECKING:
    from collections.abc import Callable

    from jaxtyping import Float, Inexact

    from ._arrays import Array, Matrix
    from ._order import Selection

Unstable: TypeAlias = Literal["refuse", "keep"]


@dataclass(frozen=True, eq=False)
class StableSplit:
    """G = stable + unstable, and no pole in common.

    Parameters
    ----------
    stable, unstable
        Dense, in double precision; None where there is no such pole. D goes with the stable part, or with the unstable
        one if that is all.
    left, right
        The states of the stable part are leftᴴ E x.
    left_unstable, right_unstable
        Of the unstable part.
    condition
        The norm of the projection onto the stable subspace. It is large where poles on both sides of the border nearly
        meet; another `margin` moves the border.
    """

    stable: StateSpace | None
    unstable: StateSpace | None
    left: Inexact[Array, "n s"]
    right: Inexact[Array, "n s"]
    left_unstable: Inexact[Array, "n u"]
    right_unstable: Inexact[Array, "n u"]
    condition: float


def split_stable(system: StateSpace, *, margin: float = 0.0) -> StableSplit:
    r"""G = G_s + G_u: the poles that decay faster than the margin, and the rest.

    The Schur form of A is ordered, and its off-diagonal block removed by a Sylvester equation: real for a real system.

    Parameters
    ----------
    system
        One system, dense, diagonal or paired; a regular dense E is divided out.
    margin
        A pole counts as stable if Re λ < −margin (in 1/s), or |λ| < 1 − margin in discrete time. Poles on the border
        are moved across it by rounding: a margin above ε ‖A‖ says where they belong.

    Returns
    -------
    split
        Of the array kind that came.

    Raises
    ------
    BalanceError
        If the margin is negative, or leaves no stable region.
    OrderError
        If poles on both sides of the border coincide to working precision.
    ShapeError
        If the system is a batch.
    NonFiniteError
        If a matrix holds NaN or infinity.
    """
    _check(system, margin)
    dense = on_host(without_descriptor(system)).to_dense()
    form = SchurForm(dense.A)
    poles = form.eigenvalues
    found = form.split(np.abs(poles) < 1 - margin if dense.is_discrete else poles.real < -margin)
    stable, unstable = _part(dense, found.left, found.right), _part(dense, found.left_rest, found.right_rest)
    if stable is not None and unstable is not None:
        unstable = replace(unstable, D=0 * unstable.D)
    stable, unstable = (None if part is None else in_kind_of(system.B, part) for part in (stable, unstable))
    left, right, left_unstable, right_unstable = _bases(found, system.E, system.B)
    return StableSplit(stable, unstable, left, right, left_unstable, right_unstable, found.condition)


def keeps_unstable(unstable: Unstable) -> bool:
    """Say what the option means; raise BalanceError if it is neither "refuse" nor "keep"."""
    if unstable not in ("refuse", "keep"):
        msg = f"unstable is {unstable!r}; want 'refuse' or 'keep'"
        raise BalanceError(msg)
    return unstable == "keep"


def reduce_stable_part(
    system: StateSpace, rule: Selection, margin: float, reduce: Callable[[StateSpace, Selection], Reduction]
) -> Reduction:
    """Reduce G_s in G = G_s + G_u and keep G_u: the error is that of the stable part, and so is its bound.

    Parameters
    ----------
    system
        One system.
    rule
        For all states that are kept, the unstable ones among them; it sees each of these as large as σ₁.
    margin
        As for `split_stable`.
    reduce
        The method, for the stable part.

    Raises
    ------
    OrderError
        If the order leaves no state to the stable part.
    InstabilityError
        If no pole is stable.
    """
    split = split_stable(system, margin=margin)
    if split.stable is None:
        msg = f"no pole is stable with {margin=}: there is nothing to reduce; want at least one stable pole"
        raise InstabilityError(msg, complex(on_host(system).poles()[0]))
    if split.unstable is None:
        found = reduce(split.stable, rule)
        left, right = _lifted(split, found)
        return replace(found, full=system, left=left, right=right)
    found = reduce(split.stable, _Remaining(rule, split.unstable.order))
    joint = _sum(on_host(split.unstable), on_host(found.system))
    left, right = _lifted(split, found)
    return replace(
        found,
        system=in_kind_of(found.system.B, joint),
        order=joint.order,
        full=system,
        method=f"{found.method}, unstable part kept",
        left=left,
        right=right,
        unstable_order=split.unstable.order,
    )


@dataclass(frozen=True)
class _Remaining:
    """What a rule for all states leaves to the stable part."""

    rule: Selection
    unstable: int

    def select(self, hsv: Float[Array, "*batch n"]) -> int:
        xp = array_namespace(hsv)
        order = self.rule.select(xp.concat([hsv[:1]] * self.unstable + [hsv])) - self.unstable
        if order < 1 and isinstance(self.rule, Order):
            msg = (
                f"order {self.rule.order} has no room for the {self.unstable} unstable states, which are kept; "
                f"want at least {self.unstable + 1}"
            )
            raise OrderError(msg)
        return max(order, 1)


def _check(system: StateSpace, margin: float) -> None:
    if not 0 <= margin < (1 if system.is_discrete else np.inf):
        msg = f"margin is {margin}; want 0 or more" + (", below 1" if system.is_discrete else ", finite")
        raise BalanceError(msg)
    if system.batch_shape:
        msg = (
            f"got a batch of shape {system.batch_shape}; want one system, since members may have different numbers "
            "of unstable poles: take them one by one"
        )
        raise ShapeError(msg)
    require_finite(system)


def _part(dense: StateSpace, left: np.ndarray, right: np.ndarray) -> StateSpace | None:
    return project(dense, left, right) if left.shape[-1] else None


def _bases(found: SpectralSplit, E: Matrix | None, like: Array) -> tuple[Array, ...]:
    """Return the four bases; with E the left ones are E⁻ᴴ times those of E⁻¹A."""
    lefts = [found.left, found.left_rest]
    if E is not None:
        E = to_numpy(E.to_dense() if isinstance(E, Structure) else E)
        lefts = [np.linalg.solve(E.conj().T, left) for left in lefts]
    return tuple(from_numpy(M, like) for M in (lefts[0], found.right, lefts[1], found.right_rest))


def _lifted(split: StableSplit, found: Reduction) -> tuple[Array | None, Array | None]:
    """Return the bases of a reduction of the stable part, and the unstable subspace, in the states of the system."""
    if found.left is None or found.right is None:
        return None, None
    xp = array_namespace(split.left)
    left = xp.concat([split.left_unstable, split.left @ found.left], axis=-1)
    return left, xp.concat([split.right_unstable, split.right @ found.right], axis=-1)


def _sum(first: StateSpace, second: StateSpace) -> StateSpace:
    return StateSpace(
        block_diag(first.A, second.A),
        np.concatenate([first.B, second.B]),
        np.concatenate([first.C, second.C], axis=1),
        first.D + second.D,
        second.dt,
    )
