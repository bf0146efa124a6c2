"""One step of Mamba-2 in one compiled kernel, for single precision on the CPU where no gradients are wanted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from .._errors import DtypeError, ShapeError, require
from ._mamba2_kernel import step_at
from ._mamba_state import MambaState

if TYPE_CHECKING:
    from jaxtyping import Float

    from .mamba2 import Mamba2

_MOST = 16  # sequences; above, the products are worth a library
_NAMES = ("in_proj.weight", "in_proj.bias", "out_proj.weight", "out_proj.bias", "conv1d.weight", "conv1d.bias")
_OTHERS = ("dt_bias", "A_log", "D", "norm.weight", "mix_B", "mix_C")


class FusedStep:
    """A layer's step, reading the parameters where they lie: whatever changes them in place is seen.

    Parameters
    ----------
    layer
        In single precision on the CPU, its parameters contiguous.
    """

    kernel = staticmethod(step_at)

    @staticmethod
    def suits(layer: Mamba2) -> bool:
        """Say whether the layer is of that kind."""
        return all(p.dtype is torch.float32 and p.is_cpu and p.is_contiguous() for p in layer.parameters())

    def __init__(self, layer: Mamba2) -> None:
        self.addresses = addresses(layer)
        self._held = {name: value.detach() for name, value in layer.named_parameters()}  # keeps memory alive
        pointers = [self._held[n].data_ptr() if n in self._held else 0 for n in _NAMES + _OTHERS]
        self._parameters = np.array(pointers, dtype=np.intp)
        channels = layer.conv1d.out_channels
        sizes = layer.d_model, layer.nheads, layer.headdim, layer.ngroups, layer.d_state, layer.d_conv, layer._rows
        norm = getattr(layer, "norm", None)
        mixed = 0 if layer.mix_B is None else 2 * layer.ngroups * layer.d_state
        counts = layer.d_inner + channels + layer.nheads, channels, layer.d_inner, mixed
        lines = [-(-n // 16) * 16 for n in counts]
        self._scratch = tuple(np.zeros(n, dtype=np.float32) for n in lines)
        low, high = layer.dt_limit
        limits = float(low), float(high), 1.0 if norm is None else norm.eps
        options = layer.D_has_hdim, norm is not None, norm is not None and norm.norm_before_gate
        self._rest = self._parameters, self._scratch, sizes, limits, options
        self._shapes = (layer.d_model,), (channels, layer.d_conv - 1), (layer.nheads, layer.headdim, layer.d_state)

    def __reduce__(self) -> tuple[type[None], tuple[()]]:
        """Become nothing in a copy or a file: addresses are of no use there."""
        return type(None), ()

    def fits(self, x_t: Tensor, state: MambaState) -> bool:
        """Say whether the kernel can take these; if not, the ordinary way works, or says what is wrong."""
        conv, ssm = state
        batch = len(x_t) if x_t.ndim else 0
        float32, (of_x, of_conv, of_ssm) = torch.float32, self._shapes
        return (
            1 <= batch <= _MOST
            and x_t.shape == (batch, *of_x)
            and conv.shape == (batch, *of_conv)
            and ssm.shape == (batch, *of_ssm)
            and x_t.dtype is conv.dtype is ssm.dtype is float32
            and x_t.is_cpu
            and conv.is_cpu
            and ssm.is_cpu
            and x_t.is_contiguous()
            and conv.is_contiguous()
            and ssm.is_contiguous()
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


class LayerStepper:
    """The step of a frozen layer, in memory that is used again.

    Parameters
    ----------
    step
        Of a copy that nobody else changes.
    start
        The state to start from, and to return to.
    """

    def __init__(self, step: Any, start: MambaState) -> None:
        self._step = step  # the kernel reads its memory
        arrays = [[t.contiguous().numpy().copy() for t in start] for _ in range(2)]
        self._start, self._state = (MambaState(*part) for part in arrays)  # type: ignore[arg-type]
        batch, (d_model,) = len(self._start.conv), step._shapes[0]
        self._x, self._y = (np.empty((batch, d_model), dtype=np.float32) for _ in range(2))
        conv, ssm = (part.ctypes.data for part in arrays[1])
        places = self._x.ctypes.data, conv, ssm, self._y.ctypes.data, conv, ssm
        self._kernel, self._arguments = step.kernel, (batch, places, *step._rest)

    @property
    def state(self) -> MambaState:
        """Return the state as NumPy arrays; the next step overwrites them."""
        return self._state

    @state.setter
    def state(self, state: Any) -> None:
        for part, value in zip(self._state, state, strict=True):
            got, wanted = np.shape(value), part.shape
            require(got == wanted, f"got a state of shape {got}, wanted {wanted}", ShapeError)
        for part, value in zip(self._state, state, strict=True):
            part[:] = value

    def step(self, x_t: Float[np.ndarray, "batch d_model"]) -> Float[np.ndarray, "batch d_model"]:
        """Return the outputs of one step, in memory that the next step overwrites, and move the state on."""
        x = self._x
        if x_t.shape != x.shape or x_t.dtype != x.dtype:
            require(x_t.shape == x.shape, f"got x_t of shape {x_t.shape}, wanted {x.shape}", ShapeError)
            require(x_t.dtype == x.dtype, f"got x_t of {x_t.dtype}, wanted {x.dtype}", DtypeError)
        x[:] = x_t
        self._kernel(*self._arguments)
        return self._y

    def reset(self) -> None:
        """Put the state back to where it started."""
        self.state = self._start


def addresses(layer: torch.nn.Module) -> list[int]:
    """Return where the parameters lie: other addresses are other parameters, since a `FusedStep` holds its own."""
    found = []
    for module in (layer, *layer._modules.values()):  # `parameters()` takes longer than the step
        found += [p.data_ptr() for p in module._parameters.values() if p is not None]  # type: ignore[union-attr]
    return found
