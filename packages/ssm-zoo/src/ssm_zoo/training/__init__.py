"""Train a model and shrink its state on the way: `train` one run, `compare` it with what it should beat."""

from .compare import KINDS, Comparison, compare
from .config import PRESETS, TrainConfig
from .folder import RunFolder
from .loop import Progress, RunResult, train
from .sample import byte_model, write
from .trainer import evaluate

__all__ = [
    "KINDS",
    "PRESETS",
    "Comparison",
    "Progress",
    "RunFolder",
    "RunResult",
    "TrainConfig",
    "byte_model",
    "compare",
    "evaluate",
    "train",
    "write",
]
