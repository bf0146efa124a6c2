r"""What every layer with a diagonal state shares.

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

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from ssm_gramians import Diagonal, InstabilityError, StateSpace

from .._errors import ReductionError, ShapeError, UnsupportedError, require
from ..scan import Implementation, diagonal_scan
from ..scan.diagonal.reference import drive
from ..scan.diagonal.torch import accumulate
from ._surgery import Surgery, Transport, nearest_poles

if TYPE_CHECKING:
    from jaxtyping import Complex, Float

_TILE = 1 << 21  # complex numbers of states held at once while second moments are gathered: 32 MiB


@runtime_checkable
class Reducible(Protocol):
    """A layer whose state can be made smaller while it trains."""

    @property
    def d_state(self) -> int:
        """Return the number of slots."""

    def system(self) -> StateSpace:
        """Return the layer's real map as a paired discrete system."""

    def second_moment(self, inputs: Float[Tensor, "batch length H"]) -> Float[Tensor, "2n 2n"]:
        """Return E[ξ ξᵀ] over the batch and time."""

    def surgery(self, system: StateSpace, left: Any, right: Any) -> Surgery:
        """Return what turns this layer into one with the given system."""


class DiagonalLayer(nn.Module, ABC):
    r"""$x_t = \lambda \odot x_{t-1} + B u_t,\; y_t = g\,\mathrm{Re}(C x_t) + D \odot u_t$.

    A layer says how it stores its poles and matrices; everything else is here. Where a method takes `p`, it reads the
    parameters from it by name: from the layer itself, or from a double-precision copy.
    """

    POLES: ClassVar[tuple[str, ...]]
    """Names of the parameters of shape (n), which move with their pole in a surgery."""
    GAIN: ClassVar[float]
    """The output gain g."""

    D: nn.Parameter

    def __init__(self, d_model: int, d_state: int, *, bidirectional: bool, scan: Implementation) -> None:
        super().__init__()
        require(d_model >= 1, f"got d_model={d_model}, wanted at least 1")
        require(d_state >= 1, f"got d_state={d_state}, wanted at least 1")
        self.d_model, self.bidirectional, self.scan = d_model, bidirectional, scan
        self.D = nn.Parameter(torch.randn(d_model))

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

    def forward(
        self,
        x: Float[Tensor, "batch length H"],
        state: Complex[Tensor, "batch n"] | None = None,
        return_state: bool = False,
    ) -> Float[Tensor, "batch length H"] | tuple[Float[Tensor, "batch length H"], Complex[Tensor, "batch n"]]:
        """Return the outputs, and the last state too if `return_state`.

        Parameters
        ----------
        x
            The inputs.
        state
            The state before the first step: what the last call returned, or `init_state`. Zero if it is not given.
        return_state
            Return the state after the last step too.

        Raises
        ------
        ShapeError, DtypeError
            If the inputs or the state do not fit the layer.
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
        eigenvalues, B, C = self._modes(self)
        forward, *backward = C.split(self.d_model)
        y, last = diagonal_scan(x, eigenvalues, B, forward, state, implementation=self.scan)
        for C in backward:
            y = y + diagonal_scan(x, eigenvalues, B, C, reverse=True, implementation=self.scan)[0]
        y = y + self.D * x
        return (y, last) if return_state else y

    def step(
        self, x_t: Float[Tensor, "batch H"], state: Complex[Tensor, "batch n"]
    ) -> tuple[Float[Tensor, "batch H"], Complex[Tensor, "batch n"]]:
        """Return the output of one step and the state after it."""
        y, state = self(x_t.unsqueeze(1), state, return_state=True)
        return y.squeeze(1), state

    def init_state(self, batch: int) -> Complex[Tensor, "batch n"]:
        """Return the state at rest."""
        if self.bidirectional:
            msg = "a bidirectional layer has no state to start from: it reads the sequence from both ends"
            raise UnsupportedError(msg)
        return torch.zeros(batch, self.d_state, dtype=self.D.dtype.to_complex(), device=self.D.device)

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
    def second_moment(self, inputs: Float[Tensor, "batch length H"]) -> Float[Tensor, "2n 2n"]:
        r"""Return $E[\xi \xi^T]$ over the batch and time, in double precision, from a state at rest.

        Both directions of a bidirectional layer are averaged. The states are never held all at once.

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
        eigenvalues, B, _ = self._modes(self._double())
        directions = (inputs, inputs.flip(1)) if self.bidirectional else (inputs,)
        moment = torch.zeros(2 * self.d_state, 2 * self.d_state, dtype=torch.float64, device=inputs.device)
        for direction in directions:
            for states in _tiles_of_states(direction, eigenvalues, B):
                xi = torch.cat([states.real, states.imag], -1).flatten(0, 1)  # (rows, 2n)
                moment.addmm_(xi.mT, xi)
        return moment / (len(directions) * inputs.shape[0] * inputs.shape[1])

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
        poles, B, C, left, right = self._checked(system, left, right)
        p = self._double()
        nearest = nearest_poles(poles, self.eigenvalues(p))
        placed = self.place(poles, nearest)
        scale = self.input_scale(SimpleNamespace(**placed))
        packed = self.pack(B / scale[:, None], 2 / self.GAIN * C)
        transport = Transport.between(left, right, (self.input_scale(p), scale), nearest)

        def pole(name: str) -> Callable[[Mapping[str, Tensor], int], Tensor]:
            return lambda old, power: transport.poles(old[name], power)

        def matrix(name: str) -> Callable[[Mapping[str, Tensor], int], Tensor]:
            def follow(old: Mapping[str, Tensor], power: int) -> Tensor:
                matrices = self.unpack(SimpleNamespace(**{key: value.double() for key, value in old.items()}))
                return self.pack(*transport.matrices(*matrices, power))[name].to(old[name].dtype)

            return follow

        return Surgery(
            {name: value.to(self.D) for name, value in (placed | packed).items()},
            {name: pole(name) for name in placed} | {name: matrix(name) for name in packed},
        )

    def _checked(self, system: StateSpace, left: Any, right: Any) -> tuple[Tensor, ...]:
        """Return poles, B, C, left and right as complex128 on the layer's device."""
        paired = isinstance(system.A, Diagonal) and system.A.paired and not system.batch_shape
        require(paired and system.is_discrete, f"got {system}, wanted one paired discrete system", ShapeError)
        arrays = [system.A.eigenvalues, system.B, system.C, left, right]
        tensors = [torch.as_tensor(array).to(self.D.device, torch.complex128) for array in arrays]
        s, outputs = system.order // 2, self.d_model * (2 if self.bidirectional else 1)
        shapes = [(s,), (s, self.d_model), (outputs, s), (2 * self.d_state, s), (2 * self.d_state, s)]
        for name, tensor, shape in zip(("poles", "B", "C", "left", "right"), tensors, shapes, strict=True):
            require(
                tuple(tensor.shape) == shape, f"got {name} of shape {tuple(tensor.shape)}, wanted {shape}", ShapeError
            )
            require(
                bool(tensor.isfinite().all()), f"got a NaN or an infinity in {name}, wanted numbers", ReductionError
            )
        worst = tensors[0][tensors[0].abs().argmax()].item()
        if abs(worst) >= 1:
            msg = f"got a pole at {worst}, of modulus {abs(worst)}; wanted all inside the unit circle: pull it in first"
            raise InstabilityError(msg, worst)
        return tuple(tensors)

    def _modes(self, p: Any) -> tuple[Tensor, Tensor, Tensor]:
        """Return λ, B and C of the recurrence."""
        B, C = self.unpack(p)
        return self.eigenvalues(p), self.input_scale(p)[:, None] * B, self.GAIN * C

    def _double(self) -> SimpleNamespace:
        return SimpleNamespace(**{name: value.detach().double() for name, value in self.named_parameters()})

    def extra_repr(self) -> str:
        """Return the sizes, for `print(layer)`."""
        direction = ", bidirectional=True" if self.bidirectional else ""
        return f"d_model={self.d_model}, d_state={self.d_state}{direction}"


def _tiles_of_states(inputs: Tensor, eigenvalues: Tensor, B: Tensor) -> Iterator[Tensor]:
    sequences = 16
    steps = max(1, _TILE // (sequences * len(eigenvalues)))
    for group in inputs.split(sequences):
        state = eigenvalues.new_zeros(len(group), len(eigenvalues))
        for span in group.split(steps, 1):
            states = accumulate(drive(span.to(B.real.dtype), B), eigenvalues, state)
            state = states[:, -1]
            yield states
