"""Where the eigenvalues of S4D start, and the exponential of short steps."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, TypeAlias

import torch

from .._errors import require
from .hippo import normal_plus_low_rank

if TYPE_CHECKING:
    from jaxtyping import Complex
    from torch import Tensor

Init: TypeAlias = Literal["legs", "lin", "inv", "quad", "real"]


def start(init: str, n: int) -> Complex[Tensor, " n"]:
    """Return the eigenvalues that a layer starts with."""
    k = torch.arange(n, dtype=torch.float64)
    if init == "real":
        return torch.complex(-1 - k, 0 * k)
    if init == "legs":
        return normal_plus_low_rank("legs", n).eigenvalues
    frequencies = {
        "lin": torch.pi * k,
        "inv": 2 * n / torch.pi * (2 * n / (2 * k + 1) - 1),
        "quad": (2 * k + 1).square() / torch.pi,
    }
    require(init in frequencies, f"got {init=}, wanted one of 'legs', 'lin', 'inv', 'quad', 'real'")
    return torch.complex(torch.full_like(k, -0.5), frequencies[init])


def expm1(z: Complex[Tensor, "*shape"]) -> Complex[Tensor, "*shape"]:
    """Return exp(z) − 1 without cancellation: steps are often a thousandth of the time constants."""
    real = torch.expm1(z.real) * z.imag.cos() - 2 * (z.imag / 2).sin().square()
    return torch.complex(real, z.real.exp() * z.imag.sin())
