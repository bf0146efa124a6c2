"""The definition: one step after the other, as the recurrence is written."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from torch import Tensor


def run(
    inputs: Tensor, eigenvalues: Tensor, C: Tensor, D: Tensor, state: Tensor, lengths: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Loop over the steps; a sequence that has ended keeps its state."""
    outputs = []
    # unbind, not indexing: the gradient of `inputs[:, t]` is a full tensor of zeros at every step
    for t, u in enumerate(inputs.unbind(1)):
        after = eigenvalues * state + u[..., None]
        state = after if lengths is None else torch.where((t < lengths)[:, None, None], after, state)
        outputs.append((C * state).sum(-1).real + D * u)
    return torch.stack(outputs, 1), state
