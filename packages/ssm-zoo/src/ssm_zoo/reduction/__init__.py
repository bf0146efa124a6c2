"""Reduction while training: when (schedule), from what (balancing), with what evidence (certificate), and how."""

from .balancing import Activations, Balancing, WhiteNoise
from .certificate import Certificate, Limits
from .ledger import Cut
from .reducer import InTrainingReducer
from .schedule import At, Every, Schedule, Warmup

__all__ = [
    "Activations",
    "At",
    "Balancing",
    "Certificate",
    "Cut",
    "Every",
    "InTrainingReducer",
    "Limits",
    "Schedule",
    "Warmup",
    "WhiteNoise",
]
