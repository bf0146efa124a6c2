"""The scan as Torch operations of one step each, checkpointed: memory for the states of one chunk only."""

from __future__ import annotations

from itertools import repeat
from typing import TYPE_CHECKING, Any

import torch
from torch.utils.checkpoint import checkpoint

from ssm_zoo.scan.moments import second_moment, tapped
from ssm_zoo.scan.selective._bare import around

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

    def loop(rate: Tensor, drive: Tensor, B: Tensor, C: Tensor, real: Tensor | None) -> tuple[Tensor, ...]:
        return _loop(rate, drive, B, C, real, A, state, tap)

    return around(loop, u, dt, B, C, D, z, dt_bias, positive, lengths)


def _loop(rate, drive, B, C, real, A, state, tap):
    outputs, moment = [], A.new_zeros(A.shape[1], A.shape[1], dtype=torch.float64)
    chunk: Any = _chunk if rate.shape[1] <= _CHUNK or not torch.is_grad_enabled() else _checkpointed
    for spans in _cut(rate, drive, B, C, None if tap is None else real):
        y, state, part = chunk(*spans, A, state, tap)
        outputs.append(y)
        moment = moment + part
    y = torch.cat(outputs, 1)
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
