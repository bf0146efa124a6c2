"""Sequence classifiers made of state-space blocks, each block with a state size of its own.

Glossary
--------
d_input    features of the sequence at each step
d_model    features between the blocks (H in the papers)
d_state    size of a layer's state (N in the papers); one number per block
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from .._errors import require
from .config import StackConfig
from .readout import PooledModel


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


class SequenceClassifier(PooledModel):
    """logits = head(mean over time of the blocks applied to encoder(inputs)).

    Parameters
    ----------
    config
        The architecture. `model.config` tells it back with the state sizes of this moment, so that a model whose layers
        were reduced saves and loads like any other.
    """

    CONFIG = ClassifierConfig

    def __init__(self, config: ClassifierConfig) -> None:
        encoder = nn.Embedding if config.tokens else nn.Linear
        super().__init__(config, encoder(config.d_input, config.d_model), config.n_classes)

    def _read(self, x: Tensor, mean: Tensor) -> Tensor:
        del x
        return mean
