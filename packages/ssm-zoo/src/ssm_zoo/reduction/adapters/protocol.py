"""What a reduction asks of a layer, whatever kind it is of."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor, nn

    from ssm_gramians import StateSpace

    from ..evidence import Evidence
    from ..proposal import Plan, Proposal


class Adapter(Protocol):
    r"""A layer as a reduction sees it: states with second moments, from which two factors make a smaller layer.

    The moments have the shape (\*groups, m, m): one group for a layer with one state, a group for each channel or head
    group that has a state space of its own.
    """

    layer: nn.Module
    states_per_slot: int
    """States that the moments and values count for each unit of `d_state`: 2 where a slot is a complex number."""

    @property
    def d_state(self) -> int:
        """Return the layer's size now, in slots."""
        ...

    def check(self, evidence: Evidence) -> None:
        """Raise `ReductionError` if the layer is unstable, or it or what it saw is not finite."""
        ...

    def system(self) -> StateSpace:
        """Return the layer's map in NumPy; raise `UnsupportedError` if it is not linear and time-invariant."""
        ...

    def gains(self) -> np.ndarray:
        r"""Return how large the parameters of each slot are, $\|c_i\| \|b_i\|$."""
        ...

    def state_moments(self, evidence: Evidence) -> np.ndarray:
        r"""Return $E[\xi \xi^T]$ over real steps, float64."""
        ...

    def adjoint_moments(self, evidence: Evidence) -> np.ndarray:
        r"""Return $E[a a^T]$ of $a_t = \partial \ell / \partial \xi_t$ for the gradients in the evidence, float64."""
        ...

    def output_moments(self, evidence: Evidence) -> np.ndarray:
        r"""Return what states still have time to cause at the outputs: $\sum (1 - k/L) (A^T)^k C^T C A^k$ and kin."""
        ...

    def balanced(self, Z_P: np.ndarray, Z_Q: np.ndarray, *, has_bound: bool) -> Plan:
        """Return the plan of two factors."""
        ...

    def ranked(self, scores: np.ndarray) -> Plan:
        """Return the plan that keeps the slots with the highest scores."""
        ...

    def propose(self, plan: Plan, slots: int, evidence: Evidence) -> Proposal:
        """Work out the cut of the layer as it is now."""
        ...

    def outputs(self, evidence: Evidence) -> Tensor:
        """Return the layer's outputs for the inputs in the evidence."""
        ...
