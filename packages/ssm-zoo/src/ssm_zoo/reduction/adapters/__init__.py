"""One adapter for each kind of layer: what a reduction asks of it. `register_adapter` takes in kinds of your own."""

from .protocol import Adapter
from .registry import adapter_for, is_reducible, register_adapter

__all__ = ["Adapter", "adapter_for", "is_reducible", "register_adapter"]
