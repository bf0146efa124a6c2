"""One step of an S4D layer in one compiled kernel, for single precision on the CPU where no gradients are wanted."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import numba
import numpy as np
import torch
from torch import Tensor

from .channels import as_complex
from .fused_step import FusedStep, KernelStepper

if TYPE_CHECKING:
    from jaxtyping import Float

    from .s4d import S4D


_kernel: Any = partial(numba.njit, nogil=True, cache=True, fastmath={"contract", "reassoc", "nsz"})
_MATRIX, _STATE = "float32[:, ::1]", "float32[:, :, ::1]"


@_kernel(f"void({_MATRIX}, {_STATE}, {_STATE}, {_MATRIX}, {_MATRIX}, float32[::1], {_MATRIX})")
def _advance(x_t, state, after, eigenvalues, C, D, y):
    """Move the state on, in place if `after` is `state`, and read it; complex numbers as pairs of floats."""
    batch, H, width = state.shape
    for b in range(batch):
        for h in range(H):
            u, total = x_t[b, h], D[h] * x_t[b, h]
            for j in range(0, width, 2):
                re, im, a, c = eigenvalues[h, j], eigenvalues[h, j + 1], state[b, h, j], state[b, h, j + 1]
                new_re, new_im = re * a - im * c + u, re * c + im * a
                after[b, h, j], after[b, h, j + 1] = new_re, new_im
                total += C[h, j] * new_re - C[h, j + 1] * new_im
            y[b, h] = total


@_kernel("boolean(int32[::1], int32[::1])")
def _same(a, b):
    different = 0
    for k in range(len(a)):
        different |= a[k] ^ b[k]
    return different == 0


class ChannelStep(FusedStep):
    """See `FusedStep`: λ and c are worked out again whenever the bits of a parameter have changed.

    Parameters
    ----------
    layer
        One that `suits`.
    """

    def __init__(self, layer: S4D) -> None:
        super().__init__(layer)
        self._bits = [value.numpy().reshape(-1).view(np.int32) for value in self._held.values()]
        self._shape = (layer.d_model, layer.d_state)
        self._look()

    def fits(self, x_t: Tensor, state: Tensor) -> bool:
        """Say whether the kernel can take these; if not, the ordinary way works, or says what is wrong."""
        return (
            x_t.dtype is torch.float32
            and state.dtype is torch.complex64
            and x_t.shape == (len(state), self._shape[0])
            and state.shape[1:] == self._shape
            and all(z.is_cpu and z.is_contiguous() and not z.is_conj() for z in (x_t, state))
        )

    def __call__(self, x_t: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """Return the outputs and the state after the step."""
        if not all(map(_same, self._bits, self._seen)):
            self._look()
        y, after = torch.empty_like(x_t), torch.empty_like(state)
        x, out = x_t.detach().numpy(), y.numpy()
        _advance(x, *(z.detach().numpy().view(np.float32) for z in (state, after)), *self._system, out)
        return y, after

    def stepper(self, start: Tensor) -> ChannelStepper:
        """Return the step of a layer that nobody else changes, on memory of its own."""
        return ChannelStepper(self._layer, start)

    def _look(self) -> None:
        """Work λ and c out from the parameters as they are now."""
        self._seen = [bits.copy() for bits in self._bits]
        self._system = _system(self._layer)


class ChannelStepper(KernelStepper):
    """See `KernelStepper`.

    Parameters
    ----------
    layer
        A layer that suits; λ, c and D are copied.
    start
        The state to start from.
    """

    def __init__(self, layer: S4D, start: Tensor) -> None:
        super().__init__(start, layer.d_model)
        self._system = _system(layer)
        self._planes = self._state.view(np.float32)

    def step(self, x_t: Float[np.ndarray, "batch H"]) -> Float[np.ndarray, "batch H"]:
        """Return the outputs of one step, in memory that the next step overwrites, and move the state on."""
        y, planes = self._y, self._planes
        if x_t.shape != y.shape or x_t.dtype != y.dtype:
            self._refuse(x_t)
        _advance(np.ascontiguousarray(x_t), planes, planes, *self._system, y)
        return y


@torch.no_grad()
def _system(layer: S4D) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return λ, c and D, complex numbers as pairs of floats."""
    read = 2 * layer.input_scale(layer) * as_complex(layer.C)
    poles, c = (torch.view_as_real(z.resolve_conj()).flatten(1) for z in (layer.eigenvalues(layer), read))
    return poles.numpy().copy(), c.numpy().copy(), layer.D.detach().numpy().copy()
