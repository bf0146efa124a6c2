"""Sequence regressors: a sequence in, a sequence or one vector out."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

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
class RegressorConfig(StackConfig):
    """The architecture of a `SequenceRegressor`, complete.

    Parameters
    ----------
    d_input, d_output
        Features of each step of the input; of the output.
    readout
        ``"every"``: an output for every step, from it and the steps before; ``"mean"``: one for the sequence.
    layer, d_model, d_state, n_layers, dropout, norm, norm_eps, bidirectional, residual_in_fp32, options
        See `StackConfig`.

    Raises
    ------
    OptionError
        If a value is outside its range.
    """

    d_input: int
    d_output: int
    readout: Literal["every", "mean"] = "every"
    norm: Literal["batch", "layer", "rms"] = "layer"
    dropout: float = 0.0

    def __post_init__(self) -> None:
        StackConfig.__post_init__(self)
        for name in ("d_input", "d_output"):
            require(getattr(self, name) >= 1, f"got {name}={getattr(self, name)}, wanted at least 1")
        require(self.readout in ("every", "mean"), f"got readout={self.readout!r}, wanted 'every' or 'mean'")


class SequenceRegressor(nn.Module):
    """outputs = head(blocks(encoder(inputs))), of every step or of their mean.

    Parameters
    ----------
    config
        The architecture; `model.config` tells it back with the state sizes of this moment.
    """

    def __init__(self, config: RegressorConfig) -> None:
        super().__init__()
        self._config = config
        self.encoder = nn.Linear(config.d_input, config.d_model)
        self.blocks = Stack(config)
        self.head = nn.Linear(config.d_model, config.d_output)

    @property
    def config(self) -> RegressorConfig:
        """The architecture as it is now: layers and state sizes are read from the blocks."""
        return replace(self._config, **sizes_of(self.blocks, self._config.options))

    def forward(
        self,
        inputs: Float[Tensor, "batch length d_input"],
        lengths: Int[Tensor, " batch"] | None = None,
        state: PooledState | None = None,
        return_state: bool = False,
    ) -> Any:
        """Return the outputs, and the state after the last step too if `return_state`.

        Parameters
        ----------
        inputs
            (batch, length, d_input).
        lengths
            Steps of each sequence that are real, the rest being padding at its end; the outputs there mean nothing.
        state, return_state
            See `SequenceClassifier.forward`.

        Returns
        -------
        tensor
            (batch, length, d_output), or (batch, d_output) if the readout is the mean.

        Raises
        ------
        ShapeError
            If the shapes are not the ones above.
        """
        check_inputs(inputs, self._config.d_input)
        x = self.encoder(without_padding(inputs, lengths))
        x, layers = self.blocks(x, state and state.layers, lengths, return_state)
        total, count = pool(x, lengths, state)
        outputs = self.head(x if self._config.readout == "every" else total / count[:, None])
        return (outputs, PooledState(layers, total, count)) if return_state else outputs

    def step(
        self, inputs_t: Float[Tensor, "batch d_input"], state: PooledState
    ) -> tuple[Float[Tensor, "batch d_output"], PooledState]:
        """Return the outputs after one step more, and the state after it."""
        x, layers = self.blocks.step(self.encoder(inputs_t), state.layers)
        total, count = state.total + x, state.steps + 1
        outputs = self.head(x if self._config.readout == "every" else total / count[:, None])
        return outputs, PooledState(layers, total, count)

    def init_state(self, batch: int) -> PooledState:
        """Return the state before the first step."""
        total = self.encoder.weight.new_zeros(batch, self._config.d_model)
        return PooledState(self.blocks.init_state(batch), total, total.new_zeros(batch).long())

    def save_pretrained(self, folder: str | Path) -> Path:
        """Write ``model.safetensors`` and ``config.json`` into `folder`, made if need be; return the folder."""
        return save_model(self, folder)

    @classmethod
    def from_pretrained(cls, folder: str | Path) -> SequenceRegressor:
        """Return the model that `save_pretrained` wrote, in evaluation mode. Nothing in the folder is executed.

        Raises
        ------
        RunError, OptionError
            See `SequenceClassifier.from_pretrained`.
        """
        return load_model(cls, RegressorConfig, folder)
