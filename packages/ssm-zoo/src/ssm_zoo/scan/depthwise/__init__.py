"""A short causal convolution of every channel by itself, as Mamba and Mamba-2 have it before their scan."""

from .operation import causal_conv, choose_conv

__all__ = ["causal_conv", "choose_conv"]
