r"""What the layers share whose features are systems of their own: S4D and S4.

Glossary
--------
H        features in and out, `d_model`: as many systems of one input and one output
n, s     slots of each: complex states that stand for themselves and their conjugates; n before a surgery, s after
x        state, (batch, H, n) complex
ξ        the state in real coordinates, [Re x; Im x]
"""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from .._errors import OptionError, require
from ..scan import Choice, Moments
from ..scan.lengths import reverse_steps
from .linear import LinearLayer

if TYPE_CHECKING:
    from jaxtyping import Complex, Float


class ChannelLayer(LinearLayer):
    """A layer of independent systems, one for each feature. A subclass says how one direction is run, and by what."""

    A_imag: nn.Parameter

    def __init__(self, d_model: int, d_state: int, *, bidirectional: bool, scan: str, scans: tuple[str, ...]) -> None:
        super().__init__(d_model, d_state, bidirectional=bidirectional, scan=scan)
        require(scan in scans, f"got scan={scan!r}, wanted one of {', '.join(map(repr, scans))}", OptionError)

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

    def _run(
        self, x: Tensor, state: Tensor | None, lengths: Tensor | None, *, stateful: bool
    ) -> tuple[Tensor, Tensor | None]:
        p, scan, stateful = self._raised(), self.scan, stateful or self.moments is not None
        if scan == "auto" or (scan == "fft" and stateful):
            scan = self.choose(x.shape[0], x.shape[1], stateful).implementation
        y, last = self.run(scan, p, x, p.C, p.D, state, lengths)
        if self.bidirectional:
            z, _ = self.run(scan, p, reverse_steps(x, lengths), p.C2, torch.zeros_like(p.D), None, lengths)
            y = y + reverse_steps(z, lengths)
        return y.to(self.D.dtype), last

    def init_state(self, batch: int) -> Complex[Tensor, "batch H n"]:
        """Return the state at rest."""
        self._need_direction()
        return torch.zeros(batch, self.d_model, self.d_state, dtype=self._state_dtype(), device=self.D.device)

    def _chosen(self, batch: int, length: int) -> Choice:
        return self.choose(batch, length, stateful=False)

    def new_moments(self) -> Moments:
        """Return moments to gather into, of ξ of every feature."""
        return Moments((self.d_model, 2 * self.d_state, 2 * self.d_state), self.D.device)

    def _second_moment(self, inputs: Tensor, lengths: Tensor | None) -> Tensor:
        x = inputs.double()
        before, self.moments = self.moments, self.new_moments()
        p = self._double()
        scan = self.choose(x.shape[0], x.shape[1], stateful=True).implementation
        try:
            for u in (x, reverse_steps(x, lengths)) if self.bidirectional else (x,):
                self.run(scan, p, u, p.C, p.D, None, lengths)
            return self.moments.states()
        finally:
            self.moments = before


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
