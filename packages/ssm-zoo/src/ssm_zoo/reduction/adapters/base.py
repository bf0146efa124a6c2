"""What the adapters of layers have in common: the layer itself is run once more, or a copy of it."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn

from ..._errors import ReductionError
from ...layers import gather_moments
from ..surgery import operate
from .protocol import Adapter

if TYPE_CHECKING:
    from torch import Tensor

    from ...layers import Surgery
    from ..evidence import Evidence


class LayerAdapter(Adapter):
    """See `Adapter`.

    Parameters
    ----------
    layer
        Gathers the moments of its states.
    """

    def __init__(self, layer: nn.Module) -> None:
        self.layer = layer

    def state_moments(self, evidence: Evidence) -> np.ndarray:
        r"""Return $E[\xi \xi^T]$ over the batch, time and whatever shares its maps."""
        return self._gathered(evidence)[0]

    def adjoint_moments(self, evidence: Evidence) -> np.ndarray:
        r"""Return $E[a a^T]$ over the same."""
        if evidence.gradients is None:
            msg = "the layer has seen no gradients; want loss.backward() between the forward pass and reducer.step()"
            raise ReductionError(msg)
        return self._gathered(evidence)[1]

    def outputs(self, evidence: Evidence) -> Tensor:
        """Return the layer's outputs."""
        return self.layer(evidence.inputs, **evidence.options)

    def _gathered(self, evidence: Evidence) -> tuple[np.ndarray, np.ndarray]:
        """Run the layer once more, forward and with the gradients backward, and return both moments."""
        with torch.enable_grad(), gather_moments(self.layer) as gathered:
            y = self.outputs(evidence)
            (moments,) = gathered.values()
            if evidence.gradients is None:
                return moments.states().cpu().numpy(), np.zeros(0)
            torch.autograd.backward(y, evidence.gradients.to(y), inputs=[moments.tap])
        return moments.states().cpu().numpy(), moments.adjoints().cpu().numpy()


def check_finite(**seen: np.ndarray | Tensor) -> None:
    """Raise `ReductionError` if one of them is not finite."""
    for name, value in seen.items():
        if not bool(torch.as_tensor(value).isfinite().all()):
            msg = f"the layer has NaN or infinity in its {name}; want finite values: has the training diverged?"
            raise ReductionError(msg)


def copied(adapter: Adapter) -> Adapter:
    """Return an adapter of a copy of the layer."""
    twin = copy.copy(adapter)
    twin.layer = copy.deepcopy(adapter.layer)
    return twin


def output_error(adapter: Adapter, surgery: Surgery, probe: Evidence) -> float:
    """Return the root-mean-square change of the layer's outputs on the probe, relative to the outputs."""
    twin = copied(adapter)
    operate([(twin.layer, surgery)], None)
    with torch.no_grad():
        before, after = adapter.outputs(probe), twin.outputs(probe)
    return float((after - before).double().norm() / before.double().norm())
