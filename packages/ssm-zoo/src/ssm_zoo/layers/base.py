r"""How every layer with a diagonal state runs.

Glossary
--------
H        features in and out, `d_model`
n        slots: complex states, each standing for itself and its conjugate; `d_state`
x        state, (batch, n) complex
λ        discrete eigenvalues, (n)
g        output gain: y = g Re(C x) + D ⊙ u; 1 for LRU, 2 for S5
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from .._errors import ShapeError, UnsupportedError, require
from ..scan import Choice, Moments, choose_scan, diagonal_scan
from ..scan._operation import installed
from ..streaming import Stepper, TorchStepper
from ._surgery import Surgery
from ._system import DiagonalSystem
from .padding import Padding, right_padded
from .reducible import Reducible, gather_moments

if TYPE_CHECKING:
    from jaxtyping import Complex, Float, Int

__all__ = ["DiagonalLayer", "Reducible", "Surgery", "gather_moments"]


class DiagonalLayer(DiagonalSystem):
    r"""$x_t = \lambda \odot x_{t-1} + B u_t,\; y_t = g\,\mathrm{Re}(C x_t) + D \odot u_t$.

    A layer says how it stores its poles and matrices; everything else is here. Where a method takes `p`, it reads the
    parameters from it by name: from the layer itself, or from a double-precision copy.
    """

    moments: Moments | None = None
    """Where forward passes put the second moments of states and adjoint states; see `gather_moments`."""

    _fused: Any = None  # the kernel of `step`, made when it is first wanted

    def forward(
        self,
        x: Float[Tensor, "batch length H"],
        state: Complex[Tensor, "batch n"] | None = None,
        lengths: Int[Tensor, " batch"] | None = None,
        padding: Padding = "right",
        return_state: bool = False,
    ) -> Float[Tensor, "batch length H"] | tuple[Float[Tensor, "batch length H"], Complex[Tensor, "batch n"]]:
        """Return the outputs, and the last state too if `return_state`.

        Parameters
        ----------
        x
            The inputs.
        state
            The state before the first step: what the last call returned, or `init_state`. Zero if it is not given.
        lengths
            How many steps of each sequence are real; all if it is not given. The others count for nothing, whatever is
            in them; outputs there are zero, and the last state is the one after the last real step.
        padding
            Where the others are, `right` of the real ones or `left`.
        return_state
            Return the state after the last step too.

        Raises
        ------
        ShapeError, DtypeError, OptionError
            If the inputs, the state or the lengths do not fit the layer.
        UnsupportedError
            If a bidirectional layer is asked for, or given, a state.
        """
        if self.bidirectional and (return_state or state is not None):
            msg = "a bidirectional layer has no state to carry on: it reads the sequence from both ends; pass it whole"
            raise UnsupportedError(msg)
        wanted = f"(batch, length, {self.d_model})"
        require(
            x.ndim == 3 and x.shape[-1] == self.d_model, f"got x of shape {tuple(x.shape)}, wanted {wanted}", ShapeError
        )
        x, back = right_padded(x, lengths, padding)
        p = self._raised()
        eigenvalues, B, C = self._modes(p)
        forward, *backward = C.split(self.d_model)
        options: dict[str, Any] = {"lengths": lengths, "moments": self.moments, "implementation": self.scan}
        y, last = diagonal_scan(x, eigenvalues, B, forward, state, D=p.D, **options)
        for C in backward:
            y = y + diagonal_scan(x, eigenvalues, B, C, reverse=True, **options)[0]
        y = back(y).to(self.D.dtype)
        return (y, last) if return_state else y

    def step(
        self, x_t: Float[Tensor, "batch H"], state: Complex[Tensor, "batch n"]
    ) -> tuple[Float[Tensor, "batch H"], Complex[Tensor, "batch n"]]:
        """Return the output of one step and the state after it.

        Without gradients, in single precision on the CPU and with Numba, this is one kernel for the whole layer. See
        `ssm_zoo.streaming.stepper` for what is faster still.
        """
        if not torch.is_grad_enabled() and type(x_t) is Tensor and not torch.compiler.is_compiling():
            fused = self._fused
            if fused is None or not fused.is_of_now():
                fused = self._fuse()
            if fused is not None and fused.fits(x_t, state):
                return fused(self, x_t, state)
        y, state = self(x_t.unsqueeze(1), state, return_state=True)
        return y.squeeze(1), state

    def _fuse(self) -> Any:
        """Make the kernel of `step` for the parameters as they are, or None if there is none for them."""
        self._fused = None
        if self.bidirectional or self.scan not in ("auto", "numba") or not installed("numba"):
            return None
        from ._step import FusedStep

        if FusedStep.suits(self):
            self._fused = FusedStep(self)
        return self._fused

    def make_stepper(self, batch: int = 1) -> Stepper:
        """Return a frozen copy of the layer that runs step by step; see `ssm_zoo.streaming.stepper`."""
        self.init_state(batch)
        layer = copy.deepcopy(self).eval().requires_grad_(False)
        if layer._fuse() is None:
            return TorchStepper(layer, batch)
        from ._step import LayerStepper

        return LayerStepper(layer, batch)

    def init_state(self, batch: int) -> Complex[Tensor, "batch n"]:
        """Return the state at rest."""
        if self.bidirectional:
            msg = "a bidirectional layer has no state to start from: it reads the sequence from both ends"
            raise UnsupportedError(msg)
        dtype = torch.promote_types(self.D.dtype, torch.float32).to_complex()
        return torch.zeros(batch, self.d_state, dtype=dtype, device=self.D.device)

    def explain(self, batch: int, length: int) -> str:
        """Return which implementation of the scan such inputs take, and why."""
        choice = Choice(self.scan, "asked for by `scan`")
        if self.scan == "auto":
            choice = choose_scan(self.D.detach().expand(batch, length, self.d_model))
        return f"{type(self).__name__}({self.extra_repr()}), {batch} x {length} steps on {self.D.device}: {choice}"

    def extra_repr(self) -> str:
        """Return the sizes, for `print(layer)`."""
        direction = ", bidirectional=True" if self.bidirectional else ""
        return f"d_model={self.d_model}, d_state={self.d_state}{direction}"
