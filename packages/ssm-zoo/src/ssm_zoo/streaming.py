"""A layer as it is deployed: frozen, one step at a time, NumPy in and out, in memory that is used again and again."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np
import torch

from ._errors import ShapeError, UnsupportedError, require

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import nn

__all__ = ["Stepper", "TorchStepper", "stepper"]


@runtime_checkable
class Stepper(Protocol):
    """A frozen copy of a layer with the state of `batch` sequences; it does not see later changes of the layer.

    A layer that has a kernel of its own for this offers `make_stepper(batch)`, which returns one.
    """

    state: Any
    """The state as NumPy arrays (of the shapes of the layer's state); assign to go on from another one."""

    def step(self, x_t: Float[np.ndarray, "batch d_in"]) -> Float[np.ndarray, "batch d_out"]:
        """Return the outputs of one step, in memory that the next step overwrites, and move the state on."""

    def reset(self) -> None:
        """Put the state at rest."""


def stepper(layer: nn.Module, batch: int = 1) -> Stepper:
    """Return a frozen copy of a layer or model that runs step by step with as little overhead as there can be.

    Parameters
    ----------
    layer
        A layer with `make_stepper(batch)`, or at least with `step(x_t, state)` and `init_state(batch)`.
    batch
        How many sequences run side by side.

    Raises
    ------
    OptionError, UnsupportedError
        If the batch is empty, or the layer cannot run step by step.

    Examples
    --------
    >>> import numpy as np
    >>> from ssm_zoo import LRU
    >>> from ssm_zoo.streaming import stepper
    >>> lru = stepper(LRU(4, 8))
    >>> lru.step(np.ones((1, 4), dtype=np.float32)).shape
    (1, 4)
    """
    require(batch >= 1, f"got batch={batch}, wanted at least 1")
    make = getattr(layer, "make_stepper", None)
    if make is not None:
        return make(batch)
    if not (hasattr(layer, "step") and hasattr(layer, "init_state")):
        msg = f"{type(layer).__name__} has neither make_stepper(batch) nor step and init_state; pass a layer that has"
        raise UnsupportedError(msg)
    return TorchStepper(layer, batch)


class TorchStepper:
    """The layer's own `step`, for layers that have no kernel for it.

    Parameters
    ----------
    layer
        With `step(x_t, state)` and `init_state(batch)`; it is copied.
    batch
        How many sequences run side by side.
    """

    def __init__(self, layer: nn.Module, batch: int) -> None:
        self._layer: Any = copy.deepcopy(layer).eval().requires_grad_(False)
        self._batch = batch
        self.reset()

    @property
    def state(self) -> Any:
        """Return the state as NumPy arrays."""
        return _converted(self._state, lambda leaf: leaf.numpy(force=True))

    @state.setter
    def state(self, state: Any) -> None:
        place = self._layer.init_state(self._batch)
        self._state = _converted(place, _copied, state)

    def step(self, x_t: Float[np.ndarray, "batch d_in"]) -> Float[np.ndarray, "batch d_out"]:
        """Return the outputs of one step and move the state on."""
        with torch.no_grad():
            y, self._state = self._layer.step(torch.from_numpy(np.ascontiguousarray(x_t)), self._state)
        return y.numpy(force=True)

    def reset(self) -> None:
        """Put the state at rest."""
        self._state = self._layer.init_state(self._batch)


def _copied(place: torch.Tensor, array: Any) -> torch.Tensor:
    array = np.asarray(array)
    require(
        array.shape == tuple(place.shape),
        f"got a state of shape {array.shape}, wanted {tuple(place.shape)}",
        ShapeError,
    )
    return place.copy_(torch.tensor(array))


def _converted(tree: Any, convert: Any, *others: Any) -> Any:
    """Apply `convert` to every array of a state: an array, or a (named) tuple or list of states."""
    if not isinstance(tree, (tuple, list)):
        return convert(tree, *others)
    parts = [_converted(*group) for group in zip(tree, [convert] * len(tree), *others, strict=True)]
    return type(tree)(*parts) if hasattr(tree, "_fields") else type(tree)(parts)
