"""What every layer is called with, how it steps, and what it says of itself."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from .._errors import DtypeError, ShapeError, UnsupportedError, require
from ..streaming import Stepper, TorchStepper
from .padding import Padding, right_padded

if TYPE_CHECKING:
    from jaxtyping import Float, Int

    from ..scan import Choice, Moments


class Layer(nn.Module, ABC):
    """Maps (batch, length, d_model) to the same shape, as a whole, in pieces, or step by step.

    A subclass writes how it runs over sequences whose real steps come first.
    """

    d_model: int
    scan: Any
    bidirectional: bool = False

    moments: Moments | None = None
    """Where forward passes put the second moments of states and adjoint states; see `gather_moments`."""

    _fused: Any = None  # the kernel of `step`, made when it is first wanted

    @property
    @abstractmethod
    def d_state(self) -> int:
        """Return the size of the state."""

    @abstractmethod
    def init_state(self, batch: int) -> Any:
        """Return the state before the first step."""

    @abstractmethod
    def new_moments(self) -> Moments:
        """Return moments to gather into."""

    @abstractmethod
    def _run(self, x: Tensor, state: Any, lengths: Tensor | None, *, stateful: bool) -> tuple[Tensor, Any]:
        """Return outputs and last state, which need not be right unless `stateful`."""

    @abstractmethod
    def _chosen(self, batch: int, length: int) -> Choice:
        """Return what `scan="auto"` takes for such inputs."""

    def _dtype(self) -> torch.dtype:
        """Return the precision of the parameters that meet the inputs."""
        return self.D.dtype  # type: ignore[return-value]

    def _fuse(self) -> Any:
        """Return the kernel of `step` for the parameters as they are, or None if there is none for them."""
        return None

    def forward(
        self,
        x: Float[Tensor, "batch length d_model"],
        state: Any = None,
        lengths: Int[Tensor, " batch"] | None = None,
        padding: Padding = "right",
        return_state: bool = False,
    ) -> Any:
        """Return the outputs, and the last state too if `return_state`.

        Parameters
        ----------
        x
            The inputs.
        state
            The state before the first step: what the last call returned, or `init_state`, which is what it is if not
            given.
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
        if return_state or state is not None:
            self._need_direction()
        x, back = right_padded(self._inputs(x, "batch", "length"), lengths, padding)
        y, last = self._run(x, state, lengths, stateful=return_state or state is not None)
        return (back(y), last) if return_state else back(y)

    def step(self, x_t: Float[Tensor, "batch d_model"], state: Any) -> tuple[Float[Tensor, "batch d_model"], Any]:
        """Return the output of one step and the state after it.

        Without gradients, in single precision on the CPU and with Numba, most layers have one kernel for it. See
        `ssm_zoo.streaming.stepper` for what is faster still.
        """
        if not torch.is_grad_enabled() and type(x_t) is Tensor and not torch.compiler.is_compiling():
            fused = self._fused
            if fused is None or not fused.is_of_now():
                fused = self._fused = self._fuse()
            if fused is not None and fused.fits(x_t, state):
                return fused(x_t, state)
        y, state = self(self._inputs(x_t, "batch").unsqueeze(1), state, return_state=True)
        return y.squeeze(1), state

    def make_stepper(self, batch: int = 1) -> Stepper:
        """Return a frozen copy of the layer that runs step by step; see `ssm_zoo.streaming.stepper`."""
        layer = copy.deepcopy(self).eval().requires_grad_(False)
        start, fused = layer.init_state(batch), layer._fuse()
        return TorchStepper(layer, batch) if fused is None else fused.stepper(start)

    def explain(self, batch: int, length: int) -> str:
        """Return which implementation of the scan such inputs take, and why."""
        choice: Any = self._chosen(batch, length) if self.scan == "auto" else f"{self.scan}: asked for by `scan`"
        device = next(self.parameters()).device
        return f"{type(self).__name__}({self.extra_repr()}), {batch} x {length} steps on {device}: {choice}"

    def extra_repr(self) -> str:
        """Return the sizes, for `print(layer)`."""
        direction = ", bidirectional=True" if self.bidirectional else ""
        return f"d_model={self.d_model}, d_state={self.d_state}{direction}"

    def _inputs(self, x: Tensor, *axes: str) -> Tensor:
        """Return inputs (axes..., d_model) in the precision of the parameters; raise if they do not fit."""
        wanted = f"({', '.join(axes)}, {self.d_model})"
        got = f"got x of shape {tuple(x.shape)}, wanted {wanted}"
        require(x.ndim == len(axes) + 1 and x.shape[-1] == self.d_model, got, ShapeError)
        dtype = self._dtype()
        fits = x.dtype in (dtype, torch.float16, torch.bfloat16)
        require(fits, f"got x of {x.dtype}, wanted {dtype} as the parameters are, or half precision", DtypeError)
        return x.to(dtype)

    def _need_direction(self) -> None:
        if self.bidirectional:
            msg = "a bidirectional layer has no state to carry on: it reads the sequence from both ends; pass it whole"
            raise UnsupportedError(msg)
