"""S4: balanced as the dense system that it is, and diagonal from its first cut on: the layer becomes an `S4D`."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from ssm_gramians import StateSpace

from ..._errors import UnsupportedError
from ...layers import S4, S4D, Surgery
from .base import check_finite
from .channel import ChannelAdapter

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from ..evidence import Evidence
    from ..proposal import Plan


class S4Adapter(ChannelAdapter):
    """See `Adapter`.

    Parameters
    ----------
    layer
        An `S4`; one that has been cut is an `S4D`, and is treated as one.
    """

    def check(self, evidence: Evidence) -> None:
        """Raise `ReductionError` if the layer is unstable, or it or what it saw is not finite."""
        if isinstance(self.layer, S4D):
            return super().check(evidence)
        system = self.system()
        return check_finite(A=system.A, B=system.B, C=system.C, activations=evidence.inputs)

    def system(self) -> StateSpace:
        """Return the discretised map of every feature, dense, in NumPy."""
        if isinstance(self.layer, S4D):
            return super().system()
        system = self._reducible.system()
        A, B, C, D = (matrix.cpu().numpy() for matrix in (system.A, system.B, system.C, system.D))
        return StateSpace(A, B, C, D, dt=system.dt)

    def gains(self) -> np.ndarray:
        """Raise `UnsupportedError` unless the layer is diagonal."""
        if isinstance(self.layer, S4D):
            return super().gains()
        msg = "S4 has no modes to pick from: its matrix is not diagonal; balance it, after which it is"
        raise UnsupportedError(msg)

    def ranked(self, scores: np.ndarray) -> Plan:
        """Keep modes as they are."""
        self.gains()
        return super().ranked(scores)

    def surgery(self, reduced: StateSpace, left: np.ndarray, right: np.ndarray) -> Surgery:
        """Return what turns the layer into an `S4D`; moments of C begin anew, its old coordinates being no modes."""
        if isinstance(self.layer, S4D):
            return super().surgery(reduced, left, right)
        twin = cast(S4, self.layer).to_s4d(reduced)
        values = {name: value.detach() for name, value in twin.named_parameters() if name not in ("log_dt", "D")}
        nothing = {name: (lambda old, power, value=value: value * 0) for name, value in values.items()}
        values_and_gone: dict[str, Tensor | None] = {**values, "B": None, "P": None}
        attributes = {"__class__": S4D, "discretization": twin.discretization, "scan": "auto"}
        return Surgery(values_and_gone, nothing, attributes)
