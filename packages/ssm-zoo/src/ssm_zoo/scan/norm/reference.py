"""The definition, in Torch's operations."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch.nn.functional import silu

if TYPE_CHECKING:
    from torch import Tensor


def run(inputs: Tensor, gate: Tensor, weight: Tensor, groups: int, eps: float, norm_before_gate: bool) -> Tensor:
    """Gate and normalise, in the order asked for."""
    if norm_before_gate:
        return _normalised(inputs, groups, eps) * weight * silu(gate)
    return _normalised(inputs * silu(gate), groups, eps) * weight


def _normalised(v: Tensor, groups: int, eps: float) -> Tensor:
    v = v.unflatten(-1, (groups, -1))
    return (v * (v.square().mean(-1, keepdim=True) + eps).rsqrt()).flatten(-2)
