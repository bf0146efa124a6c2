"""State-space sequence models in PyTorch that shrink their state while they train."""

from ._errors import (
    DataError,
    DtypeError,
    ImplementationNotAvailableError,
    OptionError,
    ReductionError,
    RunError,
    ShapeError,
    UnsupportedError,
    ZooError,
)
from .checkpoints import load_checkpoint, save_checkpoint
from .layers import LRU, S4, S4D, S5, Mamba, Mamba2, MambaState, Reducible, Surgery
from .models import (
    ClassifierConfig,
    LanguageModel,
    LanguageModelConfig,
    RegressorConfig,
    SequenceClassifier,
    SequenceRegressor,
    param_groups,
)
from .reduction import InTrainingReducer
from .scan import causal_conv, diagonal_scan, selective_scan

__version__ = "0.1.0.dev0"

__all__ = [
    "LRU",
    "S4",
    "S4D",
    "S5",
    "ClassifierConfig",
    "DataError",
    "DtypeError",
    "ImplementationNotAvailableError",
    "InTrainingReducer",
    "LanguageModel",
    "LanguageModelConfig",
    "Mamba",
    "Mamba2",
    "MambaState",
    "OptionError",
    "Reducible",
    "ReductionError",
    "RegressorConfig",
    "RunError",
    "SequenceClassifier",
    "SequenceRegressor",
    "ShapeError",
    "Surgery",
    "UnsupportedError",
    "ZooError",
    "causal_conv",
    "diagonal_scan",
    "load_checkpoint",
    "param_groups",
    "save_checkpoint",
    "selective_scan",
]
