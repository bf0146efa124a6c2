"""The definition: one step after the other, as the recurrence is written."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch.nn.functional import silu, softplus

from ssm_zoo.scan.moments import second_moment, tapped

if TYPE_CHECKING:
    from torch import Tensor


def run(
    u: Tensor,
    dt: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    state: Tensor,
    D: Tensor | None,
    z: Tensor | None,
    dt_bias: Tensor | None,
    positive: bool,
    lengths: Tensor | None,
    tap: Tensor | None,
) -> tuple[Tensor, ...]:
    """Loop over the steps."""
    outputs, moment = [], A.new_zeros(A.shape[1], A.shape[1], dtype=torch.float64)
    # unbind, not indexing: the gradient of `u[:, t]` is a full (batch, length, d) tensor of zeros at every step
    steps = zip(*(x.unbind(1) for x in (u, dt, B, C, u if z is None else z)), strict=True)
    for t, (u_t, dt_t, B_t, C_t, z_t) in enumerate(steps):
        real = torch.ones_like(u_t[:, 0], dtype=torch.bool) if lengths is None else t < lengths
        u_t, dt_t, B_t, C_t, z_t = (torch.where(real[:, None], x, 0) for x in (u_t, dt_t, B_t, C_t, z_t))
        rate = dt_t if dt_bias is None else dt_t + dt_bias
        rate = softplus(rate) if positive else rate  # (batch, d)
        drive = (rate * u_t)[:, :, None] * B_t[:, None]  # (batch, d, n)
        drive = drive if tap is None else tapped(drive, tap)
        state = torch.where(real[:, None, None], (rate[:, :, None] * A).exp() * state + drive, state)
        y = (state * C_t[:, None]).sum(-1)
        y = y if D is None else y + D * u_t
        outputs.append(y if z is None else y * silu(z_t))
        moment = moment if tap is None else moment + second_moment(state[real])
    return (torch.stack(outputs, 1), state) if tap is None else (torch.stack(outputs, 1), state, moment)
