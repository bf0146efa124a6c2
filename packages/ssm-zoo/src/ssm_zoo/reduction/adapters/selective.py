"""What the adapters of selective layers, Mamba and Mamba-2, have in common."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch
from torch import nn

from ..._errors import ReductionError, UnsupportedError
from ...layers import gather_moments
from ...layers.padding import right_padded
from ...scan.lengths import real_steps
from ..certificate import Certificate
from ..proposal import Proposal
from .diagonal import output_error
from .protocol import Adapter

if TYPE_CHECKING:
    from torch import Tensor

    from ssm_gramians import StateSpace

    from ...layers import Surgery
    from ..evidence import Evidence
    from ..proposal import Plan


class SelectiveAdapter(Adapter):
    """See `Adapter`.

    Parameters
    ----------
    layer
        Gathers the moments of its states.
    """

    states_per_slot = 1

    def __init__(self, layer: nn.Module) -> None:
        self.layer = layer

    @abstractmethod
    def surgery(self, plan: Plan, slots: int, evidence: Evidence) -> tuple[int, Surgery]:
        """Return how many slots the layer will have, and how it gets there."""

    def check(self, evidence: Evidence) -> None:
        """Raise `ReductionError` if the layer or what it saw is not finite."""
        seen: dict[str, Tensor] = {"activations": evidence.inputs, **dict(self.layer.named_parameters())}
        for name, value in seen.items():
            if not bool(value.isfinite().all()):
                msg = f"the layer has NaN or infinity in its {name}; want finite values: has the training diverged?"
                raise ReductionError(msg)

    def system(self) -> StateSpace:
        """Raise `UnsupportedError`: the layer's map changes with its input."""
        msg = (
            f"{type(self.layer).__name__} is selective: it has no system whose white-noise Gramians or modes could be "
            "weighed; balance by 'activations' or 'adjoints'"
        )
        raise UnsupportedError(msg)

    def state_moments(self, evidence: Evidence) -> np.ndarray:
        r"""Return $E[h h^T]$ over the batch, time and whatever shares its B and C."""
        return self._gathered(evidence)[0]

    def adjoint_moments(self, evidence: Evidence) -> np.ndarray:
        r"""Return $E[a a^T]$ over the same."""
        if evidence.gradients is None:
            msg = "the layer has seen no gradients; want loss.backward() between the forward pass and reducer.step()"
            raise ReductionError(msg)
        return self._gathered(evidence)[1]

    @torch.no_grad()
    def output_moments(self, evidence: Evidence) -> np.ndarray:
        r"""Return $E[C_t C_t^T]$: what an error of the states does at once."""
        C, _, real = self.output_maps(evidence)
        rows = C[real].double()
        return (torch.einsum("t...n,t...m->...nm", rows, rows) / len(rows)).cpu().numpy()

    def output_maps(self, evidence: Evidence) -> tuple[Tensor, Tensor, Tensor]:
        """Return C of every step, the inputs with their real steps first, and which steps are real."""
        lengths = evidence.lengths
        x, _ = right_padded(evidence.inputs, lengths, dict(evidence.options).get("padding", "right"))
        real = x.new_ones(x.shape[:2], dtype=torch.bool) if lengths is None else real_steps(lengths, x.shape[1])
        return cast("Any", self.layer).output_maps(x, lengths), x, real

    def propose(self, plan: Plan, slots: int, evidence: Evidence) -> Proposal:
        """Work out the surgery, and measure on every fourth sequence."""
        seen, probe = evidence.split()
        slots, surgery = self.surgery(plan, slots, seen)
        return Proposal(slots, surgery, Certificate(output_error(self, surgery, probe)))

    def outputs(self, evidence: Evidence) -> Tensor:
        """Return the layer's outputs."""
        return self.layer(evidence.inputs, **dict(evidence.options))

    def _gathered(self, evidence: Evidence) -> tuple[np.ndarray, np.ndarray]:
        """Run the layer once more, forward and with the gradients backward, and return both moments."""
        with torch.enable_grad(), gather_moments(self.layer) as gathered:
            y = self.outputs(evidence)
            (moments,) = gathered.values()
            if evidence.gradients is None:
                return moments.states().cpu().numpy(), np.zeros(0)
            torch.autograd.backward(y, evidence.gradients.to(y), inputs=[moments.tap])
        return moments.states().cpu().numpy(), moments.adjoints().cpu().numpy()
