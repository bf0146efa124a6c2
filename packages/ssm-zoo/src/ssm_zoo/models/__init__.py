"""Models made of state-space blocks, and what trains, saves and samples them."""

from .blocks import Block, PlainBlock, Stack
from .classifier import ClassifierConfig, SequenceClassifier
from .config import LAYERS, StackConfig
from .language_model import LanguageModel, LanguageModelConfig
from .param_groups import decay_parameter_names, param_groups
from .readout import PooledState
from .regressor import RegressorConfig, SequenceRegressor

__all__ = [
    "LAYERS",
    "Block",
    "ClassifierConfig",
    "LanguageModel",
    "LanguageModelConfig",
    "PlainBlock",
    "PooledState",
    "RegressorConfig",
    "SequenceClassifier",
    "SequenceRegressor",
    "Stack",
    "StackConfig",
    "decay_parameter_names",
    "param_groups",
]
