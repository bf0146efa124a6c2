r"""How parameters and optimiser moments follow a change of the state's coordinates.

A surgery knows the new slots by two maps, $z = \text{left}^H \xi$ and $\xi = 2\,\mathrm{Re}(\text{right}\,z)$, with
$\xi = [\mathrm{Re}\,x; \mathrm{Im}\,x]$. In real coordinates these are $\zeta = L \xi$ and $\xi = R \zeta$. The loss
sees the new matrices as it would see the old ones $B_{old} = R B$ and $C_{old} = C L$; so gradients, which are
covectors, move by the transposes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ssm_gramians import Diagonal, InstabilityError, StateSpace

from .._errors import ReductionError, ShapeError, require
from ._averages import modes_of, moved_average, with_parameters

if TYPE_CHECKING:
    from jaxtyping import Complex, Float, Int

    from ._averages import Modes
    from ._system import DiagonalSystem
    from .s4d import S4D


@dataclass(frozen=True)
class Surgery:
    r"""New parameters, and for each of them how an optimiser's moments of the old ones become its own.

    Parameters
    ----------
    parameters
        The new value of each resized parameter, by its name in the layer; None for one that there is no more. One that
        is registered as None, and has no moments, begins to be.
    moments
        By the same names: `moments[name](old, power)` is the moment of the new parameter. `old` maps the names of all
        resized parameters to their old moments, since the real and imaginary part of a matrix mix when a complex basis
        changes. Power 1 is a first moment, which moves like a gradient: exactly. Power 2 is a second moment; it moves
        by the squared matrix, as if the entries of the gradient were uncorrelated.
    attributes
        Other attributes that change, by their dotted names: the sizes that a module keeps beside its weight.
    average
        `average(old)` returns what becomes of a running average of the layer: `old` maps the names of all its
        parameters to their averages, and those of resized ones come back, None as in `parameters`. Without it, as when
        S4 becomes another layer, the averages of resized parameters begin anew from the new parameters.
    """

    parameters: Mapping[str, Tensor | None]
    moments: Mapping[str, Callable[[Mapping[str, Tensor], int], Tensor]]
    attributes: Mapping[str, Any] = field(default_factory=dict)
    average: Callable[[Mapping[str, Tensor]], Mapping[str, Tensor | None]] | None = None


@dataclass(frozen=True)
class Transport:
    """The maps of moments: of B from the left, of C from the right, both in planes [Re; Im]; and of pole parameters.

    Parameters
    ----------
    inputs, outputs
        The matrices, (2s, 2n).
    nearest
        For each new pole the index of the closest old one.
    """

    inputs: Float[Tensor, "2s 2n"]
    outputs: Float[Tensor, "2s 2n"]
    nearest: Int[Tensor, " s"]

    @classmethod
    def between(
        cls,
        left: Complex[Tensor, "2n s"],
        right: Complex[Tensor, "2n s"],
        scales: tuple[Complex[Tensor, " n"], Complex[Tensor, " s"]],
        nearest: Int[Tensor, " s"],
    ) -> Transport:
        """Return the maps for matrices that are stored before the input scales b, the old ones and the new."""
        L = torch.cat([left.real.mT, -left.imag.mT])  # ζ = L ξ
        R = 2 * torch.cat([right.real, -right.imag], 1)  # ξ = R ζ
        old, new = (scale.to(torch.complex128) for scale in scales)
        R = _scale_rows(_scale_rows(R.mT, new.conj()).mT, 1 / old)  # times new from the right, over old from the left
        return cls(R.mT, _conjugated(L), nearest)

    def matrices(
        self, B: Complex[Tensor, "n H"], C: Complex[Tensor, "p n"], power: int
    ) -> tuple[Complex[Tensor, "s H"], Complex[Tensor, "p s"]]:
        """Return the moments of the new B and C; real and imaginary parts are those of the parameters' parts."""
        B_planes = self.inputs**power @ torch.cat([B.real, B.imag])
        C_planes = torch.cat([C.real, C.imag], 1) @ (self.outputs**power).mT
        return torch.complex(*B_planes.chunk(2)), torch.complex(*C_planes.chunk(2, 1))

    def poles(self, old: Float[Tensor, " n"], power: int) -> Float[Tensor, " s"]:
        """Return the moment of a pole's parameter: none of the first kind, of the second that of the nearest pole."""
        return old[self.nearest] if power == 2 else torch.zeros_like(old[self.nearest])


