"""The scan as Torch operations of one step each, checkpointed: memory for the states of one chunk only."""

from __future__ import annotations

from itertools import repeat
from typing import TYPE_CHECKING

import torch
from torch.nn.functional import silu, softplus
from torch.utils.checkpoint import checkpoint

from ssm_zoo.scan.lengths import blank, real_steps
from ssm_zoo.scan.moments import second_moment, tapped

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor

_CHUNK = 64  # steps


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
    """Loop over chunks."""
    if lengths is not None:
        u, dt, B, C = (blank(x, lengths) for x in (u, dt, B, C))
    rate = dt if dt_bias is None else dt + dt_bias
    rate = softplus(rate) if positive else rate
    real = None if lengths is None else real_steps(lengths, u.shape[1])[:, :, None]  # (batch, length, 1)
    if real is not None:
        rate = torch.where(real, rate, 0)  # the state stays as it is
    outputs, moment = [], A.new_zeros(A.shape[1], A.shape[1], dtype=torch.float64)
    counted = real if tap is not None else None
    for *spans, real in _cut(rate, rate * u, B, C, counted):
        chunk = _chunk if u.shape[1] <= _CHUNK or not torch.is_grad_enabled() else _checkpointed
        y, state, part = chunk(*spans, real, A, state, tap)
        outputs.append(y)
        moment = moment + part
    y = torch.cat(outputs, 1)
    y = y if D is None else y + D * u
    if z is not None:
        y = y * silu(z if lengths is None else blank(z, lengths))
    return (y, state) if tap is None else (y, state, moment)


def _cut(*sequences: Tensor | None) -> Iterator[tuple]:
    pieces = [repeat(None) if x is None else x.split(_CHUNK, 1) for x in sequences]
    return zip(*pieces, strict=False)


def _chunk(rate, drive, B, C, real, A, state, tap):
    outputs, moment = [], A.new_zeros((), dtype=torch.float64)
    reals = repeat(None) if real is None else real[..., None].unbind(1)
    for rate_t, drive_t, B_t, C_t, real_t in zip(*(x.unbind(1) for x in (rate, drive, B, C)), reals, strict=False):
        step = drive_t[:, :, None] * B_t[:, None]
        step = step if tap is None else _real(tapped(step, tap), real_t)
        state = torch.addcmul(step, (rate_t[:, :, None] * A).exp(), state)  # (batch, d, n)
        outputs.append((state @ C_t[:, :, None]).squeeze(-1))
        moment = moment if tap is None else moment + second_moment(_real(state, real_t))
    return torch.stack(outputs, 1), state, moment


def _real(x: Tensor, real: Tensor | None) -> Tensor:
    return x if real is None else torch.where(real, x, 0)


def _checkpointed(*arguments):
    return checkpoint(_chunk, *arguments, use_reentrant=False, preserve_rng_state=False)
