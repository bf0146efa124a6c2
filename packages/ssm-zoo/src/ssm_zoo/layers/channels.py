r"""What the layers share whose features are systems of their own: S4D and S4.

Glossary
--------
H        features in and out, `d_model`: as many systems of one input and one output
n, s     slots of each: complex states that stand for themselves and their conjugates; n before a surgery, s after
x        state, (batch, H, n) complex
ξ        the state in real coordinates, [Re x; Im x]
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from .._errors import OptionError, ShapeError, UnsupportedError, require
from ..scan import Choice, Moments
from ..scan.lengths import reverse_steps
from .padding import Padding, right_padded

if TYPE_CHECKING:
    from jaxtyping import Complex, Float, Int

_HALF = (torch.float16, torch.bfloat16)


class ChannelLayer(nn.Module, ABC):
    """A layer of independent systems, one for each feature. A subclass says how one direction is run, and by what."""

    D: nn.Parameter
    A_imag: nn.Parameter
    moments: Moments | None = None
    """Where forward passes put the second moments of states and adjoint states; see `gather_moments`."""

    def __init__(self, d_model: int, d_state: int, *, bidirectional: bool, scan: str, scans: tuple[str, ...]) -> None:
        super().__init__()
        require(d_model >= 1, f"got d_model={d_model}, wanted at least 1")
        require(d_state >= 1, f"got d_state={d_state}, wanted at least 1")
        require(scan in scans, f"got scan={scan!r}, wanted one of {', '.join(map(repr, scans))}", OptionError)
        self.d_model, self.bidirectional, self.scan = d_model, bidirectional, scan
        self.D = nn.Parameter(torch.randn(d_model))

    def _finish(self, device: torch.device | str | None, dtype: torch.dtype | None) -> None:
        """Mark the parameters that want no weight decay, for trainers that look at it, and move all of them."""
        for name, parameter in self.named_parameters():
            if not name.startswith("C"):
                parameter._no_weight_decay = True  # type: ignore[attr-defined]
            if not name.startswith(("C", "D")):
                parameter._optim = {"weight_decay": 0.0}  # type: ignore[attr-defined]
        self.to(device=device, dtype=dtype)

    @abstractmethod
    def choose(self, batch: int, length: int, stateful: bool) -> Choice:
        """Return what `scan="auto"` takes, and why."""

    @abstractmethod
    def run(
        self, scan: str, p: Any, x: Tensor, C: Tensor, D: Tensor, state: Tensor | None, lengths: Tensor | None
    ) -> tuple[Tensor, Tensor | None]:
        """Return outputs and last state of one direction; a convolution has no last state."""

    @property
    def d_state(self) -> int:
        """Return the number of slots of each feature."""
        return self.A_imag.shape[1]

    def forward(
        self,
        x: Float[Tensor, "batch length H"],
        state: Complex[Tensor, "batch H n"] | None = None,
        lengths: Int[Tensor, " batch"] | None = None,
        padding: Padding = "right",
        return_state: bool = False,
    ) -> Float[Tensor, "batch length H"] | tuple[Float[Tensor, "batch length H"], Complex[Tensor, "batch H n"]]:
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
        if return_state or state is not None:
            self._need_direction()
        wanted = f"(batch, length, {self.d_model})"
        require(
            x.ndim == 3 and x.shape[-1] == self.d_model, f"got x of shape {tuple(x.shape)}, wanted {wanted}", ShapeError
        )
        x, back = right_padded(x, lengths, padding)
        p, scan = self._raised(), self.scan
        if scan == "auto" or (scan == "fft" and (return_state or state is not None or self.moments is not None)):
            stateful = return_state or state is not None or self.moments is not None
            scan = self.choose(x.shape[0], x.shape[1], stateful).implementation
        y, last = self.run(scan, p, x, p.C, p.D, state, lengths)
        if self.bidirectional:
            z, _ = self.run(scan, p, reverse_steps(x, lengths), p.C2, torch.zeros_like(p.D), None, lengths)
            y = y + reverse_steps(z, lengths)
        y = back(y).to(self.D.dtype)
        return (y, last) if return_state else y  # type: ignore[return-value]

    def step(
        self, x_t: Float[Tensor, "batch H"], state: Complex[Tensor, "batch H n"]
    ) -> tuple[Float[Tensor, "batch H"], Complex[Tensor, "batch H n"]]:
        """Return the output of one step and the state after it."""
        y, state = self(x_t.unsqueeze(1), state, return_state=True)
        return y.squeeze(1), state

    def init_state(self, batch: int) -> Complex[Tensor, "batch H n"]:
        """Return the state at rest."""
        self._need_direction()
        dtype = torch.promote_types(self.D.dtype, torch.float32).to_complex()
        return torch.zeros(batch, self.d_model, self.d_state, dtype=dtype, device=self.D.device)

    def explain(self, batch: int, length: int) -> str:
        """Return which implementation such inputs take, and why."""
        choice: Any = f"{self.scan}: asked for by `scan`"
        if self.scan == "auto":
            choice = self.choose(batch, length, stateful=False)
        return f"{type(self).__name__}({self.extra_repr()}), {batch} x {length} steps on {self.D.device}: {choice}"

    def new_moments(self) -> Moments:
        """Return moments to gather into, of ξ of every feature."""
        return Moments((self.d_model, 2 * self.d_state, 2 * self.d_state), self.D.device)

    @torch.no_grad()
    def second_moment(
        self, inputs: Float[Tensor, "batch length H"], lengths: Int[Tensor, " batch"] | None = None
    ) -> Float[Tensor, "H 2n 2n"]:
        r"""Return $E[\xi \xi^T]$ of every feature over the batch and time, in double precision, from a state at rest.

        Both directions of a bidirectional layer are averaged.

        Parameters
        ----------
        inputs
            Sequences, padded on the right if they have `lengths`.
        lengths
            How many steps of each are real.

        Raises
        ------
        ShapeError
            If the inputs do not fit the layer, or there is nothing to average over.
        """
        wanted = f"(batch, length, {self.d_model}) with at least one step"
        require(
            inputs.ndim == 3 and inputs.shape[-1] == self.d_model and inputs.numel() > 0,
            f"got inputs of shape {tuple(inputs.shape)}, wanted {wanted}",
            ShapeError,
        )
        x, _ = right_padded(inputs.double(), lengths, "right")
        before, self.moments = self.moments, self.new_moments()
        p = self._double()
        scan = self.choose(x.shape[0], x.shape[1], stateful=True).implementation
        try:
            for u in (x, reverse_steps(x, lengths)) if self.bidirectional else (x,):
                self.run(scan, p, u, p.C, p.D, None, lengths)
            return self.moments.states()
        finally:
            self.moments = before

    def _raised(self) -> Any:
        """Return what the parameters are read from: a recurrence in half precision would be of no use."""
        if self.D.dtype not in _HALF:
            return self
        return SimpleNamespace(**{name: value.float() for name, value in self.named_parameters()})

    def _double(self) -> SimpleNamespace:
        return SimpleNamespace(**{name: value.detach().double() for name, value in self.named_parameters()})

    def _need_direction(self) -> None:
        if self.bidirectional:
            msg = "a bidirectional layer has no state to carry on: it reads the sequence from both ends; pass it whole"
            raise UnsupportedError(msg)

    def extra_repr(self) -> str:
        """Return the sizes, for `print(layer)`."""
        direction = ", bidirectional=True" if self.bidirectional else ""
        return f"d_model={self.d_model}, d_state={self.d_state}{direction}"


def as_complex(planes: Tensor) -> Complex[Tensor, "*shape"]:
    """Return what a parameter (..., 2) stands for."""
    return torch.view_as_complex(planes.contiguous())


def log_uniform(count: int, low: float, high: float) -> Float[Tensor, " count"]:
    """Return logarithms of time steps, uniform between those of `low` and `high`.

    Raises
    ------
    OptionError
        Unless 0 < low <= high.
    """
    require(0 < low <= high, f"got dt_min={low} and dt_max={high}, wanted 0 < dt_min <= dt_max")
    a, b = torch.tensor([low, high]).log()
    return a + (b - a) * torch.rand(count)
