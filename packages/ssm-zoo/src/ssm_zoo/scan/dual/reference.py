"""The definition: one step after the other, as the recurrence is written."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from ssm_zoo.scan.lengths import blank, real_steps
from ssm_zoo.scan.moments import second_moment

if TYPE_CHECKING:
    from torch import Tensor


def run(
    x: Tensor,
    dt: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor | None,
    state: Tensor,
    lengths: Tensor | None,
    tap: Tensor | None,
) -> tuple[Tensor, ...]:
    """Loop over the steps; heads are (groups, heads of the group) throughout."""
    x, dt, B, C = (each if lengths is None else blank(each, lengths) for each in (x, dt, B, C))
    real = x.new_ones(x.shape[:2], dtype=torch.bool) if lengths is None else real_steps(lengths, x.shape[1])
    g = B.shape[2]
    state, decays, drives = state.unflatten(1, (g, -1)), (dt * A).exp(), dt[..., None] * x
    moment = state.new_zeros(g, *[state.shape[-1]] * 2, dtype=torch.float64)
    outputs = []
    steps = zip(*(tensor.unbind(1) for tensor in (drives, decays, B, C, real)), strict=True)
    for drive, decay, B_t, C_t, real_t in steps:
        # (b, g, r, P, N)
        added = drive.unflatten(1, (g, -1))[..., None] * B_t[:, :, None, None]
        if tap is not None:
            added = _Tapped.apply(added, tap, real_t)
        state = decay.unflatten(1, (g, -1))[..., None, None] * state + added
        outputs.append((state @ C_t[:, :, None, :, None]).squeeze(-1).flatten(1, 2))
        if tap is not None:
            moment = moment + _moment(state, real_t)
    y = torch.stack(outputs, 1)
    y = y if D is None else y + D * x
    last = state.flatten(1, 2)
    return (y, last) if tap is None else (y, last, moment)


class _Tapped(torch.autograd.Function):
    """The drive of a step as it is: its gradient is the adjoint state."""

    @staticmethod
    def forward(ctx, added, tap, real):
        ctx.save_for_backward(real)
        return added.view_as(added)

    @staticmethod
    def backward(ctx, adjoint):
        return adjoint, _moment(adjoint, *ctx.saved_tensors), None


def _moment(states: Tensor, real: Tensor) -> Tensor:
    """Return the sum over the real sequences and all rows of a group, (g, N, N)."""
    rows = torch.where(real[:, None, None, None, None], states, 0).transpose(0, 1)  # (g, b, r, P, N)
    return torch.stack([second_moment(group) for group in rows])
