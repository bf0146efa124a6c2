"""One step of a frozen S4D layer in one compiled kernel."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numba
import numpy as np
import torch

from .._errors import DtypeError, ShapeError, require

if TYPE_CHECKING:
    from jaxtyping import Complex, Float

    from .s4d import S4D


@numba.njit(
    "void(float32[:, ::1], float32[:, :, ::1], float32[:, ::1], float32[:, ::1], float32[::1], float32[:, ::1])",
    nogil=True, cache=True, fastmath={"contract", "reassoc", "nsz"},
)  # fmt: skip
def _advance(x_t, state, eigenvalues, C, D, y):
    """Move the state on and read it; complex numbers as pairs of floats."""
    batch, H, width = state.shape
    for b in range(batch):
        for h in range(H):
            u, total = x_t[b, h], D[h] * x_t[b, h]
            for j in range(0, width, 2):
                re, im, a, c = eigenvalues[h, j], eigenvalues[h, j + 1], state[b, h, j], state[b, h, j + 1]
                new_re, new_im = re * a - im * c + u, re * c + im * a
                state[b, h, j], state[b, h, j + 1] = new_re, new_im
                total += C[h, j] * new_re - C[h, j + 1] * new_im
            y[b, h] = total


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
        with torch.no_grad():
            read = 2 * layer.input_scale(layer) * torch.view_as_complex(layer.C)
            self._eigenvalues, self._C = (_floats(z) for z in (layer.eigenvalues(layer), read))
            self._D = layer.D.numpy().copy()
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
        y = self._y
        require(x_t.shape == y.shape, f"got x_t of shape {x_t.shape}, wanted {y.shape}", ShapeError)
        require(x_t.dtype == y.dtype, f"got x_t of {x_t.dtype}, wanted {y.dtype}", DtypeError)
        _advance(np.ascontiguousarray(x_t), self._planes, self._eigenvalues, self._C, self._D, y)
        return y

    def reset(self) -> None:
        """Put the state at rest."""
        self._state[:] = 0


def _floats(z: torch.Tensor) -> np.ndarray:
    return torch.view_as_real(z.resolve_conj()).flatten(1).numpy().copy()
