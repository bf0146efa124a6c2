"""The residual blocks around state-space layers, and a stack of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from ..scan.glu import residual_glu
from ..scan.lengths import real_steps
from .config import PLAIN
from .dropout import Dropout

if TYPE_CHECKING:
    from jaxtyping import Float, Int
    from torch import Tensor

    from ..scan.noise import Noise
    from .config import StackConfig

    States = tuple[Any, ...]


class Block(nn.Module):
    """x + dropout(GLU(dropout(GELU(layer(norm(x)))))): the block of the LRU paper.

    Parameters
    ----------
    layer
        A state-space layer that maps (batch, length, d_model) to the same shape.
    d_model
        Features in and out.
    dropout
        Probability of dropping a feature.
    norm
        ``"batch"``, ``"layer"`` or ``"rms"``.
    norm_eps
        What RMS normalisation adds to the mean square.

    References
    ----------
    A. Orvieto et al., Resurrecting recurrent neural networks for long sequences, ICML 2023.
    """

    def __init__(
        self, layer: nn.Module, d_model: int, dropout: float = 0.1, norm: str = "batch", norm_eps: float = 1e-5
    ) -> None:
        super().__init__()
        self.norm = _norm(norm, d_model, norm_eps)
        self.layer: Any = layer
        self.gate = GatedLinear(d_model, 2 * d_model)
        self.dropout = Dropout(dropout)

    def forward(
        self,
        x: Float[Tensor, "batch length d_model"],
        state: Any = None,
        lengths: Int[Tensor, " batch"] | None = None,
        return_state: bool = False,
    ) -> Any:
        """Return the block's output, and the layer's last state too if `return_state`."""
        y, last = _mix(self.layer, _normalise(self.norm, x, lengths), state, lengths, return_state)
        y = self.gate(x, y, self.dropout.noise(2, y))
        return (y, last) if return_state else y

    def step(self, x_t: Float[Tensor, "batch d_model"], state: Any) -> tuple[Float[Tensor, "batch d_model"], Any]:
        """Return the output of one step and the state after it."""
        y, state = self.layer.step(_normalise(self.norm, x_t[:, None])[:, 0], state)
        return self.gate(x_t, y, self.dropout.noise(2, y)), state


class GatedLinear(nn.Linear):
    """x + GLU(GELU(h)): `residual_glu` with its parameters."""

    def forward(  # type: ignore[override]
        self, x: Float[Tensor, "*batch d"], h: Float[Tensor, "*batch d"], noise: Noise | None = None
    ) -> Float[Tensor, "*batch d"]:
        """Return x plus the gated map of h, with two dropouts if there is noise."""
        return residual_glu(x, h, self.weight, self.bias, noise)


class PlainBlock(nn.Module):
    """x + dropout(layer(norm(x))): the block of the Mamba papers, for layers that have gates of their own.

    Parameters
    ----------
    layer, d_model, dropout, norm_eps
        See `Block`; the norm is RMS.
    residual_in_fp32
        Return single precision though the parameters are in half.
    """

    def __init__(
        self,
        layer: nn.Module,
        d_model: int,
        dropout: float = 0.0,
        norm_eps: float = 1e-5,
        residual_in_fp32: bool = True,
    ) -> None:
        super().__init__()
        self.norm = nn.RMSNorm(d_model, eps=norm_eps)
        self.layer: Any = layer
        self.dropout = Dropout(dropout)
        self.residual_in_fp32 = residual_in_fp32

    def forward(
        self,
        x: Float[Tensor, "batch length d_model"],
        state: Any = None,
        lengths: Int[Tensor, " batch"] | None = None,
        return_state: bool = False,
    ) -> Any:
        """Return the block's output, and the layer's last state too if `return_state`."""
        y, last = _mix(self.layer, _normalise(self.norm, x), state, lengths, return_state)
        y = self._residual(x) + self.dropout(y)
        return (y, last) if return_state else y

    def step(self, x_t: Float[Tensor, "batch d_model"], state: Any) -> tuple[Float[Tensor, "batch d_model"], Any]:
        """Return the output of one step and the state after it."""
        y, state = self.layer.step(_normalise(self.norm, x_t), state)
        return self._residual(x_t) + self.dropout(y), state

    def _residual(self, x: Float[Tensor, "*batch d_model"]) -> Float[Tensor, "*batch d_model"]:
        half = x.dtype in (torch.float16, torch.bfloat16)
        return x.float() if half and self.residual_in_fp32 else x


class Stack(nn.ModuleList):
    """The blocks one after the other, with the states of their layers side by side.

    Parameters
    ----------
    config
        The blocks.
    """

    def __init__(self, config: StackConfig) -> None:
        super().__init__(_block(config, k, d_state) for k, d_state in enumerate(config.states))

    def forward(
        self,
        x: Float[Tensor, "batch length d_model"],
        state: States | None = None,
        lengths: Int[Tensor, " batch"] | None = None,
        return_state: bool = False,
    ) -> tuple[Float[Tensor, "batch length d_model"], States]:
        """Return the output of the last block, and the last state of each layer if `return_state`, else no states."""
        last = []
        for k, block in enumerate(self):
            out = block(x, None if state is None else state[k], lengths, return_state)
            x, after = out if return_state else (out, None)
            last.append(after)
        return x, tuple(last) if return_state else ()

    def step(self, x_t: Float[Tensor, "batch d_model"], state: States) -> tuple[Float[Tensor, "batch d_model"], States]:
        """Return the output of one step and the states after it."""
        last = []
        for block, before in zip(self, state, strict=True):
            x_t, after = block.step(x_t, before)  # type: ignore[operator]
            last.append(after)
        return x_t, tuple(last)

    def init_state(self, batch: int) -> States:
        """Return the states at rest."""
        return tuple(block.layer.init_state(batch) for block in self)  # type: ignore[union-attr,operator]


def _block(config: StackConfig, k: int, d_state: int) -> nn.Module:
    layer = config.make_layer(d_state, k)
    if config.names[k] in PLAIN:
        return PlainBlock(layer, config.d_model, config.dropout, config.norm_eps, config.residual_in_fp32)
    return Block(layer, config.d_model, config.dropout, config.norm, config.norm_eps)


def _norm(name: str, d_model: int, eps: float) -> nn.Module:
    if name == "batch":
        return nn.BatchNorm1d(d_model, affine=False)
    return nn.LayerNorm(d_model) if name == "layer" else nn.RMSNorm(d_model, eps=eps)


def _mix(layer: Any, x: Tensor, state: Any, lengths: Tensor | None, return_state: bool) -> tuple[Tensor, Any]:
    """Call the layer with what there is: a layer may know no more than x."""
    given = {"state": state, "lengths": lengths, "return_state": return_state or None}
    options = {name: value for name, value in given.items() if value is not None}
    return layer(x, **options) if return_state else (layer(x, **options), None)


def _normalise(norm: nn.Module, x: Tensor, lengths: Tensor | None = None) -> Tensor:
    """Return norm(x) in the precision of its parameters; the statistics of a batch are those of the real steps."""
    if not isinstance(norm, nn.BatchNorm1d):
        return norm(x.to(norm.weight.dtype))  # type: ignore[arg-type]
    if lengths is None:
        return norm(x.flatten(0, 1)).view_as(x)  # half the time of norm(x.mT).mT
    real = real_steps(lengths, x.shape[1])
    return torch.zeros_like(x).masked_scatter(real[..., None], norm(x[real]))
