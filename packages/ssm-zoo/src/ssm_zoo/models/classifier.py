"""Sequence classifiers made of state-space blocks, each block with a state size of its own.

Glossary
--------
d_input    features of the sequence at each step
d_model    features between the blocks (H in the papers)
d_state    size of a layer's state (N in the papers); one number per block
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from .._errors import require
from .blocks import Stack
from .config import StackConfig, sizes_of
from .pretrained import load_model, save_model
from .readout import PooledState, check_inputs, pool, without_padding

if TYPE_CHECKING:
    from pathlib import Path

    from jaxtyping import Float, Int
    from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class ClassifierConfig(StackConfig):
    """The architecture of a `SequenceClassifier`, complete.

    Parameters
    ----------
    d_input, n_classes
        Features of each step of the input; number of classes.
    tokens
        The inputs are numbers below `d_input`, and the encoder looks them up.
    layer, d_model, d_state, n_layers, dropout, norm, norm_eps, bidirectional, residual_in_fp32, options
        See `StackConfig`.

    Raises
    ------
    OptionError
        If a value is outside its range.
    """

    d_input: int
    n_classes: int
    tokens: bool = False

    def __post_init__(self) -> None:
        StackConfig.__post_init__(self)
        for name in ("d_input", "n_classes"):
            require(getattr(self, name) >= 1, f"got {name}={getattr(self, name)}, wanted at least 1")


class SequenceClassifier(nn.Module):
    """logits = head(mean over time of the blocks applied to encoder(inputs)).

    Parameters
    ----------
    config
        The architecture. `model.config` tells it back with the state sizes of this moment, so that a model whose layers
        were reduced saves and loads like any other.
    """

    def __init__(self, config: ClassifierConfig) -> None:
        super().__init__()
        self._config = config
        self.encoder: nn.Module = (nn.Embedding if config.tokens else nn.Linear)(config.d_input, config.d_model)
        self.blocks = Stack(config)
        self.head = nn.Linear(config.d_model, config.n_classes)

    @property
    def config(self) -> ClassifierConfig:
        """The architecture as it is now: layers and state sizes are read from the blocks."""
        return replace(self._config, **sizes_of(self.blocks, self._config.options))

    def forward(
        self,
        inputs: Float[Tensor, "batch length d_input"] | Int[Tensor, "batch length"],
        lengths: Int[Tensor, " batch"] | None = None,
        state: PooledState | None = None,
        return_state: bool = False,
    ) -> Any:
        """Return the logits, and the state after the last step too if `return_state`.

        Parameters
        ----------
        inputs
            (batch, length, d_input), or tokens (batch, length).
        lengths
            Steps of each sequence that are real, the rest being padding at its end, which changes nothing. All by
            default.
        state
            What the call before returned, if these sequences go on: the mean is over all that was seen.
        return_state
            Return the state too.

        Raises
        ------
        ShapeError
            If the shapes are not the ones above.
        """
        check_inputs(inputs, self._config.d_input, tokens=self._config.tokens)
        x = self.encoder(without_padding(inputs, lengths))
        x, layers = self.blocks(x, state and state.layers, lengths, return_state)
        total, count = pool(x, lengths, state)
        logits = self.head(total / count[:, None])
        return (logits, PooledState(layers, total, count)) if return_state else logits

    def step(
        self, inputs_t: Float[Tensor, "batch d_input"], state: PooledState
    ) -> tuple[Float[Tensor, "batch n_classes"], PooledState]:
        """Return the logits of all that was seen, one step more included, and the state after it."""
        x, layers = self.blocks.step(self.encoder(inputs_t), state.layers)
        total, count = state.total + x, state.steps + 1
        return self.head(total / count[:, None]), PooledState(layers, total, count)

    def init_state(self, batch: int) -> PooledState:
        """Return the state before the first step."""
        weight = self.head.weight
        total = weight.new_zeros(batch, self._config.d_model)
        return PooledState(self.blocks.init_state(batch), total, torch.zeros_like(total[:, 0], dtype=torch.int64))

    def save_pretrained(self, folder: str | Path) -> Path:
        """Write ``model.safetensors`` and ``config.json`` into `folder`, made if need be; return the folder."""
        return save_model(self, folder)

    @classmethod
    def from_pretrained(cls, folder: str | Path) -> SequenceClassifier:
        """Return the model that `save_pretrained` wrote, in evaluation mode. Nothing in the folder is executed.

        Raises
        ------
        RunError
            If the folder holds no model.
        OptionError
            If its ``config.json`` has names this version does not know.
        """
        return load_model(cls, ClassifierConfig, folder)
