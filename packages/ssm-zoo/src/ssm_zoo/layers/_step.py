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
        self._values = layer._parameters.values()  # as they are at any time
        self._addresses = self._now()
        self._held = {name: value.detach().numpy() for name, value in layer.named_parameters()}  # keeps memory alive
        poles = _addresses_of([self._held[name] for name in layer.POLES])
        matrices = _addresses_of([self._held[name] for name in ("D", *layer.MATRICES)])
        n = layer.d_state
        self._recurrence = np.empty((4, n), dtype=np.float32)  # λ and b, in planes
        self._seen = np.empty((len(layer.POLES), n), dtype=np.float32)
        bits = self._seen.view(np.int32)  # compared as they are, a NaN too
        shape = layer.d_model, layer.GAIN, len(layer.MATRICES) == 4
        self._arguments = self._recurrence, bits, poles, matrices, *shape
        self._x_shape, self._state_shape = (layer.d_model,), (n,)
        self._returned: Tensor | None = None
        self.look(layer)

    def __reduce__(self) -> tuple[type[None], tuple[()]]:
        """Become nothing in a copy or a file: addresses are of no use there."""
        return type(None), ()

    def is_of_now(self) -> bool:
        """Say whether the layer still has the same parameters; what is in them does not matter."""
        return self._now() == self._addresses

    def _now(self) -> list[int]:
        """Return where the parameters lie: other addresses are other parameters, since the old ones are held here."""
        return list(map(Tensor.data_ptr, self._values))  # type: ignore[arg-type]

    def fits(self, x_t: Tensor, state: Tensor) -> bool:
        """Say whether the kernel can take these; if not, the ordinary way works, or says what is wrong."""
        return (
            x_t.dtype is torch.float32
            and x_t.shape[1:] == self._x_shape
            and x_t.shape[0] == state.shape[0]
            and x_t.is_contiguous()
            and x_t.is_cpu
            and (state is self._returned or self._state_fits(state))
        )

    def _state_fits(self, state: Tensor) -> bool:
        return (
            type(state) is Tensor
            and state.dtype is torch.complex64
            and state.shape[1:] == self._state_shape
            and 1 <= state.shape[0] <= _MOST
            and state.is_contiguous()
            and state.is_cpu
            and not state.is_conj()
        )

    def __call__(self, layer: DiagonalLayer, x_t: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """Return the outputs and the state after the step."""
        y, new = torch.empty_like(x_t), torch.empty_like(state)
        pointers = x_t.shape[0], x_t.data_ptr(), state.data_ptr(), y.data_ptr(), new.data_ptr()
        while not step_at(*pointers, *self._arguments):
            self.look(layer)
        self._returned = new
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
        recurrence, seen, poles, matrices, _, gain, planes = step._arguments
        self._arguments = recurrence, seen[:0], poles[:0], matrices, gain, planes  # frozen poles need no look

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
        if not x_t.flags.c_contiguous:  # the kernel would be compiled once more for it
            x_t = np.ascontiguousarray(x_t)
        step_arrays(x_t, floats, y, floats, *self._arguments)
        return y

    def reset(self) -> None:
        """Put the state at rest."""
        self._state[:] = 0


def _addresses_of(arrays: list[Any]) -> np.ndarray:
    return np.array([array.ctypes.data for array in arrays], dtype=np.intp)


def _refuse(x_t: np.ndarray, y: np.ndarray) -> None:
    require(x_t.shape == y.shape, f"got x_t of shape {x_t.shape}, wanted {y.shape}", ShapeError)
    require(x_t.dtype == y.dtype, f"got x_t of {x_t.dtype}, wanted {y.dtype}", DtypeError)
