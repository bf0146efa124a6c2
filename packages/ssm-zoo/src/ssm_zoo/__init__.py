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
from .layers import LRU, S5, Reducible, Surgery
from .models import ClassifierConfig, SequenceClassifier, param_groups
from .reduction import InTrainingReducer
from .scan import diagonal_scan

__version__ = "0.1.0.dev0"

__all__ = [
    "LRU",
    "S5",
    "ClassifierConfig",
    "DataError",
    "DtypeError",
    "ImplementationNotAvailableError",
    "InTrainingReducer",
    "OptionError",
    "Reducible",
    "ReductionError",
    "RunError",
    "SequenceClassifier",
    "ShapeError",
    "Surgery",
    "UnsupportedError",
    "ZooError",
    "diagonal_scan",
    "param_groups",
]
