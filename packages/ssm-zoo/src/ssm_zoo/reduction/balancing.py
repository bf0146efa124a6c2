"""From what a layer is balanced: the two factors, and what is known about the error."""

from __future__ import annotations

import math
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, Protocol

import ssm_gramians as sg

from .._errors import OptionError

if TYPE_CHECKING:
    import numpy as np

    from .adapters import Adapter
    from .evidence import Evidence
    from .proposal import Plan


class Method(Protocol):
    """Weighs the states of a layer."""

    def plan(self, adapter: Adapter, evidence: Evidence) -> Plan:
        """Return what the states are worth, with all that a cut needs."""
        ...


@dataclass(frozen=True)
class WhiteNoise:
    r"""The classical Gramians, $A P A^T - P + B B^T = 0$ and $A^T Q A - Q + C^T C = 0$.

    What the layer does to white noise over an infinite horizon. Carries the a-priori bound. For layers that are linear
    and time-invariant only.
    """

    def plan(self, adapter: Adapter, evidence: Evidence) -> Plan:
        """Return the plan of the classical Gramians; the activations play no part."""
        del evidence
        return adapter.balanced(*_gramian_factors(adapter.system()), has_bound=True)


@dataclass(frozen=True)
class Activations:
    r"""$P = E[\xi \xi^T]$ over real activations, $Q = \sum_{k<L} (1 - k/L) (A^T)^k C^T C A^k$.

    What the layer does to the sequences it really sees, and what a state still has time to cause in a sequence of
    length L; of a selective layer, what its states cause at the same step, $Q = E[C C^T]$. Keeps far fewer states at
    equal accuracy than white noise does; there is no a-priori bound, so the error is measured on activations that were
    held out.

    Parameters
    ----------
    horizon
        L in steps, may be infinite; the length of the sequences if None. Selective layers have no use for it.

    Raises
    ------
    OptionError
        If the horizon is below 1.
    """

    horizon: float | None = None

    def __post_init__(self) -> None:
        if self.horizon is not None and self.horizon < 1:
            msg = f"horizon is {self.horizon}; want at least one step, or None for the length of the sequences"
            raise OptionError(msg)

    def plan(self, adapter: Adapter, evidence: Evidence) -> Plan:
        """Return the plan of the states' second moments and of what they cause."""
        seen, _ = evidence.split()
        if self.horizon is None:
            Q = adapter.output_moments(seen)
        elif math.isinf(self.horizon):
            Q = sg.observability_gramian(adapter.system())
        else:
            Q = sg.observability_gramian(adapter.system(), horizon=self.horizon, average=True)
        return adapter.balanced(factor(adapter.state_moments(seen)), factor(Q), has_bound=False)


@dataclass(frozen=True)
class Adjoints:
    r"""$P = E[\xi \xi^T]$ and $Q = E[a a^T]$ with the adjoint states $a_t = \partial \ell / \partial \xi_t$.

    What the states are, and what the loss of the mini-batch makes of them: fully data-driven, the same for all kinds of
    layers. Its values are in units of the loss, so that those of different layers can be compared.
    """

    def plan(self, adapter: Adapter, evidence: Evidence) -> Plan:
        """Return the plan of the second moments of states and adjoint states."""
        seen, _ = evidence.split()
        moments = adapter.state_moments(seen), adapter.adjoint_moments(seen)
        return adapter.balanced(*map(factor, moments), has_bound=False)


def _gramian_factors(system: sg.StateSpace) -> tuple[np.ndarray, np.ndarray]:
    backend = "numba" if find_spec("numba") else "scipy"
    if isinstance(system.A, sg.Diagonal):
        try:
            return sg.gramian_factors(system, solver=sg.ClosedForm(), backend=backend)
        except sg.ConvergenceError:  # the Gramian of a slot next to the real axis can be indefinite by rounding
            pass
    return sg.gramian_factors(system, backend=backend)


def factor(moment: np.ndarray) -> np.ndarray:
    """Return Z with Z Zᵀ = moment."""
    return sg.get_backend(moment).factor(moment)
