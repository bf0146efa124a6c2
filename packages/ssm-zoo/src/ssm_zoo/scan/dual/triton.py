"""The scan on CUDA: one program for every head of every sequence, with its state in registers, chunk after chunk.

`TRITON_INTERPRET=1`, set before the first import of Triton, runs the same kernels on the CPU, slowly: for tests.
"""

from __future__ import annotations

import torch
import triton
from torch import Tensor

from ssm_zoo.scan.lengths import counts

from ._triton_kernels import backward_kernel, forward_kernel
from .torch import run as run_torch

_CHUNK = 32


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
    """Scan forwards; moments, which are rare, are gathered by the implementation in Torch."""
    if tap is not None:
        return run_torch(x, dt, A, B, C, D, state, lengths, tap)
    D = x.new_zeros(x.shape[2:]) if D is None else D
    y, last, _ = _ssd(x, dt, A, B, C, D, state, counts(x, lengths))
    return y, last


@torch.library.custom_op("ssm_zoo::ssd_triton", mutates_args=())
def _ssd(
    x: Tensor, dt: Tensor, A: Tensor, B: Tensor, C: Tensor, D: Tensor, state: Tensor, lengths: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Return outputs, the last state and the states before the chunks."""
    (batch, length, h, P), (g, N) = x.shape, B.shape[2:]
    tensors = [t.contiguous() for t in (x, dt, A, B, C, D, state, lengths)]
    y, last = torch.zeros_like(tensors[0]), torch.empty_like(tensors[6])
    checkpoints = x.new_empty(batch, h, triton.cdiv(length, _CHUNK), P, N)
    forward_kernel[batch, h](*tensors, y, last, checkpoints, length, h, g, P, N, *_blocks(P, N))
    return y, last, checkpoints


@_ssd.register_fake
def _(x, dt, A, B, C, D, state, lengths):
    (batch, length, h, P), N = x.shape, B.shape[3]
    return x.new_empty(x.shape), state.new_empty(state.shape), x.new_empty(batch, h, -(-length // _CHUNK), P, N)


@torch.library.custom_op("ssm_zoo::ssd_triton_backward", mutates_args=())
def _ssd_backward(
    dy: Tensor,
    d_last: Tensor,
    x: Tensor,
    dt: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor,
    lengths: Tensor,
    checkpoints: Tensor,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Return the gradients of x, dt, A, B, C, D and the first state."""
    (batch, length, h, P), (g, N) = x.shape, B.shape[2:]
    tensors = [t.contiguous() for t in (dy, d_last, x, dt, A, B, C, D, lengths, checkpoints)]
    dx, ddt, d_state = (torch.zeros_like(tensors[2]), torch.zeros_like(tensors[3]), torch.empty_like(tensors[1]))
    dB, dC = (x.new_zeros(batch, length, h, N) for _ in range(2))  # of every head: summed up in a fixed order below
    dA, dD = x.new_zeros(batch, h), x.new_zeros(batch, h, P)
    results = dx, ddt, dA, dB, dC, dD, d_state
    backward_kernel[batch, h](*tensors, *results, length, h, g, P, N, *_blocks(P, N))
    dB, dC = (t.unflatten(2, (g, -1)).sum(3) for t in (dB, dC))
    return dx, ddt, dA.sum(0), dB, dC, dD.sum(0), d_state


@_ssd_backward.register_fake
def _(dy, d_last, x, dt, A, B, C, D, lengths, checkpoints):
    return tuple(t.new_empty(t.shape) for t in (x, dt, A, B, C, D, d_last))


def _save(ctx, inputs, output):
    x, dt, A, B, C, D, _, lengths = inputs
    ctx.mark_non_differentiable(output[2])
    ctx.save_for_backward(x, dt, A, B, C, D, lengths, output[2])


def _differentiate(ctx, dy, d_last, _):
    return *_ssd_backward(dy, d_last, *ctx.saved_tensors), None


_ssd.register_autograd(_differentiate, setup_context=_save)


def _blocks(P: int, N: int) -> tuple[int, int, int]:
    """Return steps, channels and states of a block: powers of two that a product of tensor cores takes."""
    return _CHUNK, max(16, triton.next_power_of_2(P)), max(16, triton.next_power_of_2(N))
