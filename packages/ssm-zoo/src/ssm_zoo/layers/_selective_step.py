"""One step of a selective layer in one compiled kernel, which reads the parameters where they lie."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from ._mamba_state import MambaState
from .fused_step import FusedStep, KernelStepper

if TYPE_CHECKING:
    from jaxtyping import Float

_MOST = 16  # sequences; above, the products are worth a library
_NAMES = ("in_proj.weight", "in_proj.bias", "out_proj.weight", "out_proj.bias", "conv1d.weight", "conv1d.bias")


class SelectiveStep(FusedStep):
    """See `FusedStep`. A subclass names its kernel and parameters, and sets `_rest` and `_shapes`.

    Parameters
    ----------
    layer
        One that `suits`.
    """

    kernel: ClassVar[Any]
    """Takes the number of sequences, the addresses of x, the states, y and the new states, and `_rest`."""
    OTHERS: ClassVar[tuple[str, ...]]
    """Names of the parameters whose addresses follow those of the projections and the convolution."""
    _rest: tuple[Any, ...]
    _shapes: tuple[tuple[int, ...], ...]  # of x, the window and the state, without the batch

    def _pointers(self) -> np.ndarray:
        """Return the addresses of the parameters, zero for one that there is not."""
        pointers = [self._held[n].data_ptr() if n in self._held else 0 for n in _NAMES + self.OTHERS]
        return np.array(pointers, dtype=np.intp)

    def fits(self, x_t: Tensor, state: MambaState) -> bool:
        """Say whether the kernel can take these; if not, the ordinary way works, or says what is wrong."""
        conv, ssm = state
        batch = len(x_t) if x_t.ndim else 0
        of_x, of_conv, of_ssm = self._shapes
        return (
            1 <= batch <= _MOST
            and x_t.shape == (batch, *of_x)
            and conv.shape == (batch, *of_conv)
            and ssm.shape == (batch, *of_ssm)
            and all(t.dtype is torch.float32 and t.is_cpu and t.is_contiguous() for t in (x_t, conv, ssm))
        )

    def __call__(self, x_t: Tensor, state: MambaState) -> tuple[Tensor, MambaState]:
        """Return the outputs and the state after the step."""
        conv, ssm = state
        y, new_conv, new_ssm = torch.empty_like(x_t), torch.empty_like(conv), torch.empty_like(ssm)
        places = tuple(t.data_ptr() for t in (x_t, conv, ssm, y, new_conv, new_ssm))
        self.kernel(x_t.shape[0], places, *self._rest)
        return y, MambaState(new_conv, new_ssm)

    def stepper(self, start: MambaState) -> SelectiveStepper:
        """Return the step of a layer that nobody else changes, on memory of its own."""
        return SelectiveStepper(self, start)


class SelectiveStepper(KernelStepper):
    """See `KernelStepper`.

    Parameters
    ----------
    step
        Of a copy of the layer that nobody else changes.
    start
        The state to start from.
    """

    def __init__(self, step: SelectiveStep, start: MambaState) -> None:
        (d_model,) = step._shapes[0]
        super().__init__(start, d_model)
        self._held = step  # the kernel reads its memory
        self._x = np.empty_like(self._y)
        conv, ssm = (part.ctypes.data for part in self._state)
        places = self._x.ctypes.data, conv, ssm, self._y.ctypes.data, conv, ssm
        self._kernel, self._arguments = step.kernel, (len(self._y), places, *step._rest)

    def step(self, x_t: Float[np.ndarray, "batch d_model"]) -> Float[np.ndarray, "batch d_model"]:
        """Return the outputs of one step, in memory that the next step overwrites, and move the state on."""
        x = self._x
        if x_t.shape != x.shape or x_t.dtype != x.dtype:
            self._refuse(x_t)
        x[:] = x_t
        self._kernel(*self._arguments)
        return self._y
