"""One step of a layer in one compiled kernel, for single precision on the CPU where no gradients are wanted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from .._errors import DtypeError, ShapeError, require
from ..scan.diagonal._step_kernels import step_arrays, step_at

if TYPE_CHECKING:
    from jaxtyping import Complex, Float

    from .base import DiagonalLayer

_MOST = 32  # sequences; above, the products are worth a library


class FusedStep:
    """A layer's step, reading the parameters where they lie: whatever changes them in place is seen.

    Parameters
    ----------
    layer
        In single precision on the CPU, its parameters contiguous.
    """

    @staticmethod
    def suits(layer: DiagonalLayer) -> bool:
        """Say whether the layer is of that kind."""
        return all(p.dtype is torch.float32 and p.is_cpu and p.is_contiguous() for p in layer.parameters())

    def __init__(self, layer: DiagonalLayer) -> None:
        self.addresses = addresses(layer)
        self._held = {name: value.detach().numpy() for name, value in layer.named_parameters()}  # keeps memory alive
        self._poles = _addresses_of([self._held[name] for name in layer.POLES])
        self._matrices = _addresses_of([self._held[name] for name in ("D", *layer.MATRICES)])
        n = layer.d_state
        self._shape = (layer.d_model, layer.GAIN, len(layer.MATRICES) == 4)
        self._recurrence = np.empty((4, n), dtype=np.float32)  # λ and b, in planes
        self._seen = np.empty((len(layer.POLES), n), dtype=np.float32)
        self._bits = self._seen.view(np.int32)  # compared as they are, a NaN too
        self._x_shape, self._state_shape = (layer.d_model,), (n,)
        self.look(layer)

    def __reduce__(self) -> tuple[type[None], tuple[()]]:
        """Become nothing in a copy or a file: addresses are of no use there."""
        return type(None), ()

    def fits(self, x_t: Tensor, state: Tensor) -> bool:
        """Say whether the kernel can take these; if not, the ordinary way works, or says what is wrong."""
        return (
            x_t.dtype is torch.float32
            and state.dtype is torch.complex64
            and x_t.shape[1:] == self._x_shape
            and state.shape[1:] == self._state_shape
            and 1 <= x_t.shape[0] == state.shape[0] <= _MOST
            and x_t.is_cpu
            and state.is_cpu
            and x_t.is_contiguous()
            and state.is_contiguous()
            and not state.is_conj()
        )

    def __call__(self, layer: DiagonalLayer, x_t: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """Return the outputs and the state after the step."""
        y, new = torch.empty_like(x_t), torch.empty_like(state)
        pointers = x_t.shape[0], x_t.data_ptr(), state.data_ptr(), y.data_ptr(), new.data_ptr()
        while not step_at(*pointers, self._recurrence, self._bits, self._poles, self._matrices, *self._shape):
            self.look(layer)
        return y, new

    def look(self, layer: DiagonalLayer) -> None:
        """Work λ and b out from the poles as they are now."""
        for row, name in zip(self._seen, layer.POLES, strict=True):
            row[:] = self._held[name]
        with torch.no_grad():
            values = layer.eigenvalues(layer), layer.input_scale(layer)
        self._recurrence[:2], self._recurrence[2:] = (
            np.stack([z.real, z.imag]) for z in (value.to(torch.complex64).numpy() for value in values)
        )


class LayerStepper:
    """The same step on a frozen copy of the layer, in memory that is used again.

    Parameters
    ----------
    layer
        A copy that nobody else changes, in single precision on the CPU.
    batch
        How many sequences run side by side.
    """

    def __init__(self, layer: DiagonalLayer, batch: int) -> None:
        step = FusedStep(layer)
        self._held = step  # the kernel reads its memory
        self._state = np.zeros((batch, layer.d_state), dtype=np.complex64)
        self._floats = self._state.view(np.float32)
        self._y = np.empty((batch, layer.d_model), dtype=np.float32)
        nothing = np.empty((0, layer.d_state), dtype=np.int32)
        _, gain, planes = step._shape
        self._arguments = step._recurrence, nothing, step._poles[:0], step._matrices, gain, planes

    @property
    def state(self) -> Complex[np.ndarray, "batch n"]:
        """Return the state; the next step overwrites it."""
        return self._state

    @state.setter
    def state(self, state: Complex[np.ndarray, "batch n"]) -> None:
        wanted = self._state.shape
        require(np.shape(state) == wanted, f"got a state of shape {np.shape(state)}, wanted {wanted}", ShapeError)
        self._state[:] = state

    def step(self, x_t: Float[np.ndarray, "batch H"]) -> Float[np.ndarray, "batch H"]:
        """Return the outputs of one step, in memory that the next step overwrites, and move the state on."""
        y, floats = self._y, self._floats
        if x_t.shape != y.shape or x_t.dtype != y.dtype:
            _refuse(x_t, y)
        step_arrays(x_t, floats, y, floats, *self._arguments)
        return y

    def reset(self) -> None:
        """Put the state at rest."""
        self._state[:] = 0


def addresses(layer: torch.nn.Module) -> list[int]:
    """Return where the parameters lie: other addresses are other parameters, since a `FusedStep` holds its own."""
    return list(map(Tensor.data_ptr, layer._parameters.values()))  # type: ignore[arg-type]


def _addresses_of(arrays: list[Any]) -> np.ndarray:
    return np.array([array.ctypes.data for array in arrays], dtype=np.intp)


def _refuse(x_t: np.ndarray, y: np.ndarray) -> None:
    require(x_t.shape == y.shape, f"got x_t of shape {x_t.shape}, wanted {y.shape}", ShapeError)
    require(x_t.dtype == y.dtype, f"got x_t of {x_t.dtype}, wanted {y.dtype}", DtypeError)
