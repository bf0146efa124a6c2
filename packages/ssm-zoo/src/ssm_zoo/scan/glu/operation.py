"""`residual_glu`: what it takes, and which implementation takes it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from ssm_zoo._errors import ShapeError, require
from ssm_zoo.scan._operation import Implementation, Operation
from ssm_zoo.scan.noise import SPARE

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor

    from ssm_zoo.scan.noise import Noise

_OPERATION = Operation("glu", ("reference", "numba"))

NARROW = 64
"""The most features that the fused kernel takes by itself: a product of wider matrices is what BLAS is for."""


def residual_glu(
    residual: Float[Tensor, "*batch d"],
    inputs: Float[Tensor, "*batch d"],
    weight: Float[Tensor, "2*d d"],
    bias: Float[Tensor, " 2*d"],
    noise: Noise | None = None,
    *,
    implementation: Implementation = "auto",
) -> Float[Tensor, "*batch d"]:
    r"""Return $x + v \odot \sigma(g)$ with $(v, g) = W \, \mathrm{GELU}(h) + b$.

    Parameters
    ----------
    residual
        x.
    inputs
        h.
    weight, bias
        W and b: the upper half gives v, the lower half g.
    noise
        Of `Noise.draw`: two rows of as many numbers as there are inputs, for a dropout after the GELU and one of what
        is added to x.
    implementation
        `reference` is made of Torch's operations, for every device; `numba` passes over memory once, for the CPU, and
        cannot be differentiated twice; `auto` takes that for up to 64 features if it is installed.

    Returns
    -------
    outputs
        (..., d).

    Raises
    ------
    ShapeError
        If the arguments do not fit together.
    OptionError, ImplementationNotAvailableError
        If there is no such implementation, or it cannot run here.
    """
    d = inputs.shape[-1]
    fits = residual.shape == inputs.shape and weight.shape == (2 * d, d) and bias.shape == (2 * d,)
    got = ", ".join(str(tuple(tensor.shape)) for tensor in (residual, inputs, weight, bias))
    wanted = "residual and inputs must be (..., d), weight (2d, d) and bias (2d,)"
    require(fits, f"{wanted}, got {got}", ShapeError)
    if noise is not None:
        enough = noise.bits.ndim == 2 and noise.bits.shape[0] == 2 and noise.bits.shape[1] >= inputs.numel() + SPARE
        wanted = f"(2, {inputs.numel() + SPARE} or more)"
        require(enough, f"the noise must be {wanted}, got {tuple(noise.bits.shape)}: take Noise.draw", ShapeError)
    if implementation == "auto" and (d > NARROW or not _alike(residual, inputs, weight, bias)):
        implementation = "reference"
    rows = inputs.reshape(1, -1, d)
    run = _OPERATION.load("reference" if 0 in inputs.shape else implementation, rows)
    return run(residual.reshape(rows.shape), rows, weight, bias, noise).view(inputs.shape)


def _alike(first: Tensor, *others: Tensor) -> bool:
    """Say whether all is in the same precision, single or double, and stays there."""
    plain = first.dtype in (torch.float32, torch.float64) and not torch.is_autocast_enabled(first.device.type)
    return plain and all(other.dtype == first.dtype for other in others)
