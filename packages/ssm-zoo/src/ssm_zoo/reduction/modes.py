r"""From a plan to the modes of a smaller diagonal system, and the maps between old states and new.

A plan of a layer with a diagonal state knows how its states are weighed. It is asked for $s$ slots of whatever the
layer's system is at that moment, and answers with $z = \text{left}^H \xi$ and $\xi = 2\,\mathrm{Re}(\text{right}\,z)$,
$\xi = [\mathrm{Re}\,x; \mathrm{Im}\,x]$. Applied to a system some training steps after the one that was balanced, that
is a projection of the current one.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, cast

import numpy as np

import ssm_balance as sb
from ssm_gramians import Diagonal, StateSpace

from .idle import awake

if TYPE_CHECKING:
    from jaxtyping import Complex, Float, Int


_RESOLVED = 200 * np.finfo(float).eps ** 0.5  # `balance` gives its fast driver up below half of this


@dataclass(frozen=True)
class Modes:
    """A paired diagonal system and where its slots come from.

    Parameters
    ----------
    system
        What is left, paired and discrete.
    left, right
        The maps, (2n, s) complex.
    condition
        Condition number of the eigenvectors that made it diagonal.
    bound
        A-priori bound on the H∞ error, None where there is none.
    """

    system: StateSpace
    left: Complex[np.ndarray, "2n s"]
    right: Complex[np.ndarray, "2n s"]
    condition: float
    bound: float | None = None


class ModesPlan(Protocol):
    """A plan for a layer with a diagonal state."""

    @property
    def values(self) -> np.ndarray:
        """Return what the real states are worth, descending: two to a slot."""
        ...

    def modes(self, system: StateSpace, slots: int) -> Modes:
        """Return at most so many slots of the system."""
        ...


@dataclass(frozen=True)
class Balanced:
    """The leading states in balanced coordinates.

    Parameters
    ----------
    Z_P, Z_Q
        The factors, (2n, k) and (2n, l).
    projection
        On all states whose values the fast driver resolves; for more, the factors are decomposed again.
    has_bound
        Whether twice the sum of what is neglected bounds the H∞ error.
    is_awake
        Whether the values mean anything: see `awake`.
    """

    Z_P: Float[np.ndarray, "2n k"]
    Z_Q: Float[np.ndarray, "2n l"]
    projection: sb.Projection
    has_bound: bool
    is_awake: bool = True

    @classmethod
    def of(cls, Z_P: np.ndarray, Z_Q: np.ndarray, *, has_bound: bool) -> Balanced:
        """Balance two factors."""
        is_awake, Z_P, Z_Q = awake(Z_P, Z_Q)
        return cls(Z_P, Z_Q, sb.balance(Z_P, Z_Q, _Resolved(), driver="eigh"), has_bound, is_awake)

    @property
    def values(self) -> Float[np.ndarray, " 2n"]:
        """Return the Hankel singular values."""
        return self.projection.hsv if self.is_awake else np.zeros_like(self.projection.hsv)

    def modes(self, system: StateSpace, slots: int) -> Modes:
        """Project, and make diagonal again; a real pole fills a whole slot."""
        projection = self.projection
        if 2 * slots > projection.order:
            projection = sb.balance(self.Z_P, self.Z_Q, sb.Order(min(2 * slots, projection.hsv.size)))
        order = min(2 * slots, projection.order)
        largest = sb.project(system, projection.left[:, :order], projection.right[:, :order])
        dense = cast(np.ndarray, largest.A)
        needed = int((np.linalg.eigvals(dense).imag >= 0).sum())  # cheaper than with vectors
        while True:
            if needed > slots:  # fits, give or take one, if the lower order has the same share of real poles
                order = min(order - 1, math.ceil(order * slots / needed))
            A, B, C = dense[:order, :order], largest.B[:order], largest.C[:, :order]
            found = sb.diagonalize(StateSpace(A, B, C, largest.D, largest.dt))
            needed = found.left.shape[-1]
            if needed <= slots:
                left, right = projection.left[:, :order] @ found.left, projection.right[:, :order] @ found.right
                bound = self._bound(order) if self.has_bound else None
                return Modes(found.system, left, right, float(found.condition), bound)

    def _bound(self, order: int) -> float:
        """Return twice the sum of what is neglected, and what rounding adds to it, next to 2 Σσ ≥ ‖G‖."""
        rounding = np.finfo(float).eps ** 0.5 * 2 * self.values.sum()
        return float(sb.error_bound(self.values, order) + rounding)


class _Resolved:
    """All the values that the driver `eigh` tells from rounding."""

    def select(self, hsv: np.ndarray) -> int:
        """Return how many there are."""
        return max(1, int((hsv >= _RESOLVED * hsv[0]).sum()))


@dataclass(frozen=True)
class Ranked:
    """The modes with the highest scores, as they are.

    Parameters
    ----------
    scores
        One for each slot.
    """

    scores: Float[np.ndarray, " n"]

    @property
    def values(self) -> Float[np.ndarray, " 2n"]:
        """Return every score twice, descending: a slot is two real states."""
        return np.repeat(np.sort(self.scores)[::-1], 2)

    def modes(self, system: StateSpace, slots: int) -> Modes:
        """Select."""
        kept = np.sort(np.argsort(-self.scores, kind="stable")[:slots])
        poles = cast(Diagonal, system.A).eigenvalues[kept]
        selected = StateSpace(Diagonal(poles, paired=True), system.B[kept], system.C[:, kept], system.D, system.dt)
        return Modes(selected, *slot_maps(_rows_of_identity(kept, len(self.scores))), condition=1.0)


def slot_maps(
    T: Complex[np.ndarray, "s n"], S: Complex[np.ndarray, "n s"] | None = None
) -> tuple[Complex[np.ndarray, "2n s"], Complex[np.ndarray, "2n s"]]:
    r"""Return left and right of $z = T x$, $x = S z$ between complex slots; S is $T^H$ if it is not given."""
    S = T.conj().T if S is None else S
    return np.concatenate([T, 1j * T], 1).conj().T, np.concatenate([S / 2, S / 2j])


def _rows_of_identity(kept: Int[np.ndarray, " s"], n: int) -> Complex[np.ndarray, "s n"]:
    return np.eye(n, dtype=complex)[kept]
