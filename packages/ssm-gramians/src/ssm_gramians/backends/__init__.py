"""The arithmetic for one kind of array each, found by array type."""

from ._base import Backend
from ._registry import available_backends, get_backend, register_backend

__all__ = ["Backend", "available_backends", "get_backend", "register_backend"]
