"""The definition: one step after the other, with the window of the last inputs as the state."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch.nn.functional import silu

if TYPE_CHECKING:
    from torch import Tensor


def run(
    inputs: Tensor, weight: Tensor, bias: Tensor | None, state: Tensor, lengths: Tensor | None, activate: bool
) -> tuple[Tensor, Tensor]:
    """Loop over the steps."""
    outputs = []
    for t, u in enumerate(inputs.unbind(1)):
        real = torch.ones_like(u, dtype=torch.bool) if lengths is None else (t < lengths)[:, None].expand_as(u)
        window = torch.cat([state, torch.where(real, u, 0)[:, None]], 1)  # (batch, k, d)
        y = (window * weight.mT).sum(1)
        y = y if bias is None else y + bias
        outputs.append(torch.where(real, silu(y) if activate else y, 0))
        state = torch.where(real[:, None], window[:, 1:], state)
    return torch.stack(outputs, 1), state
