"""`gated_norm`: what it takes, and which implementation takes it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from ssm_zoo._errors import ShapeError, require
from ssm_zoo.scan._operation import Implementation, Operation

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor

_OPERATION = Operation("norm", ("reference", "numba"))


def gated_norm(
    inputs: Float[Tensor, "batch length d"],
    gate: Float[Tensor, "batch length d"],
    weight: Float[Tensor, " d"],
    *,
    groups: int = 1,
    eps: float = 1e-5,
    norm_before_gate: bool = False,
    implementation: Implementation = "auto",
) -> Float[Tensor, "batch length d"]:
    r"""Return $w \odot v / \sqrt{\mathrm{mean}(v^2) + \epsilon}$ with $v = u \odot \mathrm{silu}(z)$.

    Parameters
    ----------
    inputs, gate
        u and z. Half precision is raised to the precision of the weight.
    weight
        w, float32 or float64.
    groups
        Groups of neighbouring channels, of which each is normalised by itself.
    eps
        Added to the mean square.
    norm_before_gate
        Normalise u and multiply with silu(z) last.
    implementation
        `reference` is made of Torch's operations, for every device; `numba` passes over memory once, for the CPU, and
        cannot be differentiated twice; `auto` takes that if it is installed and there is more than one step.

    Returns
    -------
    outputs
        In the precision of the weight.

    Raises
    ------
    ShapeError
        If the arguments do not fit together.
    OptionError, ImplementationNotAvailableError
        If there is no such implementation, or it cannot run here.
    """
    d = weight.shape[-1]
    fits = inputs.ndim == 3 and inputs.shape == gate.shape and inputs.shape[2] == d and weight.ndim == 1
    got = f"{tuple(inputs.shape)}, {tuple(gate.shape)} and {tuple(weight.shape)}"
    require(fits, f"inputs and gate must be (batch, length, d) and weight (d,), got {got}", ShapeError)
    require(groups >= 1 and d % groups == 0, f"got {groups=} for {d} channels, wanted a divisor", ShapeError)
    run = _OPERATION.load("reference" if 0 in inputs.shape else implementation, inputs)
    with torch.autocast(inputs.device.type, enabled=False):
        return run(inputs.to(weight.dtype), gate.to(weight.dtype), weight, groups, eps, norm_before_gate)
