"""The scan on a GPU: one program for a few channels of a sequence, which keeps their states in registers.

The backward pass starts each chunk from the state that the forward pass left there, writes the states of the chunk down
once more, and walks them backwards. Step sizes, feedthrough and gate are Torch's, and so is a scan that is tapped.
"""

from __future__ import annotations

from math import ceil
from typing import TYPE_CHECKING, Any

import torch
import triton
import triton.language as tl

from ssm_zoo.scan.selective import torch as in_torch
from ssm_zoo.scan.selective._bare import around

if TYPE_CHECKING:
    from torch import Tensor

_STEPS = 32  # of a chunk: what is written down twice is small, and checkpoints are a 32nd of the states
_CHANNELS = 16  # of a program


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
    """Scan forwards, keeping the state before each chunk for the backward pass."""
    if tap is not None:
        return in_torch.run(u, dt, A, B, C, state, D, z, dt_bias, positive, lengths, tap)

    def scan(rate: Tensor, drive: Tensor, B: Tensor, C: Tensor, real: Tensor | None) -> tuple[Tensor, ...]:
        return _scan(rate, drive, A, B, C, state)[:2]

    return around(scan, u, dt, B, C, D, z, dt_bias, positive, lengths)


@torch.library.custom_op(
    "ssm_zoo::selective_scan_triton",
    mutates_args=(),
    schema="(Tensor rate, Tensor drive, Tensor A, Tensor B, Tensor C, Tensor state) -> (Tensor, Tensor, Tensor)",
)
def _scan(rate, drive, A, B, C, state):
    (batch, length, d), n = rate.shape, A.shape[1]
    rate, drive, A, B, C = (x.contiguous() for x in (rate, drive, A, B, C))
    outputs, last = torch.empty_like(rate), state.clone(memory_format=torch.contiguous_format)
    checkpoints = rate.new_empty(_checkpoints(rate, A))
    _forward[batch, ceil(d / _CHANNELS)](
        rate, drive, A, B, C, last, outputs, checkpoints,
        length, d, n, checkpoints.shape[1], N=triton.next_power_of_2(n), CHANNELS=_CHANNELS, STEPS=_STEPS,
    )  # fmt: skip
    return outputs, last, checkpoints


@_scan.register_fake
def _(rate, drive, A, B, C, state):
    return rate.new_empty(rate.shape), state.new_empty(state.shape), rate.new_empty(_checkpoints(rate, A))


@torch.library.custom_op(
    "ssm_zoo::selective_scan_triton_backward",
    mutates_args=(),
    schema="(Tensor d_outputs, Tensor d_last, Tensor rate, Tensor drive, Tensor A, Tensor B, Tensor C, "
    "Tensor checkpoints) -> (Tensor, Tensor, Tensor, Tensor, Tensor, Tensor)",
)
def _scan_backward(d_outputs, d_last, rate, drive, A, B, C, checkpoints):
    (batch, length, d), n = rate.shape, A.shape[1]
    blocks = ceil(d / _CHANNELS)
    d_outputs, rate, drive, A, B, C = (x.contiguous() for x in (d_outputs, rate, drive, A, B, C))
    d_rate, d_drive = torch.empty_like(rate), torch.empty_like(rate)
    adjoint = d_last.clone(memory_format=torch.contiguous_format)
    d_B, d_C = (rate.new_empty(blocks, batch, length, n) for _ in range(2))  # one for each block, so that none waits
    d_A, trail = rate.new_empty(batch, d, n), rate.new_empty(batch, _STEPS, d, n)
    _backward[batch, blocks](
        d_outputs, rate, drive, A, B, C, checkpoints, adjoint, d_rate, d_drive, d_A, d_B, d_C, trail,
        batch, length, d, n, checkpoints.shape[1],
        N=triton.next_power_of_2(n), CHANNELS=_CHANNELS, STEPS=_STEPS,
    )  # fmt: skip
    return d_rate, d_drive, d_A.sum(0), d_B.sum(0), d_C.sum(0), adjoint


@_scan_backward.register_fake
def _(d_outputs, d_last, rate, drive, A, B, C, checkpoints):
    return tuple(x.new_empty(x.shape) for x in (rate, drive, A, B, C, d_last))


def _remember(ctx: Any, inputs: tuple, output: tuple) -> None:
    ctx.save_for_backward(*inputs[:5], output[2])


