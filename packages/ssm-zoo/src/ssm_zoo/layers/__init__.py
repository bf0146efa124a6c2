"""State-space layers, one readable file each; `base.py` holds what they share."""

from ._mamba_state import MambaState
from ._surgery import Surgery
from .base import DiagonalLayer
from .lru import LRU
from .mamba import Mamba
from .mamba2 import Mamba2
from .reducible import Reducible, gather_moments
from .s4 import S4
from .s4d import S4D
from .s5 import S5

__all__ = [
    "LRU",
    "S4",
    "S4D",
    "S5",
    "DiagonalLayer",
    "Mamba",
    "Mamba2",
    "MambaState",
    "Reducible",
    "Surgery",
    "gather_moments",
]
