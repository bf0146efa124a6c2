"""LRU layers of minimal-LRU and others of its names, which are ours."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .._errors import UnsupportedError, require
from ..layers import LRU

if TYPE_CHECKING:
    from torch import nn

    from .files import Tensors

FILE = "model.safetensors"


def recognises(tensors: Tensors, config: dict[str, Any]) -> bool:
    """Say whether this is an LRU."""
    return {"nu_log", "theta_log", "gamma_log", "B_re", "C_re", "D"} <= set(tensors)


def read(tensors: Tensors, config: dict[str, Any]) -> LRU:
    """Return the layer of these tensors."""
    d_state, d_model = tensors["B_re"].shape
    layer = LRU(d_model, d_state, bidirectional="C2_re" in tensors)
    layer.load_state_dict(tensors)
    return layer


def write(layer: nn.Module) -> tuple[Tensors, dict[str, Any]]:
    """Return the tensors of a layer."""
    require(
        isinstance(layer, LRU), f"the format 'lru' holds LRU layers, got a {type(layer).__name__}", UnsupportedError
    )
    return dict(layer.state_dict()), {}
