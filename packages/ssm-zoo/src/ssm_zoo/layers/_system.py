r"""What a layer with a diagonal state is: the system behind its parameters, and how a reducer changes it.

Glossary
--------
H        features in and out, `d_model`
n, s     slots: complex states, each standing for itself and its conjugate; `d_state`. n before a surgery, s after it
x        state, (batch, n) complex
ξ        the state in real coordinates, [Re x; Im x]
λ        discrete eigenvalues, (n)
b        input scale: B of the recurrence is b ⊙ (B as stored), row by row
g        output gain: y = g Re(C x) + D ⊙ u; 1 for LRU, 2 for S5
"""

from __future__ import annotations

from abc import abstractmethod
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor, nn

from ssm_gramians import Diagonal, StateSpace

from .._errors import ShapeError, require
from ..scan import Moments, diagonal_scan
from ..scan.lengths import reverse_steps
from ._surgery import Surgery, Transport, average_of, checked_maps, checked_system, moments_of, nearest_poles
from .linear import LinearLayer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from jaxtyping import Complex

_TILE = 1 << 21  # complex numbers of states held at once while second moments are gathered: 32 MiB


class DiagonalSystem(LinearLayer):
    r"""The parameters of $x_t = \lambda \odot x_{t-1} + B u_t,\; y_t = g\,\mathrm{Re}(C x_t) + D \odot u_t$.

    A layer says how it stores its poles and matrices; everything else is here. Where a method takes `p`, it reads the
    parameters from it by name: from the layer itself, or from a double-precision copy.
    """

    POLES: ClassVar[tuple[str, ...]]
    """Names of the parameters of shape (n), which move with their pole in a surgery."""
    MATRICES: ClassVar[tuple[str, ...]]
    """Names of the parameters of B and C: each re and im, or each one with both side by side in its last axis."""
    GAIN: ClassVar[float]
    """The output gain g."""

    @abstractmethod
    def eigenvalues(self, p: Any) -> Complex[Tensor, " n"]:
        """Return λ."""

    @abstractmethod
    def input_scale(self, p: Any) -> Complex[Tensor, " n"]:
        """Return b."""

    @abstractmethod
    def unpack(self, p: Any) -> tuple[Complex[Tensor, "n H"], Complex[Tensor, "kH n"]]:
        """Return B and C as they are stored; C of a bidirectional layer is [forward; backward]."""

    @abstractmethod
    def pack(self, B: Complex[Tensor, "n H"], C: Complex[Tensor, "kH n"]) -> dict[str, Tensor]:
        """Return the parameters that hold B and C: the inverse of `unpack`."""

    @abstractmethod
    def place(self, eigenvalues: Complex[Tensor, " s"], nearest: Tensor) -> dict[str, Tensor]:
        """Return the parameters of `POLES` for these eigenvalues; `nearest` are the indices of the closest old ones."""

    @property
    def d_state(self) -> int:
        """Return the number of slots."""
        return getattr(self, self.POLES[0]).shape[0]

    def new_moments(self) -> Moments:
        """Return moments to gather into, of ξ."""
        return Moments((2 * self.d_state, 2 * self.d_state), self.D.device)

    @torch.no_grad()
    def system(self) -> StateSpace:
        r"""Return $(\Lambda, B, \tfrac{g}{2} C, D)$, paired and discrete, in double precision.

        The layer reads its state after the input has entered, a state space before: $C(zI - \Lambda)^{-1} B$ is the
        layer's map without D, one step late. Gramians, Hankel values and errors are the same for both, and D stays.
        A bidirectional layer has the outputs [forward; backward], D counted with the forward ones; dt is one step.
        """
        p = self._double()
        eigenvalues, B, C = self._modes(p)
        D = nn.functional.pad(torch.diag(p.D), (0, 0, 0, C.shape[0] - self.d_model))
        return StateSpace(Diagonal(eigenvalues, paired=True), B, C / 2, D, dt=1.0)

    @torch.no_grad()
    def load_system(self, system: StateSpace) -> None:
        """Become the layer of this system: the inverse of `system`, whatever the number of slots.

        The parameters are replaced, and an optimiser does not know the new ones; a reducer takes care of that.

        Parameters
        ----------
        system
            Paired and discrete, of the form that `system` returns; B and C may be scaled freely against each other.

        Raises
        ------
        ShapeError, ReductionError
            If it does not fit the layer, or holds a NaN or an infinity.
        InstabilityError
            If a pole is on the unit circle or outside.
        """
        poles, B, C = checked_system(self, system)
        D = torch.as_tensor(system.D).to(self.D)
        wanted = nn.functional.pad(torch.diag(D.diagonal()), (0, 0, 0, len(C) - self.d_model))
        require(torch.equal(D, wanted), "got a D with entries off its diagonal, wanted feedthrough only", ShapeError)
        values = self._placed(poles, B, C) | {"D": D.diagonal().clone()}
        self._replace(values)

    def _second_moment(self, inputs: Tensor, lengths: Tensor | None) -> Tensor:
        steps = torch.full(inputs.shape[:1], inputs.shape[1], device=inputs.device) if lengths is None else lengths
        eigenvalues, B, _ = self._modes(self._double())
        unread, moments = B.new_empty(0, self.d_state), self.new_moments()
        for u in (inputs, reverse_steps(inputs, steps)) if self.bidirectional else (inputs,):
            for tile, counts in _tiles(u.double(), steps, self.d_state):
                state = None
                for span, count in zip(tile, counts, strict=True):
                    _, state = diagonal_scan(span, eigenvalues, B, unread, state, lengths=count, moments=moments)
        return moments.states()

    @torch.no_grad()
    def surgery(self, system: StateSpace, left: Any, right: Any) -> Surgery:
        r"""Return what turns this layer into one with the given system.

        A matrix entry that moves with the basis hands its moments on exactly; the parameters of a pole start with no
        first moment and the second moment of the nearest old pole (or its conjugate).

        Parameters
        ----------
        system
            Paired and discrete, with s slots; B and C may be scaled freely against each other.
        left, right
            The maps $z = \text{left}^H \xi$ and $\xi = 2\,\mathrm{Re}(\text{right}\,z)$ between the old real
            coordinates and the new slots, (2n, s) complex.

        Raises
        ------
        ShapeError, ReductionError
            If the arguments do not fit the layer, or hold a NaN or an infinity.
        InstabilityError
            If a pole is on the unit circle or outside.
        """
        poles, B, C = checked_system(self, system)
        left, right = checked_maps(self, left, right, len(poles))
        p, values = self._double(), self._placed(poles, B, C)
        scales = self.input_scale(p), self.input_scale(SimpleNamespace(**values))
        transport = Transport.between(left, right, scales, nearest_poles(poles, self.eigenvalues(p)))
        parameters = {name: value.to(self.D) for name, value in values.items()}
        average = average_of(self, (poles, B, C), left, right)
        return Surgery(parameters, moments_of(self, transport, values), average=average)

    def _placed(self, poles: Tensor, B: Tensor, C: Tensor) -> dict[str, Tensor]:
        """Return the parameters of a system, in double precision."""
        placed = self.place(poles, nearest_poles(poles, self.eigenvalues(self._double())))
        scale = self.input_scale(SimpleNamespace(**placed))
        return placed | self.pack(B / scale[:, None], 2 / self.GAIN * C)

    def _modes(self, p: Any) -> tuple[Tensor, Tensor, Tensor]:
        """Return λ, B and C of the recurrence."""
        B, C = self.unpack(p)
        return self.eigenvalues(p), self.input_scale(p)[:, None] * B, self.GAIN * C


def _tiles(inputs: Tensor, steps: Tensor, n: int) -> Iterator[tuple[tuple[Tensor, ...], list[Tensor]]]:
    """Give groups of sequences, each in spans of time with the real steps in them."""
    sequences = 16
    width = max(1, _TILE // (sequences * n))
    for group, lengths in zip(inputs.split(sequences), steps.split(sequences), strict=True):
        spans = group.split(width, 1)
        yield spans, [(lengths - k * width).clamp(0, span.shape[1]) for k, span in enumerate(spans)]
