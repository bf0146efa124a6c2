"""One step of a layer with a diagonal state in one compiled kernel."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from ..scan.diagonal._step_kernels import step_arrays, step_at
from .fused_step import FusedStep, KernelStepper

if TYPE_CHECKING:
    from jaxtyping import Float

    from .base import DiagonalLayer

_MOST = 32  # sequences; above, the products are worth a library


class DiagonalStep(FusedStep):
    """See `FusedStep`.

    Parameters
    ----------
    layer
        One that `suits`.
    """

    def __init__(self, layer: DiagonalLayer) -> None:
        super().__init__(layer)
        self._poles = [self._held[name].numpy() for name in layer.POLES]
        poles = _addresses_of(self._poles)
        matrices = _addresses_of([self._held[name].numpy() for name in ("D", *layer.MATRICES)])
        n = layer.d_state
        self._recurrence = np.empty((4, n), dtype=np.float32)  # λ and b, in planes
        self._seen = np.empty((len(layer.POLES), n), dtype=np.float32)
        bits = self._seen.view(np.int32)  # compared as they are, a NaN too
        shape = layer.d_model, layer.GAIN, len(layer.MATRICES) == 4
        self._arguments = self._recurrence, bits, poles, matrices, *shape
        self._x_shape, self._state_shape = (layer.d_model,), (n,)
        self._returned: Tensor | None = None
        self._look()

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

    def __call__(self, x_t: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """Return the outputs and the state after the step."""
        y, new = torch.empty_like(x_t), torch.empty_like(state)
        pointers = x_t.shape[0], x_t.data_ptr(), state.data_ptr(), y.data_ptr(), new.data_ptr()
        while not step_at(*pointers, *self._arguments):
            self._look()
        self._returned = new
        return y, new

    def stepper(self, start: Tensor) -> DiagonalStepper:
        """Return the step of a layer that nobody else changes, on memory of its own."""
        return DiagonalStepper(self, start)

    def _look(self) -> None:
        """Work λ and b out from the poles as they are now."""
        for row, pole in zip(self._seen, self._poles, strict=True):
            row[:] = pole
        layer = self._layer
        with torch.no_grad():
            values = layer.eigenvalues(layer), layer.input_scale(layer)
        self._recurrence[:2], self._recurrence[2:] = (
            np.stack([z.real, z.imag]) for z in (value.to(torch.complex64).numpy() for value in values)
        )


class DiagonalStepper(KernelStepper):
    """See `KernelStepper`.

    Parameters
    ----------
    step
        Of a copy of the layer that nobody else changes.
    start
        The state to start from.
    """

    def __init__(self, step: DiagonalStep, start: Tensor) -> None:
        super().__init__(start, step._layer.d_model)
        self._held = step  # the kernel reads its memory
        self._floats = self._state.view(np.float32)
        recurrence, seen, poles, matrices, _, gain, planes = step._arguments
        self._arguments = recurrence, seen[:0], poles[:0], matrices, gain, planes  # frozen poles need no look

    def step(self, x_t: Float[np.ndarray, "batch H"]) -> Float[np.ndarray, "batch H"]:
        """Return the outputs of one step, in memory that the next step overwrites, and move the state on."""
        y, floats = self._y, self._floats
        if x_t.shape != y.shape or x_t.dtype != y.dtype:
            self._refuse(x_t)
        if not x_t.flags.c_contiguous:  # the kernel would be compiled once more for it
            x_t = np.ascontiguousarray(x_t)
        step_arrays(x_t, floats, y, floats, *self._arguments)
        return y


def _addresses_of(arrays: list[Any]) -> np.ndarray:
    return np.array([array.ctypes.data for array in arrays], dtype=np.intp)
