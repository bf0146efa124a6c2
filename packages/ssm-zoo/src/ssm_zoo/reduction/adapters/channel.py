"""Layers with a state space of its own in every feature: S4D. All features keep the same number of slots."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, cast

import numpy as np

import ssm_balance as sb
from ssm_gramians import Diagonal, StateSpace

from ..certificate import Certificate
from ..modes import Balanced, Modes, ModesPlan, Ranked
from ..proposal import Proposal
from ..refit import pull_inside
from .base import output_error
from .diagonal import DiagonalAdapter

if TYPE_CHECKING:
    from torch import Tensor

    from ...layers import Surgery
    from ..evidence import Evidence
    from ..proposal import Plan


@dataclass(frozen=True)
class Side:
    """One plan for every feature.

    Parameters
    ----------
    plans
        In the order of the features.
    """

    plans: tuple[ModesPlan, ...]

    @property
    def values(self) -> np.ndarray:
        """Return the mean over the features of what the k-th best state of each is worth."""
        return np.mean([plan.values for plan in self.plans], axis=0)


class ChannelAdapter(DiagonalAdapter):
    """See `Adapter`.

    Parameters
    ----------
    layer
        An `S4D`.
    """

    def balanced(self, Z_P: np.ndarray, Z_Q: np.ndarray, *, has_bound: bool) -> Plan:
        """Balance every feature for itself."""
        pairs = zip(np.asarray(Z_P), np.asarray(Z_Q), strict=True)
        return Side(tuple(Balanced.of(*pair, has_bound=has_bound) for pair in pairs))

    def ranked(self, scores: np.ndarray) -> Plan:
        """Keep modes as they are, the best of every feature."""
        return Side(tuple(Ranked(row) for row in scores))

    def propose(self, plan: Plan, slots: int, evidence: Evidence) -> Proposal:
        """Take the modes of every feature; one that needs fewer slots than the others gets some that do nothing."""
        system = self.system()
        features = [_feature(system, h) for h in range(system.batch_shape[0])]
        plans = cast(Side, plan).plans
        found = [one.modes(feature, slots) for one, feature in zip(plans, features, strict=True)]
        radius = max(float(np.abs(cast(Diagonal, modes.system.A).eigenvalues).max()) for modes in found)
        most = max(modes.left.shape[-1] for modes in found)
        seen, probe = evidence.split()
        inputs = seen.inputs.split(1, -1)
        found = [_stable(modes, *pair) for modes, *pair in zip(found, features, inputs, strict=True)]
        filled = [_filled(modes, most) for modes in found]
        reduced = StateSpace(
            Diagonal(np.stack([cast(Diagonal, modes.system.A).eigenvalues for modes in filled]), paired=True),
            np.stack([modes.system.B for modes in filled]),
            np.stack([modes.system.C for modes in filled]),
            system.D,
            dt=system.dt,
        )
        left, right = (np.stack([getattr(modes, side) for modes in filled]) for side in ("left", "right"))
        surgery = self.surgery(reduced, left, right)
        bounds = [modes.bound for modes in found]
        certificate = Certificate(
            output_error=output_error(self, surgery, probe),
            error_bound=None if None in bounds else max(cast("list[float]", bounds)),
            hinf_error=_largest_error(features, found),
            condition=max(modes.condition for modes in found),
            spectral_radius=radius,
        )
        return Proposal(most, surgery, certificate)

    def surgery(self, reduced: StateSpace, left: np.ndarray, right: np.ndarray) -> Surgery:
        """Return what turns the layer into that of the system."""
        return self._reducible.surgery(reduced, left, right)


def _feature(system: StateSpace, h: int) -> StateSpace:
    A = Diagonal(system.A.eigenvalues[h], paired=True) if isinstance(system.A, Diagonal) else system.A[h]
    return StateSpace(A, system.B[h], system.C[h], system.D[h], dt=system.dt)


def _stable(modes: Modes, full: StateSpace, inputs: Tensor) -> Modes:
    """Pull poles inside the unit circle, if any is not, and let C make up for it."""
    if np.abs(cast(Diagonal, modes.system.A).eigenvalues).max() < 1:
        return modes
    return replace(modes, system=pull_inside(modes.system, full, inputs))


def _filled(modes: Modes, slots: int) -> Modes:
    """Add slots that decay at once and are not read."""
    extra = slots - modes.left.shape[-1]
    if not extra:
        return modes
    system, poles = modes.system, cast(Diagonal, modes.system.A).eigenvalues
    idle = np.full(extra, 0.5 + 0j)
    reduced = StateSpace(
        Diagonal(np.concatenate([poles, idle]), paired=True),
        np.concatenate([system.B, np.ones((extra, system.inputs))]),
        np.concatenate([system.C, np.zeros((system.outputs, extra))], 1),
        system.D,
        dt=system.dt,
    )
    nothing = np.zeros((len(modes.left), extra))
    left, right = (np.concatenate([side, nothing], 1) for side in (modes.left, modes.right))
    return replace(modes, system=reduced, left=left, right=right)


def _largest_error(features: list[StateSpace], found: list[Modes]) -> float:
    """Return the largest gain of the error of any feature, at the frequencies of the new poles."""
    largest = 0.0
    for full, modes in zip(features, found, strict=True):
        if isinstance(full.A, Diagonal):
            gain = sb.estimate_peak_gain(sb.difference(full, modes.system))[0]
        else:
            gain = sb.peak_gain(full, np.angle(cast(Diagonal, modes.system.A).eigenvalues), minus=modes.system)[0]
        largest = max(largest, gain)
    return largest
