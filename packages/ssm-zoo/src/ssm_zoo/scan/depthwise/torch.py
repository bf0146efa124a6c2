"""The convolution as a sum of shifted products, which a compiler fuses; `conv1d` is slow for channels by themselves."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch.nn.functional import silu

from ssm_zoo.scan.lengths import blank, take_steps

if TYPE_CHECKING:
    from torch import Tensor


def run(
    inputs: Tensor, weight: Tensor, bias: Tensor | None, state: Tensor, lengths: Tensor | None, activate: bool
) -> tuple[Tensor, Tensor]:
    """Add up one product for each tap."""
    length, window = inputs.shape[1], state.shape[1]
    if lengths is not None:
        inputs = blank(inputs, lengths)
    rows = torch.cat([state, inputs], 1)  # (batch, k - 1 + length, d)
    y = torch.zeros((), dtype=rows.dtype, device=rows.device) if bias is None else bias
    for k, tap in enumerate(weight.unbind(1)):
        y = y + tap * rows[:, k : k + length]
    y = silu(y) if activate else y
    if lengths is None:
        return y, rows[:, length:].clone()
    last = take_steps(rows, lengths[:, None] + torch.arange(window, device=rows.device))
    return blank(y, lengths), last
