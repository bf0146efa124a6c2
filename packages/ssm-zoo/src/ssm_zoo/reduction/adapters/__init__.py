"""One adapter for each kind of layer: what a reduction asks of it. `register_adapter` takes in kinds of your own."""

from .hugging_face import follow_state_size
from .mamba2 import Mamba2Adapter
from .protocol import Adapter
from .registry import adapter_for, is_reducible, register_adapter

__all__ = ["Adapter", "Mamba2Adapter", "adapter_for", "follow_state_size", "is_reducible", "register_adapter"]
