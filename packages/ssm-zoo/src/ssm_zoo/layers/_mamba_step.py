"""One step of Mamba in one compiled kernel, for single precision on the CPU where no gradients are wanted."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from ._mamba2_step import LayerStepper, addresses
from ._mamba_kernel import step_at
from ._mamba_state import MambaState

if TYPE_CHECKING:
    from .mamba import Mamba

__all__ = ["FusedStep", "addresses"]

_MOST = 16  # sequences; above, the products are worth a library
_NAMES = ("in_proj.weight", "in_proj.bias", "out_proj.weight", "out_proj.bias", "conv1d.weight", "conv1d.bias")
_OTHERS = ("x_proj.weight", "dt_proj.weight", "dt_proj.bias", "A_log", "D")


class FusedStep:
    """A layer's step, reading the parameters where they lie: whatever changes them in place is seen.

    Parameters
    ----------
    layer
        In single precision on the CPU, its parameters contiguous.
    """

    kernel = staticmethod(step_at)

    @staticmethod
    def suits(layer: Mamba) -> bool:
        """Say whether the layer is of that kind."""
        return all(p.dtype is torch.float32 and p.is_cpu and p.is_contiguous() for p in layer.parameters())

    def __init__(self, layer: Mamba) -> None:
        self.addresses = addresses(layer)
        self._held = {name: value.detach() for name, value in layer.named_parameters()}  # keeps memory alive
        pointers = [self._held[n].data_ptr() if n in self._held else 0 for n in _NAMES + _OTHERS]
        sizes = layer.d_model, layer.d_inner, layer.d_state, layer.dt_rank, layer.d_conv
        scratch = [2 * layer.d_inner, layer.d_inner, layer.dt_rank + 2 * layer.d_state, layer.d_inner]
        self._rest = np.array(pointers, dtype=np.intp), tuple(np.zeros(n, dtype=np.float32) for n in scratch), sizes
        self._shapes = (layer.d_model,), (layer.d_inner, layer.d_conv - 1), (layer.d_inner, layer.d_state)

    def __reduce__(self) -> tuple[type[None], tuple[()]]:
        """Become nothing in a copy or a file: addresses are of no use there."""
        return type(None), ()

    def fits(self, x_t: Tensor, state: MambaState) -> bool:
        """Say whether the kernel can take these; if not, the ordinary way works, or says what is wrong."""
        conv, ssm = state
        batch = len(x_t) if x_t.ndim else 0
        of_x, of_conv, of_ssm = self._shapes
        return (
            1 <= batch <= _MOST
            and x_t.shape == (batch, *of_x)
            and conv.shape == (batch, *of_conv)
            and ssm.shape == (batch, *of_ssm)
            and all(t.dtype is torch.float32 and t.is_cpu and t.is_contiguous() for t in (x_t, conv, ssm))
        )

    def __call__(self, x_t: Tensor, state: MambaState) -> tuple[Tensor, MambaState]:
        """Return the outputs and the state after the step."""
        conv, ssm = state
        y, new_conv, new_ssm = torch.empty_like(x_t), torch.empty_like(conv), torch.empty_like(ssm)
        places = tuple(t.data_ptr() for t in (x_t, conv, ssm, y, new_conv, new_ssm))
        step_at(x_t.shape[0], places, *self._rest)
        return y, MambaState(new_conv, new_ssm)

    def stepper(self, start: MambaState) -> LayerStepper:
        """Return this step on memory of its own."""
        return LayerStepper(self, start)
