"""Layers with one diagonal state for all features: LRU, S5, and whatever implements `Reducible`."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import numpy as np

import ssm_balance as sb
import ssm_gramians as sg
from ssm_gramians import Diagonal, StateSpace

from ..._errors import ReductionError
from ..certificate import Certificate
from ..modes import Balanced, Modes, ModesPlan, Ranked
from ..proposal import Proposal
from ..refit import pull_inside
from .base import LayerAdapter, check_finite, output_error

if TYPE_CHECKING:
    from ...layers import Reducible, Surgery
    from ..evidence import Evidence
    from ..proposal import Plan


class DiagonalAdapter(LayerAdapter):
    """See `Adapter`.

    Parameters
    ----------
    layer
        Implements `Reducible`.
    """

    states_per_slot = 2

    @property
    def d_state(self) -> int:
        """Return the number of slots."""
        return self._reducible.d_state

    def check(self, evidence: Evidence) -> None:
        """Raise `ReductionError` if the layer is unstable, or it or what it saw is not finite."""
        system = self.system()
        A = cast(Diagonal, system.A).eigenvalues
        check_finite(poles=A, B=system.B, C=system.C, activations=evidence.inputs)
        if np.abs(A).max() > 1 - np.finfo(float).eps:
            worst = A[np.abs(A).argmax()]
            size = f"the pole {worst:.6g} of modulus {abs(worst):.9g}"
            msg = f"the layer is unstable: it has {size}; want every modulus < 1"
            raise ReductionError(msg)

    def system(self) -> StateSpace:
        """Return the layer's map in NumPy: the linear algebra of a reduction is LAPACK's, on the CPU."""
        system = self._reducible.system()
        A, B, C, D = (matrix.cpu().numpy() for matrix in (system.A.eigenvalues, system.B, system.C, system.D))
        return StateSpace(Diagonal(A, paired=True), B, C, D, dt=system.dt)

    def gains(self) -> np.ndarray:
        r"""Return $\|c_i\| \|b_i\|$ of every mode."""
        system = self.system()
        return np.linalg.norm(system.B, axis=-1) * np.linalg.norm(2 * system.C, axis=-2)

    def state_moments(self, evidence: Evidence) -> np.ndarray:
        r"""Return $E[\xi \xi^T]$."""
        if evidence.lengths is None:
            return self._reducible.second_moment(evidence.inputs).cpu().numpy()
        return super().state_moments(evidence)

    def output_moments(self, evidence: Evidence) -> np.ndarray:
        r"""Return $\sum_{k<L} (1 - k/L) (A^T)^k C^T C A^k$, with L the length of the sequences."""
        return sg.observability_gramian(self.system(), horizon=evidence.inputs.shape[1], average=True)

    def balanced(self, Z_P: np.ndarray, Z_Q: np.ndarray, *, has_bound: bool) -> Plan:
        """Balance; values that are zero to rounding have no coordinates, and are worth nothing."""
        return Balanced.of(Z_P, Z_Q, has_bound=has_bound)

    def ranked(self, scores: np.ndarray) -> Plan:
        """Keep modes as they are."""
        return Ranked(scores)

    def propose(self, plan: Plan, slots: int, evidence: Evidence) -> Proposal:
        """Take the modes, pull unstable poles inside, and measure on every fourth sequence."""
        system = self.system()
        seen, probe = evidence.split()
        modes = cast(ModesPlan, plan).modes(system, slots)
        reduced = modes.system
        radius = float(np.abs(cast(Diagonal, reduced.A).eigenvalues).max())
        if radius >= 1:
            reduced = pull_inside(reduced, system, seen.inputs)
        surgery = self._reducible.surgery(reduced, modes.left, modes.right)
        certificate = self._certificate(modes, system, reduced, radius, surgery, probe)
        return Proposal(modes.left.shape[-1], surgery, certificate)

    @property
    def _reducible(self) -> Reducible:
        return cast("Reducible", self.layer)

    def _certificate(
        self,
        modes: Modes,
        system: StateSpace,
        reduced: StateSpace,
        radius: float,
        surgery: Surgery,
        probe: Evidence,
    ) -> Certificate:
        return Certificate(
            error_bound=modes.bound,
            hinf_error=sb.estimate_peak_gain(sb.difference(system, reduced))[0],
            output_error=output_error(self, surgery, probe),
            condition=modes.condition,
            spectral_radius=radius,
        )
