r"""How a running average of a layer's parameters follows a cut of the layer.

An average is a layer in its own right, a little away from the one it follows. What it is away by is projected by the
layer's own maps, $z = \text{left}^H \xi$ and $\xi = 2\,\mathrm{Re}(\text{right}\,z)$, so that its slots go on
standing for the same states as the layer's: B and C exactly, and poles to first order,
$\mathrm{diag}(\text{left}^H \delta A\, \text{right})$, since in these slots its state matrix is not quite diagonal.
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, TypeVar, cast

import torch
from torch import Tensor, nn

from ssm_gramians import Diagonal, StateSpace

if TYPE_CHECKING:
    from collections.abc import Mapping

    from jaxtyping import Complex

    Modes = tuple[Complex[Tensor, "*H n"], Complex[Tensor, "*H n m"], Complex[Tensor, "*H p n"]]

_Layer = TypeVar("_Layer", bound=nn.Module)


def with_parameters(layer: _Layer, values: Mapping[str, Tensor]) -> _Layer:
    """Return a layer like this one with other parameters; nothing is copied."""
    twin = copy.copy(layer)
    vars(twin)["_parameters"] = {name: nn.Parameter(value, requires_grad=False) for name, value in values.items()}
    return twin


def modes_of(system: StateSpace) -> Modes:
    """Return the poles, B and C of a diagonal system."""
    return cast(Diagonal, system.A).eigenvalues, system.B, system.C


def moved_average(
    new: Modes,
    old: Modes,
    average: Modes,
    left: Complex[Tensor, "*H 2n s"],
    right: Complex[Tensor, "*H 2n s"],
) -> Modes:
    r"""Return the poles, B and C of an average of the layer, cut as the layer is.

    Parameters
    ----------
    new, old
        Of the layer after its surgery and before it.
    average
        Of the average before.
    left, right
        The maps.
    """
    poles, B, C = (
        now + there - here
        for now, here, there in zip(new, *(_projected(s, left, right) for s in (old, average)), strict=True)
    )
    decays = poles.isfinite() & (poles.abs() < 1)
    return torch.where(decays, poles, new[0]), B, C


def _projected(system: Modes, left: Tensor, right: Tensor) -> Modes:
    eigenvalues, B, C = system
    a, b = eigenvalues.real[..., None], eigenvalues.imag[..., None]
    re, im = right.chunk(2, -2)
    A_right = torch.cat([a * re - b * im, b * re + a * im], -2)
    # A real slot has leftᴴ right = 1/2, since ξ = 2 Re(right z) counts it twice; one that nothing moves has 0.
    poles = (left.conj() * A_right).sum(-2) / (left.conj() * right).sum(-2)
    B, C = torch.cat([B.real, B.imag], -2).to(left), torch.cat([2 * C.real, -2 * C.imag], -1).to(right)
    return torch.where(poles.isfinite(), poles, 0), left.mH @ B, C @ right
