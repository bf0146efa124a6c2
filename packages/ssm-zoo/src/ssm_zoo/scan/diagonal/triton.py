"""The scan on a GPU: Torch's products around one kernel for the recurrence, a program for each block of states.

Its loads do not depend on each other, so that only one multiplication and addition of a step waits for the step before.
The kernels are so simple that Triton's interpreter runs them on tensors of the CPU: that is how they are tested where
there is no GPU.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from ssm_zoo.scan.diagonal.reference import compute

_BLOCK = 64  # states of a program


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
    """Scan, and keep the states for the backward pass."""
    return compute(_accumulate, inputs, eigenvalues, B, C, D, state, reverse, lengths, tap)


def _accumulate(drives: Tensor, eigenvalues: Tensor, state: Tensor) -> Tensor:
    parts = (torch.view_as_real(tensor.resolve_conj()) for tensor in (drives, eigenvalues, state))
    return torch.view_as_complex(_scan(*parts))


@torch.library.custom_op("ssm_zoo::diagonal_triton", mutates_args=(), schema="(Tensor d, Tensor e, Tensor s) -> Tensor")
def _scan(drives: Tensor, eigenvalues: Tensor, state: Tensor) -> Tensor:
    r"""Return every $x_t = \lambda \odot x_{t-1} + d_t$; all real, parts in the last axis."""
    states = torch.empty_like(drives, memory_format=torch.contiguous_format)
    grid, sizes = _grid(drives)
    _advance[grid](drives.contiguous(), eigenvalues.contiguous(), state.contiguous(), states, *sizes, BLOCK=_BLOCK)
    return states


@_scan.register_fake
def _(drives, eigenvalues, state):
    return drives.new_empty(drives.shape)


@torch.library.custom_op(
    "ssm_zoo::diagonal_triton_backward",
    mutates_args=(),
    schema="(Tensor g, Tensor x, Tensor e, Tensor s) -> (Tensor, Tensor, Tensor)",
)
def _scan_backward(
    d_states: Tensor, states: Tensor, eigenvalues: Tensor, state: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the gradients of drives (the adjoint states), eigenvalues and state."""
    adjoints = torch.empty_like(states)
    d_eigenvalues, d_state = state.new_empty(state.shape), state.new_empty(state.shape)
    grid, sizes = _grid(states)
    arguments = (tensor.contiguous() for tensor in (d_states, states, eigenvalues, state))
    _retreat[grid](*arguments, adjoints, d_eigenvalues, d_state, *sizes, BLOCK=_BLOCK)
    return adjoints, d_eigenvalues.sum(0), d_state


@_scan_backward.register_fake
def _(d_states, states, eigenvalues, state):
    return tuple(tensor.new_empty(tensor.shape) for tensor in (states, eigenvalues, state))


def _remember(ctx, inputs, output):
    _, eigenvalues, state = inputs
    ctx.save_for_backward(output, eigenvalues, state)


def _differentiate(ctx, d_states):
    return _scan_backward(d_states, *ctx.saved_tensors)


_scan.register_autograd(_differentiate, setup_context=_remember)


def _grid(states: Tensor) -> tuple[tuple[int, int], tuple[int, int]]:
    batch, length, n, _ = states.shape
    return (batch, triton.cdiv(n, _BLOCK)), (length, n)


@triton.jit
def _advance(drives, eigenvalues, state, states, length, n, BLOCK: tl.constexpr):  # type: ignore[no-untyped-def]
    b = tl.program_id(0).to(tl.int64)
    j = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    real = j < n
    l_re, l_im = tl.load(eigenvalues + 2 * j, real, 0.0), tl.load(eigenvalues + 2 * j + 1, real, 0.0)
    x_re = tl.load(state + 2 * (b * n + j), real, 0.0)
    x_im = tl.load(state + 2 * (b * n + j) + 1, real, 0.0)
    for t in range(length):
        at = 2 * ((b * length + t) * n + j)
        d_re, d_im = tl.load(drives + at, real, 0.0), tl.load(drives + at + 1, real, 0.0)
        next_re = l_re * x_re - l_im * x_im + d_re
        x_im = l_re * x_im + l_im * x_re + d_im
        x_re = next_re
        tl.store(states + at, x_re, real)
        tl.store(states + at + 1, x_im, real)


@triton.jit
def _retreat(  # type: ignore[no-untyped-def]
    d_states, states, eigenvalues, state, adjoints, d_eigenvalues, d_state, length, n, BLOCK: tl.constexpr
):
    b = tl.program_id(0).to(tl.int64)
    j = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    real = j < n
    l_re, l_im = tl.load(eigenvalues + 2 * j, real, 0.0), tl.load(eigenvalues + 2 * j + 1, real, 0.0)
    c_re, c_im = tl.zeros_like(l_re), tl.zeros_like(l_re)  # the adjoint state of the step before
    d_re, d_im = tl.zeros_like(l_re), tl.zeros_like(l_re)
    start = 2 * (b * n + j)
    for step in range(length):
        t = length - 1 - step
        at = 2 * ((b * length + t) * n + j)
        a_re = tl.load(d_states + at, real, 0.0) + c_re
        a_im = tl.load(d_states + at + 1, real, 0.0) + c_im
        tl.store(adjoints + at, a_re, real)
        tl.store(adjoints + at + 1, a_im, real)
        inside, first = real & (t * n + j >= n), real & (t * n + j < n)  # t > 0, t = 0
        x_re = tl.load(states + at - 2 * n, inside, 0.0) + tl.load(state + start, first, 0.0)
        x_im = tl.load(states + at - 2 * n + 1, inside, 0.0) + tl.load(state + start + 1, first, 0.0)
        d_re += x_re * a_re + x_im * a_im
        d_im += x_re * a_im - x_im * a_re
        c_re = l_re * a_re + l_im * a_im
        c_im = l_re * a_im - l_im * a_re
    tl.store(d_eigenvalues + start, d_re, real)
    tl.store(d_eigenvalues + start + 1, d_im, real)
    tl.store(d_state + start, c_re, real)
    tl.store(d_state + start + 1, c_im, real)
