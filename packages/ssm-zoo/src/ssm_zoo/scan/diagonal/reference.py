"""The definition: one step after the other, as the recurrence is written."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from torch import Tensor


def run(
    inputs: Tensor, eigenvalues: Tensor, B: Tensor, C: Tensor, state: Tensor, reverse: bool
) -> tuple[Tensor, Tensor]:
    """Loop over the steps."""
    states = []
    # unbind, not indexing: the gradient of `drive[:, t]` is a full (batch, length, n) tensor of zeros at every step
    steps = drive(inputs, B).unbind(1)
    for step in reversed(steps) if reverse else steps:
        state = eigenvalues * state + step
        states.append(state)
    return read(torch.stack(states[::-1] if reverse else states, 1), C), state


def drive(inputs: Tensor, B: Tensor) -> Tensor:
    """Return B u as one real product: half the work of a complex product with a real argument."""
    planes = inputs @ torch.view_as_real(B.mT.resolve_conj()).flatten(-2)  # (batch, length, 2n), re and im alternating
    return torch.view_as_complex(planes.unflatten(-1, (-1, 2)))


def read(states: Tensor, C: Tensor) -> Tensor:
    """Return Re(C x) as one real product, with no imaginary part to throw away."""
    return torch.view_as_real(states).flatten(-2) @ torch.view_as_real(C.conj().resolve_conj()).flatten(-2).mT
