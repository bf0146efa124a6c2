"""The definition, in Torch's operations."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch.nn.functional import gelu, linear

if TYPE_CHECKING:
    from torch import Tensor

    from ssm_zoo.scan.noise import Noise


def run(residual: Tensor, inputs: Tensor, weight: Tensor, bias: Tensor, noise: Noise | None) -> Tensor:
    """Apply one after the other."""
    u = gelu(inputs)
    value, gate = linear(u if noise is None else noise.drop(0, u), weight, bias).chunk(2, dim=-1)
    y = value * torch.sigmoid(gate)
    return residual + (y if noise is None else noise.drop(1, y))
