"""What a reducer asks of a layer, and how the second moments of states are gathered while a model runs."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from .._errors import UnsupportedError
from ._surgery import Surgery

if TYPE_CHECKING:
    from collections.abc import Iterator

    from jaxtyping import Float
    from torch import Tensor, nn

    from ssm_gramians import StateSpace

    from ..scan import Moments


@runtime_checkable
class Reducible(Protocol):
    """A layer whose state can be made smaller while it trains."""

    @property
    def d_state(self) -> int:
        """Return the number of slots."""

    def system(self) -> StateSpace:
        """Return the layer's real map as a paired discrete system."""

    def load_system(self, system: StateSpace) -> None:
        """Become the layer of this system: the inverse of `system`."""

    def second_moment(self, inputs: Float[Tensor, "batch length H"]) -> Float[Tensor, "2n 2n"]:
        """Return E[ξ ξᵀ] over the batch and time."""

    def surgery(self, system: StateSpace, left: Any, right: Any) -> Surgery:
        """Return what turns this layer into one with the given system."""


@contextmanager
def gather_moments(model: nn.Module) -> Iterator[dict[str, Moments]]:
    """Gather the second moments of states and adjoint states of every layer that can, while inside.

    Forward passes inside add the states, their backward passes, inside or later, the adjoint states.

    Parameters
    ----------
    model
        A model or a layer.

    Yields
    ------
    dict
        The moments by the layers' names in the model; that of a bare layer is empty.

    Raises
    ------
    UnsupportedError
        If no layer of the model can.

    Examples
    --------
    >>> import torch
    >>> from ssm_zoo.layers import LRU, gather_moments
    >>> with gather_moments(LRU(4, 8)) as moments:
    ...     pass
    >>> list(moments)
    ['']
    """
    layers: dict[str, Any] = {name: module for name, module in model.named_modules() if hasattr(module, "new_moments")}
    if not layers:
        msg = f"no layer of {type(model).__name__} gathers moments; want one with new_moments(), as those of ssm_zoo"
        raise UnsupportedError(msg)
    before = {name: layer.moments for name, layer in layers.items()}
    gathered = {name: layer.new_moments() for name, layer in layers.items()}
    try:
        for name, layer in layers.items():
            layer.moments = gathered[name]
        yield gathered
    finally:
        for name, layer in layers.items():
            layer.moments = before[name]
