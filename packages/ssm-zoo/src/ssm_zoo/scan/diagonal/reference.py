"""The definition: one step after the other, as the recurrence is written."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from ssm_zoo.scan.lengths import blank, reverse_steps, state_after
from ssm_zoo.scan.moments import second_moment, tapped

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor


def run(
    inputs: Tensor,
    eigenvalues: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor | None,
    state: Tensor,
    reverse: bool,
    lengths: Tensor | None,
    tap: Tensor | None,
) -> tuple[Tensor, ...]:
    """Loop over the steps."""
    return compute(loop, inputs, eigenvalues, B, C, D, state, reverse, lengths, tap)


def compute(
    accumulate: Callable[[Tensor, Tensor, Tensor], Tensor],
    inputs: Tensor,
    eigenvalues: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor | None,
    state: Tensor,
    reverse: bool,
    lengths: Tensor | None,
    tap: Tensor | None,
) -> tuple[Tensor, ...]:
    r"""Do all around `accumulate`, which returns every $x_t = \lambda \odot x_{t-1} + d_t$."""
    drives = drive(reverse_steps(inputs, lengths) if reverse else inputs, B)
    if tap is not None:
        drives = tapped(drives, tap)
    if lengths is not None:
        drives = blank(drives, lengths)  # the inputs are zero there already, but not the adjoint states
    states = accumulate(drives, eigenvalues, state)
    last = state_after(states, lengths, state)
    outputs = read(reverse_steps(states, lengths) if reverse else states, C)
    outputs = outputs if D is None else outputs + D * inputs
    if tap is None:
        return outputs, last
    return outputs, last, second_moment(states if lengths is None else blank(states, lengths))


def loop(drives: Tensor, eigenvalues: Tensor, state: Tensor) -> Tensor:
    r"""Return every $x_t = \lambda \odot x_{t-1} + d_t$, (batch, length, n)."""
    states = []
    # unbind, not indexing: the gradient of `drives[:, t]` is a full (batch, length, n) tensor of zeros at every step
    for step in drives.unbind(1):
        state = eigenvalues * state + step
        states.append(state)
    return torch.stack(states, 1)


def drive(inputs: Tensor, B: Tensor) -> Tensor:
    """Return B u as one real product: half the work of a complex product with a real argument."""
    planes = inputs @ torch.view_as_real(B.mT.resolve_conj()).flatten(-2)  # (batch, length, 2n), re and im alternating
    return torch.view_as_complex(planes.unflatten(-1, (-1, 2)))


def read(states: Tensor, C: Tensor) -> Tensor:
    """Return Re(C x) as one real product, with no imaginary part to throw away."""
    return torch.view_as_real(states).flatten(-2) @ torch.view_as_real(C.conj().resolve_conj()).flatten(-2).mT