def _differentiate(ctx: Any, d_outputs: Tensor, d_last: Tensor, d_checkpoints: Any) -> tuple:
    return _scan_backward(d_outputs, d_last, *ctx.saved_tensors)


_scan.register_autograd(_differentiate, setup_context=_remember)


def _checkpoints(rate: Tensor, A: Tensor) -> tuple[int, ...]:
    return rate.shape[0], ceil(rate.shape[1] / _STEPS), *A.shape


@triton.jit
def _forward(  # type: ignore[no-untyped-def]
    rate, drive, A, B, C, state, y, checkpoints,
    length, d, n, chunks, N: tl.constexpr, CHANNELS: tl.constexpr, STEPS: tl.constexpr,
):  # fmt: skip
    b = tl.program_id(0)
    c, k = tl.program_id(1) * CHANNELS + tl.arange(0, CHANNELS), tl.arange(0, N)
    inside, read = c < d, k < n
    place, both = c[:, None] * n + k[None], inside[:, None] & read[None]
    a, h = tl.load(A + place, both, 0.0), tl.load(state + b * d * n + place, both, 0.0)
    for t in range(length):
        if t % STEPS == 0:
            tl.store(checkpoints + (b * chunks + t // STEPS) * d * n + place, h, both)
        row = b * length + t
        r, w = tl.load(rate + row * d + c, inside, 0.0), tl.load(drive + row * d + c, inside, 0.0)
        B_t, C_t = tl.load(B + row * n + k, read, 0.0), tl.load(C + row * n + k, read, 0.0)
        h = tl.exp(r[:, None] * a) * h + w[:, None] * B_t[None]
        tl.store(y + row * d + c, tl.sum(h * C_t[None], 1), inside)
    tl.store(state + b * d * n + place, h, both)


@triton.jit
def _backward(  # type: ignore[no-untyped-def]
    g, rate, drive, A, B, C, checkpoints, adjoint, d_rate, d_drive, d_A, d_B, d_C, trail,
    batch, length, d, n, chunks, N: tl.constexpr, CHANNELS: tl.constexpr, STEPS: tl.constexpr,
):  # fmt: skip
    b, block = tl.program_id(0), tl.program_id(1)
    c, k = block * CHANNELS + tl.arange(0, CHANNELS), tl.arange(0, N)
    inside, read = c < d, k < n
    place, both = c[:, None] * n + k[None], inside[:, None] & read[None]
    a, adj = tl.load(A + place, both, 0.0), tl.load(adjoint + b * d * n + place, both, 0.0)
    slope = a * 0
    for back in range(chunks):
        first = (chunks - 1 - back) * STEPS
        steps = tl.minimum(STEPS, length - first)
        h = tl.load(checkpoints + (b * chunks + chunks - 1 - back) * d * n + place, both, 0.0)
        for i in range(steps):  # the state before each step
            tl.store(trail + (b * STEPS + i) * d * n + place, h, both)
            row = b * length + first + i
            r, w = tl.load(rate + row * d + c, inside, 0.0), tl.load(drive + row * d + c, inside, 0.0)
            h = tl.exp(r[:, None] * a) * h + w[:, None] * tl.load(B + row * n + k, read, 0.0)[None]
        for j in range(steps):
            i = steps - 1 - j
            row = b * length + first + i
            r, w = tl.load(rate + row * d + c, inside, 0.0), tl.load(drive + row * d + c, inside, 0.0)
            B_t, C_t = tl.load(B + row * n + k, read, 0.0), tl.load(C + row * n + k, read, 0.0)
            dy = tl.load(g + row * d + c, inside, 0.0)
            adj += dy[:, None] * C_t[None]
            part = (block * batch * length + row) * n + k
            tl.store(d_C + part, tl.sum(dy[:, None] * h, 0), read)
            tl.store(d_B + part, tl.sum(adj * w[:, None], 0), read)
            tl.store(d_drive + row * d + c, tl.sum(adj * B_t[None], 1), inside)
            adj = adj * tl.exp(r[:, None] * a)
            h = tl.load(trail + (b * STEPS + i) * d * n + place, both, 0.0)
            through = adj * h
            slope += through * r[:, None]
            tl.store(d_rate + row * d + c, tl.sum(through * a, 1), inside)
    tl.store(adjoint + b * d * n + place, adj, both)
    tl.store(d_A + b * d * n + place, slope, both)
