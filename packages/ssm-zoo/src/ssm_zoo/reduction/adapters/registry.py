"""Which adapter serves which module."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..._errors import UnsupportedError
from ...layers import S4, S4D, Mamba, Mamba2, Reducible
from .channel import ChannelAdapter
from .diagonal import DiagonalAdapter
from .hugging_face import MixerAdapter, is_mixer
from .mamba import MambaAdapter
from .mamba2 import Mamba2Adapter
from .s4 import S4Adapter

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import nn

    from .protocol import Adapter

_REGISTERED: list[tuple[Callable[[nn.Module], bool], Callable[[nn.Module], Adapter]]] = [
    (is_mixer, MixerAdapter),
    (lambda module: isinstance(module, Mamba2), Mamba2Adapter),
    (lambda module: isinstance(module, Mamba), MambaAdapter),
    (lambda module: isinstance(module, S4), S4Adapter),
    (lambda module: isinstance(module, S4D), ChannelAdapter),
    (lambda module: isinstance(module, Reducible), DiagonalAdapter),
]


def register_adapter(matches: Callable[[nn.Module], bool], adapter: Callable[[nn.Module], Adapter]) -> None:
    """Let modules that match be reduced through an adapter; the latest registration that matches is asked first.

    Parameters
    ----------
    matches
        Says whether a module is of the kind.
    adapter
        Makes the adapter of such a module.
    """
    _REGISTERED.insert(0, (matches, adapter))


def is_reducible(module: nn.Module) -> bool:
    """Say whether there is an adapter for a module."""
    return any(matches(module) for matches, _ in _REGISTERED)


def adapter_for(module: nn.Module) -> Adapter:
    """Return the adapter of a module.

    Raises
    ------
    UnsupportedError
        If there is none.
    """
    for matches, adapter in _REGISTERED:
        if matches(module):
            return adapter(module)
    msg = f"no adapter for {type(module).__name__}; implement `Reducible`, or pass one to register_adapter"
    raise UnsupportedError(msg)