def nearest_poles(new: Complex[Tensor, " s"], old: Complex[Tensor, " n"]) -> Int[Tensor, " s"]:
    """Return for each new pole the index of the closest old one, conjugates counted too."""
    return torch.minimum((new[:, None] - old).abs(), (new[:, None] - old.conj()).abs()).argmin(1)


def moments_of(
    layer: DiagonalSystem, transport: Transport, names: Iterable[str]
) -> dict[str, Callable[[Mapping[str, Tensor], int], Tensor]]:
    """Return by parameter how its moments follow the surgery; see `Surgery`."""

    def pole(name: str) -> Callable[[Mapping[str, Tensor], int], Tensor]:
        return lambda old, power: transport.poles(old[name], power)

    def matrix(name: str) -> Callable[[Mapping[str, Tensor], int], Tensor]:
        def follow(old: Mapping[str, Tensor], power: int) -> Tensor:
            matrices = layer.unpack(SimpleNamespace(**{key: value.double() for key, value in old.items()}))
            return layer.pack(*transport.matrices(*matrices, power))[name].to(old[name].dtype)

        return follow

    return {name: pole(name) if name in layer.POLES else matrix(name) for name in names}


def average_of(
    layer: DiagonalSystem | S4D, new: Modes, left: Tensor, right: Tensor
) -> Callable[[Mapping[str, Tensor]], dict[str, Tensor]]:
    """Return how an average of the layer follows the surgery; see `Surgery`."""

    def follow(old: Mapping[str, Tensor]) -> dict[str, Tensor]:
        twin = with_parameters(layer, old)
        return twin._placed(*moved_average(new, modes_of(layer.system()), modes_of(twin.system()), left, right))

    return follow


def checked_system(layer: DiagonalSystem, system: StateSpace) -> tuple[Tensor, Tensor, Tensor]:
    """Return poles, B and C as complex128 on the layer's device; raise if they do not fit it or do not decay."""
    paired = isinstance(system.A, Diagonal) and system.A.paired and not system.batch_shape
    require(paired and system.is_discrete, f"got {system}, wanted one paired discrete system", ShapeError)
    s, outputs = system.order // 2, layer.d_model * (2 if layer.bidirectional else 1)
    poles = _checked(layer, "poles", system.A.eigenvalues, (s,))
    B, C = _checked(layer, "B", system.B, (s, layer.d_model)), _checked(layer, "C", system.C, (outputs, s))
    worst = poles[poles.abs().argmax()].item()
    if abs(worst) >= 1:
        msg = f"got a pole at {worst}, of modulus {abs(worst)}; wanted all inside the unit circle: pull it in first"
        raise InstabilityError(msg, worst)
    return poles, B, C


def checked_maps(layer: DiagonalSystem, left: Any, right: Any, s: int) -> tuple[Tensor, Tensor]:
    """Return both maps as complex128 on the layer's device; raise if they do not fit it."""
    shape = (2 * layer.d_state, s)
    return _checked(layer, "left", left, shape), _checked(layer, "right", right, shape)


def _checked(layer: DiagonalSystem, name: str, array: Any, shape: tuple[int, ...]) -> Tensor:
    tensor = torch.as_tensor(array).to(layer.D.device, torch.complex128)
    require(tuple(tensor.shape) == shape, f"got {name} of shape {tuple(tensor.shape)}, wanted {shape}", ShapeError)
    require(bool(tensor.isfinite().all()), f"got a NaN or an infinity in {name}, wanted numbers", ReductionError)
    return tensor


def _scale_rows(planes: Tensor, scale: Tensor) -> Tensor:
    """Return scale ⊙ X, both in planes: [Re X; Im X] becomes that of the product."""
    real, imag = planes.chunk(2)
    a, b = scale.real[:, None], scale.imag[:, None]
    return torch.cat([a * real - b * imag, b * real + a * imag])


def _conjugated(L: Tensor) -> Tensor:
    """Return S L S with S = diag(I, −I): C acts in real coordinates as [Re C, −Im C]."""
    rows, columns = (torch.ones(size, dtype=L.dtype, device=L.device) for size in L.shape)
    rows[len(rows) // 2 :], columns[len(columns) // 2 :] = -1, -1
    return rows[:, None] * L * columns
