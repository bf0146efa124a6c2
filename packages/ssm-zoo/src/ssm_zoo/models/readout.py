"""From features of every step to features of the whole sequence, and what is asked of the sequences on the way in."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor, nn

from .._errors import ShapeError
from ..scan.lengths import blank, check_lengths
from .blocks import Stack
from .pretrained import Pretrained

if TYPE_CHECKING:
    from jaxtyping import Float, Int

    from .config import StackConfig


class PooledState(NamedTuple):
    """Where a pooled model is in its sequences: the layers' states, the sum over the steps so far, their number."""

    layers: tuple[Any, ...]
    total: Float[Tensor, "batch d_model"]
    steps: Int[Tensor, " batch"]


class PooledModel(Pretrained):
    """head(blocks(encoder(inputs))), of the mean over the steps or of each: what classifiers and regressors share.

    Parameters
    ----------
    config
        Also has `d_input`.
    encoder
        From inputs to features.
    outputs
        How many the head has.
    """

    def __init__(self, config: StackConfig, encoder: nn.Module, outputs: int) -> None:
        super().__init__(config)
        self.encoder = encoder
        self.blocks = Stack(config)
        self.head = nn.Linear(config.d_model, outputs)

    @abstractmethod
    def _read(self, x: Tensor, mean: Tensor) -> Tensor:
        """Return which features the head reads: those of the steps (batch, ..., d_model), or their mean so far."""

    def forward(
        self,
        inputs: Float[Tensor, "batch length d_input"] | Int[Tensor, "batch length"],
        lengths: Int[Tensor, " batch"] | None = None,
        state: PooledState | None = None,
        return_state: bool = False,
    ) -> Any:
        """Return what the head makes of the sequences, and the state after the last step too if `return_state`.

        Parameters
        ----------
        inputs
            (batch, length, d_input), or tokens (batch, length).
        lengths
            Steps of each sequence that are real, the rest being padding at its end, which changes nothing, and where
            outputs mean nothing. All by default.
        state
            What the call before returned, if these sequences go on: a mean is over all that was seen.
        return_state
            Return the state too.

        Raises
        ------
        ShapeError
            If the shapes are not the ones above.
        """
        check_inputs(inputs, self._config.d_input, tokens=isinstance(self.encoder, nn.Embedding))
        x = self.encoder(without_padding(inputs, lengths))
        x, layers = self.blocks(x, state and state.layers, lengths, return_state)
        total, count = pool(x, lengths, state)
        outputs = self.head(self._read(x, total / count[:, None]))
        return (outputs, PooledState(layers, total, count)) if return_state else outputs

    def step(
        self, inputs_t: Float[Tensor, "batch d_input"], state: PooledState
    ) -> tuple[Float[Tensor, "batch outputs"], PooledState]:
        """Return the outputs after one step more, and the state after it."""
        x, layers = self.blocks.step(self.encoder(inputs_t), state.layers)
        total, count = state.total + x, state.steps + 1
        return self.head(self._read(x, total / count[:, None])), PooledState(layers, total, count)

    def init_state(self, batch: int) -> PooledState:
        """Return the state before the first step."""
        total = self.head.weight.new_zeros(batch, self._config.d_model)
        return PooledState(self.blocks.init_state(batch), total, total.new_zeros(batch, dtype=torch.int64))


def pool(
    x: Float[Tensor, "batch length d_model"], lengths: Int[Tensor, " batch"] | None, before: PooledState | None
) -> tuple[Float[Tensor, "batch d_model"], Int[Tensor, " batch"]]:
    """Return the sum over all real steps so far, and their number."""
    if lengths is None:
        total, count = x.sum(dim=1), torch.full((len(x),), x.shape[1], device=x.device)
    else:
        total, count = blank(x, lengths).sum(dim=1), lengths
    return (total, count) if before is None else (before.total + total, before.steps + count)


def check_inputs(inputs: Tensor, d_input: int, *, tokens: bool = False) -> None:
    """Raise unless the inputs are sequences of `d_input` features, or of tokens."""
    if tokens:
        integers = inputs.dtype in (torch.int32, torch.int64)
        if inputs.ndim != 2 or not integers:
            message = f"got inputs of shape {tuple(inputs.shape)} and {inputs.dtype}, wanted (batch, length) of int64"
            raise ShapeError(message)
        return
    if inputs.ndim != 3 or inputs.shape[-1] != d_input:
        message = f"got inputs of shape {tuple(inputs.shape)}, wanted (batch, length, d_input={d_input})"
        raise ShapeError(message)


def without_padding(inputs: Tensor, lengths: Tensor | None) -> Tensor:
    """Return the inputs with zeros in place of the padding, so that nothing there, not even NaN, reaches a gradient.

    Raises
    ------
    ShapeError, DtypeError
        If the lengths do not fit the inputs, or a sequence has no step.
    """
    if lengths is None:
        return inputs
    batch, length = inputs.shape[:2]
    fits = lengths.shape == (batch,) and lengths.device.type == "cpu" and not torch.compiler.is_compiling()
    if fits and not bool(((lengths >= 1) & (lengths <= length)).all()):
        message = f"got lengths {lengths.tolist()}, wanted {batch} numbers from 1 to {length}"
        raise ShapeError(message)
    check_lengths(lengths, batch, length)
    return blank(inputs, lengths)
