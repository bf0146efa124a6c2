r"""Other ways to weigh states, as they were published, under the same reducer: for honest comparison.

In the scores, $b_i$ is row i of B and $c_i$ column i of C of the layer's system with poles $\lambda_i$.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, cast

import numpy as np
import scipy.linalg

from ssm_gramians import Diagonal, StateSpace

from .balancing import Activations, Method
from .modes import Balanced, Modes, slot_maps

if TYPE_CHECKING:
    from jaxtyping import Complex, Float

    from .adapters import Adapter
    from .evidence import Evidence
    from .proposal import Plan


@dataclass(frozen=True)
class LAST:
    r"""$\|c_i\| \|b_i\| / (1 - |\lambda_i|)$: the H∞ norm of each mode, which is kept as it is or dropped.

    References
    ----------
    Gwak et al., Layer-adaptive state pruning for deep state space models, NeurIPS 2024, arXiv 2411.02824. Their scores
    are divided by the sum of those above, so that one threshold serves all layers; per layer the order is the same.
    """

    def plan(self, adapter: Adapter, evidence: Evidence) -> Plan:
        """Return the plan of the scores."""
        del evidence
        poles, gains = cast(Diagonal, adapter.system().A).eigenvalues, adapter.gains()
        return adapter.ranked(gains / (1 - np.abs(poles)))


@dataclass(frozen=True)
class AIREPrune:
    r"""$\|c_i\|^2 \|b_i\|^2 / (1 - |\lambda_i|^2)$: the energy of each mode's impulse response.

    References
    ----------
    Padhy et al., AIRE-Prune, ICLR 2026.
    """

    def plan(self, adapter: Adapter, evidence: Evidence) -> Plan:
        """Return the plan of the scores."""
        del evidence
        poles, gains = cast(Diagonal, adapter.system().A).eigenvalues, adapter.gains()
        return adapter.ranked(gains**2 / (1 - np.abs(poles) ** 2))


@dataclass(frozen=True)
class Magnitude:
    r"""$\|c_i\| \|b_i\|$: how large the parameters of a mode are, whatever its pole."""

    def plan(self, adapter: Adapter, evidence: Evidence) -> Plan:
        """Return the plan of the scores."""
        del evidence
        return adapter.ranked(adapter.gains())


@dataclass(frozen=True)
class OutputEnergy:
    r"""$P_{ii} Q_{ii}$ with $P = E[\xi \xi^T]$ and $Q$ what states cause at the outputs: the energy of each by itself.

    References
    ----------
    Menezes, Kyrillidis, GHOST, arXiv 2602.11408, for Mamba-2: forward statistics times output weights.
    """

    def plan(self, adapter: Adapter, evidence: Evidence) -> Plan:
        """Return the plan of the scores."""
        seen, _ = evidence.split()
        moments = adapter.state_moments(seen), adapter.output_moments(seen)
        P, Q = (np.diagonal(moment, axis1=-2, axis2=-1) for moment in moments)
        energy = P * Q
        return adapter.ranked(energy.reshape(*energy.shape[:-1], adapter.states_per_slot, -1).sum(-2))


@dataclass(frozen=True)
class Random:
    """Any modes.

    Parameters
    ----------
    seed
        Fixes which.
    """

    seed: int = 0

    def plan(self, adapter: Adapter, evidence: Evidence) -> Plan:
        """Return the plan of random scores."""
        del evidence
        shape = adapter.gains().shape
        return adapter.ranked(1 - np.random.default_rng([self.seed, adapter.d_state]).random(shape))


@dataclass(frozen=True)
class LeadingRemoved:
    """The states worth least of those that are worth anything, in balanced coordinates: the control that must fail.

    Parameters
    ----------
    method
        What the states are weighed by; for layers with one diagonal state.
    """

    method: Method = field(default_factory=Activations)

    def plan(self, adapter: Adapter, evidence: Evidence) -> Plan:
        """Return the plan of the same values with the coordinates in reverse."""
        plan = cast(Balanced, self.method.plan(adapter, evidence))
        left, right = plan.projection.left[:, ::-1], plan.projection.right[:, ::-1]
        return replace(plan, projection=replace(plan.projection, left=left, right=right), has_bound=False)


@dataclass(frozen=True)
class Published:
    r"""The recipe of CompreSSM, re-stated: complex half of the system, white noise, single precision, nothing checked.

    $\sigma = \sqrt{\mathrm{eig}(P Q)}$ with what is NaN set to zero; $T = P^{1/2} U S^{-1/4}$ from
    $U S V^H = P^{1/2} Q P^{1/2}$; the leading states of $(T^{-1} \Lambda T, T^{-1} B, C T)$, made diagonal again.

    References
    ----------
    Chahine, Nazari, Rus, Rusch, CompreSSM, ICLR 2026, arXiv 2510.02823, and the code released with it.
    """

    def plan(self, adapter: Adapter, evidence: Evidence) -> Plan:
        """Return the plan of the recipe."""
        del evidence
        poles, B, C = _single(adapter.system())
        pairs = np.kron(poles, poles.conj()).reshape(len(poles), -1)
        P, Q = (B @ B.conj().T) / (1 - pairs), (C.conj().T @ C) / (1 - pairs.conj())
        with np.errstate(invalid="ignore"):
            values = np.sqrt(np.linalg.eigvals(P @ Q).real)
        root = scipy.linalg.sqrtm(P + 1e-9 * np.eye(len(poles)))
        U, S, _ = np.linalg.svd(root @ Q @ root)
        return _PublishedPlan(np.sort(np.nan_to_num(values))[::-1].astype(float), root @ U @ np.diag(S**-0.25))


@dataclass(frozen=True)
class _PublishedPlan:
    hsv: Float[np.ndarray, " n"]
    T: Complex[np.ndarray, "n n"]

    @property
    def values(self) -> Float[np.ndarray, " 2n"]:
        """Return every value twice: a state of the complex half is a slot."""
        return np.repeat(self.hsv, 2)

    def modes(self, system: StateSpace, slots: int) -> Modes:
        """Truncate, and make diagonal; as there, nothing is checked."""
        poles, B, C = _single(system)
        T_inverse = np.linalg.inv(self.T)
        poles, X = scipy.linalg.eig((T_inverse @ np.diag(poles) @ self.T)[:slots, :slots])
        left, right = np.linalg.inv(X) @ T_inverse[:slots], self.T[:, :slots] @ X
        poles, B, C, left, right = (part.astype(complex) for part in (poles, left @ B, C @ right / 2, left, right))
        reduced = StateSpace(Diagonal(poles, paired=True), B, C, system.D, system.dt)
        return Modes(reduced, *slot_maps(left, right), condition=float(np.linalg.cond(X)))


def _single(system: StateSpace) -> tuple[np.ndarray, ...]:
    """Return poles, B and C of y = Re(C x), of which the recipe forgets the real part, in single precision."""
    matrices = (cast(Diagonal, system.A).eigenvalues, system.B, 2 * system.C)
    return tuple(matrix.astype(np.complex64) for matrix in matrices)
