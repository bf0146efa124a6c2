"""What the adapters of selective layers, Mamba and Mamba-2, have in common."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch

from ..._errors import UnsupportedError
from ...layers.padding import right_padded
from ...scan.lengths import real_steps
from ..certificate import Certificate
from ..proposal import Proposal
from .base import LayerAdapter, check_finite, output_error

if TYPE_CHECKING:
    from torch import Tensor

    from ssm_gramians import StateSpace

    from ...layers import Surgery
    from ..evidence import Evidence
    from ..proposal import Plan


class SelectiveAdapter(LayerAdapter):
    """See `Adapter`.

    Parameters
    ----------
    layer
        Gathers the moments of its states.
    """

    states_per_slot = 1

    @abstractmethod
    def surgery(self, plan: Plan, slots: int, evidence: Evidence) -> tuple[int, Surgery]:
        """Return how many slots the layer will have, and how it gets there."""

    def check(self, evidence: Evidence) -> None:
        """Raise `ReductionError` if the layer or what it saw is not finite."""
        check_finite(activations=evidence.inputs, **dict(self.layer.named_parameters()))

    def system(self) -> StateSpace:
        """Raise `UnsupportedError`: the layer's map changes with its input."""
        msg = (
            f"{type(self.layer).__name__} is selective: it has no system whose white-noise Gramians or modes could be "
            "weighed; balance by 'activations' or 'adjoints'"
        )
        raise UnsupportedError(msg)

    @torch.no_grad()
    def output_moments(self, evidence: Evidence) -> np.ndarray:
        r"""Return $E[C_t C_t^T]$: what an error of the states does at once."""
        C, _, real = self.output_maps(evidence)
        rows = C[real].double()
        return (torch.einsum("t...n,t...m->...nm", rows, rows) / len(rows)).cpu().numpy()

    def output_maps(self, evidence: Evidence) -> tuple[Tensor, Tensor, Tensor]:
        """Return C of every step, the inputs with their real steps first, and which steps are real."""
        lengths = evidence.lengths
        x, _ = right_padded(evidence.inputs, lengths, evidence.options.get("padding", "right"))
        real = x.new_ones(x.shape[:2], dtype=torch.bool) if lengths is None else real_steps(lengths, x.shape[1])
        return cast("Any", self.layer).output_maps(x, lengths), x, real

    def propose(self, plan: Plan, slots: int, evidence: Evidence) -> Proposal:
        """Work out the surgery, and measure on every fourth sequence."""
        seen, probe = evidence.split()
        slots, surgery = self.surgery(plan, slots, seen)
        return Proposal(slots, surgery, Certificate(output_error(self, surgery, probe)))
