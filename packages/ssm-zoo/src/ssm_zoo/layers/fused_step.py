"""A layer's step as one compiled kernel: when it may be taken, and what a deployed copy of it looks like."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor
from torch.utils._pytree import tree_map

from .._errors import DtypeError, ShapeError, require

if TYPE_CHECKING:
    from jaxtyping import Float

    from ..streaming import Stepper
    from .layer import Layer


class FusedStep(ABC):
    """A layer's step for single precision on the CPU without gradients; sees whatever changes its parameters in place.

    Parameters
    ----------
    layer
        One that `suits`.
    """

    def __init__(self, layer: Layer) -> None:
        self._layer: Any = layer
        self._addresses = self._now()
        self._held = {name: value.detach() for name, value in layer.named_parameters()}  # keeps memory alive

    @staticmethod
    def suits(layer: Layer) -> bool:
        """Say whether the layer is of that kind."""
        return all(p.dtype is torch.float32 and p.is_cpu and p.is_contiguous() for p in layer.parameters())

    def is_of_now(self) -> bool:
        """Say whether the layer still has the same parameters; what is in them does not matter."""
        return self._now() == self._addresses

    def _now(self) -> list[int]:
        """Return where the parameters lie: other addresses are other parameters, since the old ones are held here."""
        layer = self._layer
        modules: Any = layer, *layer._modules.values()  # `parameters()` takes longer than the step
        return [p.data_ptr() for module in modules for p in module._parameters.values() if p is not None]

    def __reduce__(self) -> tuple[type[None], tuple[()]]:
        """Become nothing in a copy or a file: addresses are of no use there."""
        return type(None), ()

    @abstractmethod
    def fits(self, x_t: Tensor, state: Any) -> bool:
        """Say whether the kernel can take these; if not, the ordinary way works, or says what is wrong."""

    @abstractmethod
    def __call__(self, x_t: Tensor, state: Any) -> tuple[Tensor, Any]:
        """Return the outputs and the state after the step."""

    @abstractmethod
    def stepper(self, start: Any) -> Stepper:
        """Return the step of a layer that nobody else changes, on memory of its own."""


class KernelStepper(ABC):
    """The step of a frozen layer, in memory that is used again.

    Parameters
    ----------
    start
        The state to start from, and to return to, as tensors.
    d_model
        Features in and out.
    """

    def __init__(self, start: Any, d_model: int) -> None:
        self._start, self._state = (tree_map(_array, start) for _ in range(2))
        batch = len(start) if isinstance(start, Tensor) else len(start[0])
        self._y = np.empty((batch, d_model), dtype=np.float32)

    @property
    def state(self) -> Any:
        """Return the state as NumPy arrays; the next step overwrites them."""
        return self._state

    @state.setter
    def state(self, state: Any) -> None:
        pairs = list(zip(*map(_parts, (self._state, state)), strict=True))
        for part, value in pairs:
            got, wanted = np.shape(value), part.shape
            require(got == wanted, f"got a state of shape {got}, wanted {wanted}", ShapeError)
        for part, value in pairs:
            part[:] = value

    @abstractmethod
    def step(self, x_t: Float[np.ndarray, "batch d_model"]) -> Float[np.ndarray, "batch d_model"]:
        """Return the outputs of one step, in memory that the next step overwrites, and move the state on."""

    def reset(self) -> None:
        """Put the state back to where it started."""
        self.state = self._start

    def _refuse(self, x_t: np.ndarray) -> None:
        """Say why the inputs, whose shape or dtype is not that of the outputs, cannot be taken."""
        shape, dtype = self._y.shape, self._y.dtype
        require(x_t.shape == shape, f"got x_t of shape {x_t.shape}, wanted {shape}", ShapeError)
        require(x_t.dtype == dtype, f"got x_t of {x_t.dtype}, wanted {dtype}", DtypeError)


def _array(part: Tensor) -> np.ndarray:
    return part.contiguous().numpy().copy()


def _parts(state: Any) -> Any:
    """Return the arrays of a state, one or several."""
    return state if isinstance(state, tuple) else (state,)
