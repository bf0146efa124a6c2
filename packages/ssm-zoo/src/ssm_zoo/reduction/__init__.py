"""Reduction while training: when (schedule), from what (balancing), how many (selection), and with what evidence."""

from .adapters import Adapter, Mamba2Adapter, adapter_for, follow_state_size, is_reducible, register_adapter
from .analysis import propose
from .balancing import Activations, Adjoints, Method, WhiteNoise
from .certificate import Certificate, Limits
from .distributed import rewrap
from .evidence import Evidence
from .ledger import Cut
from .methods import METHODS
from .moments import Moments
from .post_training import LayerReport, inspect_model, reduce_model
from .proposal import Plan, Proposal
from .reducer import InTrainingReducer
from .refinement import REFINEMENTS, Distillation, H2Polish, Refinement
from .regularization import hankel_nuclear_norm
from .resizing import resize_like, resize_on_load
from .rivals import LAST, AIREPrune, LeadingRemoved, Magnitude, OutputEnergy, Published, Random
from .schedule import At, Every, Schedule, Warmup, When
from .selection import LossBudget, Slots, Uniform
from .watching import Plateau, Settled

__all__ = [
    "LAST",
    "METHODS",
    "REFINEMENTS",
    "AIREPrune",
    "Activations",
    "Adapter",
    "Adjoints",
    "At",
    "Certificate",
    "Cut",
    "Distillation",
    "Every",
    "Evidence",
    "H2Polish",
    "InTrainingReducer",
    "LayerReport",
    "LeadingRemoved",
    "Limits",
    "LossBudget",
    "Magnitude",
    "Mamba2Adapter",
    "Method",
    "Moments",
    "OutputEnergy",
    "Plan",
    "Plateau",
    "Proposal",
    "Published",
    "Random",
    "Refinement",
    "Schedule",
    "Settled",
    "Slots",
    "Uniform",
    "Warmup",
    "When",
    "WhiteNoise",
    "adapter_for",
    "follow_state_size",
    "hankel_nuclear_norm",
    "inspect_model",
    "is_reducible",
    "propose",
    "reduce_model",
    "register_adapter",
    "resize_like",
    "resize_on_load",
    "rewrap",
]
