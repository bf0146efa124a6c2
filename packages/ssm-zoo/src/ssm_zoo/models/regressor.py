"""Sequence regressors: a sequence in, a sequence or one vector out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from torch import Tensor, nn

from .._errors import require
from .config import StackConfig
from .readout import PooledModel


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


class SequenceRegressor(PooledModel):
    """outputs = head(blocks(encoder(inputs))), (batch, length, d_output), or of the mean over time (batch, d_output).

    Parameters
    ----------
    config
        The architecture; `model.config` tells it back with the state sizes of this moment.
    """

    CONFIG = RegressorConfig

    def __init__(self, config: RegressorConfig) -> None:
        super().__init__(config, nn.Linear(config.d_input, config.d_model), config.d_output)

    def _read(self, x: Tensor, mean: Tensor) -> Tensor:
        return x if self._config.readout == "every" else mean
