"""The reducer inside other people's trainers: Lightning and Transformers, each imported when it is asked for."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .lightning import LightningReducer
    from .transformers import TransformersReducer

__all__ = ["LightningReducer", "TransformersReducer"]

_HOMES = {"LightningReducer": ".lightning", "TransformersReducer": ".transformers"}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        msg = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(msg)
    return getattr(import_module(_HOMES[name], __name__), name)
