"""Train a model and shrink its state on the way: `train` one run, `compare` it with what it should beat."""

from .calibration import Calibration, calibration_of
from .compare import KINDS, Comparison, compare
from .config import TrainConfig
from .distillation import distillation_loss
from .folder import RunFolder
from .loop import Progress, RunResult, train
from .open import Opened, new_folder, open_model, save_model_as
from .presets import PRESETS
from .sample import byte_model, write
from .trainer import evaluate

__all__ = [
    "KINDS",
    "PRESETS",
    "Calibration",
    "Comparison",
    "Opened",
    "Progress",
    "RunFolder",
    "RunResult",
    "TrainConfig",
    "byte_model",
    "calibration_of",
    "compare",
    "distillation_loss",
    "evaluate",
    "new_folder",
    "open_model",
    "save_model_as",
    "train",
    "write",
]
