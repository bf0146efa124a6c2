"""One step of an S4D layer in one compiled kernel, for single precision on the CPU where no gradients are wanted."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import numba
import numpy as np
import torch
from torch import Tensor

from .._errors import DtypeError, ShapeError, require
from .channels import as_complex

if TYPE_CHECKING:
    from jaxtyping import Complex, Float

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


class FusedChannelStep:
    """A layer's step without gradients: λ and c are worked out again whenever the bits of a parameter have changed.

    Parameters
    ----------
    layer
        In single precision on the CPU, its parameters contiguous.
    """

    @staticmethod
    def suits(layer: S4D) -> bool:
        """Say whether the layer is of that kind."""
        return all(p.dtype is torch.float32 and p.is_cpu and p.is_contiguous() for p in layer.parameters())

    def __init__(self, layer: S4D) -> None:
        self.addresses = addresses(layer)
        self._held = [p.detach().numpy() for p in layer.parameters()]  # keeps the memory alive
        self._bits = [array.reshape(-1).view(np.int32) for array in self._held]
        self._seen = [bits.copy() for bits in self._bits]
        self._shape = (layer.d_model, layer.d_state)
        self._system = _system(layer)

    def __reduce__(self) -> tuple[type[None], tuple[()]]:
        """Become nothing in a copy or a file: addresses are of no use there."""
        return type(None), ()

    def fits(self, x_t: Tensor, state: Tensor) -> bool:
        """Say whether the kernel can take these; if not, the ordinary way works, or says what is wrong."""
        return (
            x_t.dtype is torch.float32
            and state.dtype is torch.complex64
            and x_t.shape == (len(state), self._shape[0])
            and state.shape[1:] == self._shape
            and all(z.is_cpu and z.is_contiguous() and not z.is_conj() for z in (x_t, state))
        )

    def __call__(self, layer: S4D, x_t: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """Return the outputs and the state after the step."""
        if not all(map(_same, self._bits, self._seen)):
            self._seen = [bits.copy() for bits in self._bits]
            self._system = _system(layer)
        y, after = torch.empty_like(x_t), torch.empty_like(state)
        x, out = x_t.detach().numpy(), y.numpy()
        _advance(x, *(z.detach().numpy().view(np.float32) for z in (state, after)), *self._system, out)
        return y, after


def addresses(layer: torch.nn.Module) -> list[int]:
    """Return where the parameters lie: other addresses are other parameters, since a step holds its own."""
    return [p.data_ptr() for p in layer.parameters()]


class ChannelStepper:
    """The step on copies of λ, c and D, in memory that is used again.

    Parameters
    ----------
    layer
        In single precision on the CPU.
    batch
        How many sequences run side by side.
    """

    def __init__(self, layer: S4D, batch: int) -> None:
        self._system = _system(layer)
        self._state = np.zeros((batch, layer.d_model, layer.d_state), dtype=np.complex64)
        self._planes = self._state.view(np.float32)
        self._y = np.empty((batch, layer.d_model), dtype=np.float32)

    @property
    def state(self) -> Complex[np.ndarray, "batch H n"]:
        """Return the state; the next step overwrites it."""
        return self._state

    @state.setter
    def state(self, state: Complex[np.ndarray, "batch H n"]) -> None:
        wanted = self._state.shape
        require(np.shape(state) == wanted, f"got a state of shape {np.shape(state)}, wanted {wanted}", ShapeError)
        self._state[:] = state

    def step(self, x_t: Float[np.ndarray, "batch H"]) -> Float[np.ndarray, "batch H"]:
        """Return the outputs of one step, in memory that the next step overwrites, and move the state on."""
        y, planes = self._y, self._planes
        if x_t.shape != y.shape or x_t.dtype != y.dtype:
            _refuse(x_t, y)
        _advance(np.ascontiguousarray(x_t), planes, planes, *self._system, y)
        return y

    def reset(self) -> None:
        """Put the state at rest."""
        self._state[:] = 0


@torch.no_grad()
def _system(layer: S4D) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return λ, c and D, complex numbers as pairs of floats."""
    read = 2 * layer.input_scale(layer) * as_complex(layer.C)
    poles, c = (torch.view_as_real(z.resolve_conj()).flatten(1) for z in (layer.eigenvalues(layer), read))
    return poles.numpy().copy(), c.numpy().copy(), layer.D.detach().numpy().copy()


def _refuse(x_t: np.ndarray, y: np.ndarray) -> None:
    require(x_t.shape == y.shape, f"got x_t of shape {x_t.shape}, wanted {y.shape}", ShapeError)
    require(x_t.dtype == y.dtype, f"got x_t of {x_t.dtype}, wanted {y.dtype}", DtypeError)
