"""State-space layers, one readable file each; `base.py` holds what they share."""

from .base import DiagonalLayer, Reducible, Surgery
from .lru import LRU
from .s5 import S5

__all__ = ["LRU", "S5", "DiagonalLayer", "Reducible", "Surgery"]
