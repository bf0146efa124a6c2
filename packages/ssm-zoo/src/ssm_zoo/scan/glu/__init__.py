"""GELU, gated linear unit, dropouts and residual: what the block of the LRU paper has after its layer."""

from .operation import residual_glu

__all__ = ["residual_glu"]
