"""What the selective layers share: projections around a convolution and a scan, and a state with a window."""

from __future__ import annotations

import math
from abc import abstractmethod
from typing import Any

import torch
from torch import Tensor, nn

from .._errors import ShapeError, require
from ..scan import Implementation, causal_conv
from ..scan._operation import installed
from ..scan.lengths import blank
from ._mamba_state import MambaState
from .layer import Layer


class SelectiveLayer(Layer):
    """A layer whose recurrence is chosen by the sequence itself. The state_dict is that of mamba_ssm."""

    scan: Implementation
    in_proj: nn.Linear
    conv1d: nn.Conv1d
    out_proj: nn.Linear
    A_log: nn.Parameter

    def _dtype(self) -> torch.dtype:
        return self.in_proj.weight.dtype

    def _start(self, state: MambaState | None, batch: int) -> MambaState:
        """Return the state to start from; raise if it does not fit."""
        wanted = self.init_state(batch)
        if state is None:
            return wanted
        for name, got, like in zip(MambaState._fields, state, wanted, strict=True):
            msg = f"state.{name} must be {tuple(like.shape)} for {batch} sequences, got {tuple(got.shape)}"
            require(got.shape == like.shape, msg, ShapeError)
        return MambaState(*(got.to(like.dtype) for got, like in zip(state, wanted, strict=True)))

    def _window(self, batch: int) -> Tensor:
        """Return the window of the convolution before the first step."""
        dtype = torch.promote_types(self.A_log.dtype, torch.float32)
        return self.A_log.new_zeros(batch, self.conv1d.out_channels, self.conv1d.kernel_size[0] - 1, dtype=dtype)

    def _filter(self, u: Tensor, window: Tensor, lengths: Tensor | None) -> tuple[Tensor, Tensor]:
        """Return the filtered u and the window after it."""
        weight, bias = single(self.conv1d.weight).squeeze(1), self.conv1d.bias
        plain = self.scan if self.scan in ("reference", "torch") else "auto"
        bias = None if bias is None else single(bias)
        u, window = causal_conv(u, weight, bias, window.mT, lengths=lengths, implementation=plain)
        return u, window.mT

    def _project(self, y: Tensor, lengths: Tensor | None) -> Tensor:
        """Return the outputs of the layer, zero behind the real steps."""
        y = self.out_proj(y.to(self.out_proj.weight.dtype))
        return y if lengths is None or self.out_proj.bias is None else blank(y, lengths)

    @abstractmethod
    def _kernel(self) -> Any:
        """Return the class of the kernel of `step`, which is imported no earlier."""

    def _fuse(self) -> Any:
        if self.scan not in ("auto", "numba") or not installed("numba"):
            return None
        kernel = self._kernel()
        return kernel(self) if kernel.suits(self) else None


def single(parameter: Tensor) -> Tensor:
    """Return a parameter in single precision at least."""
    return parameter.to(torch.promote_types(parameter.dtype, torch.float32))


def kept(value: Tensor, dtype: torch.dtype | None) -> nn.Parameter:
    """Return a parameter that no weight decay should touch."""
    parameter = nn.Parameter(value.to(dtype))
    parameter._no_weight_decay = True  # type: ignore[attr-defined]
    return parameter


def raw_steps(count: int, low: float, high: float, floor: float, device: torch.device | str | None) -> Tensor:
    """Return what softplus makes step sizes of that are uniform in their logarithm and at least `floor`.

    Raises
    ------
    OptionError
        Unless 0 < low <= high.
    """
    require(0 < low <= high, f"got dt_min={low} and dt_max={high}, wanted 0 < dt_min <= dt_max")
    dt = torch.exp(math.log(low) + math.log(high / low) * torch.rand(count, device=device)).clamp_min(floor)
    return dt + (-torch.expm1(-dt)).log()
