"""The scan on a GPU: one program for a channel of a sequence, which keeps its states in registers.

The backward pass starts each chunk from the state that the forward pass left there, writes the states of the chunk down
once more, and walks them backwards.
"""

# mypy: disable-error-code="no-untyped-def"

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from ssm_zoo.scan.lengths import counts

_STEPS = 32  # of a chunk: what is written down twice is small, and checkpoints are a 32nd of the states


def run(
    inputs: Tensor, eigenvalues: Tensor, C: Tensor, D: Tensor, state: Tensor, lengths: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Scan forwards, keeping the state before each chunk for the backward pass."""
    outputs, last, _ = _scan(inputs, eigenvalues, C, D, state, lengths)
    return outputs, last


@torch.library.custom_op("ssm_zoo::channel_triton", mutates_args=())
def _scan(
    inputs: Tensor, eigenvalues: Tensor, C: Tensor, D: Tensor, state: Tensor, lengths: Tensor | None
) -> tuple[Tensor, Tensor, Tensor]:
    (batch, length, H), n = inputs.shape, eigenvalues.shape[1]
    inputs, ends, system = (
        inputs.contiguous(),
        counts(inputs, lengths).to(torch.int32),
        (_planes(eigenvalues), _planes(C)),
    )
    outputs, last = torch.empty_like(inputs), _planes(state).clone()
    checkpoints = inputs.new_empty(_checkpoints(inputs, eigenvalues))
    _forward[(batch * H,)](
        inputs, *system, D.contiguous(), last, ends, outputs, checkpoints,
        length, H, n, checkpoints.shape[2], N=triton.next_power_of_2(n), STEPS=_STEPS,
    )  # fmt: skip
    return outputs, torch.complex(*last.unbind(-2)), checkpoints


@torch.library.custom_op("ssm_zoo::channel_triton_backward", mutates_args=())
def _scan_backward(
    d_outputs: Tensor,
    d_last: Tensor,
    inputs: Tensor,
    eigenvalues: Tensor,
    C: Tensor,
    D: Tensor,
    checkpoints: Tensor,
    lengths: Tensor | None,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    (batch, length, H), n = inputs.shape, eigenvalues.shape[1]
    inputs, ends, system = (
        inputs.contiguous(),
        counts(inputs, lengths).to(torch.int32),
        (_planes(eigenvalues), _planes(C)),
    )
    d_inputs, adjoint = torch.empty_like(inputs), _planes(d_last).clone()
    d_eigenvalues, d_C = torch.empty_like(adjoint), torch.empty_like(adjoint)
    d_D, trail = inputs.new_empty(batch, H), inputs.new_empty(batch, H, _STEPS, 2, n)
    _backward[(batch * H,)](
        d_outputs.contiguous(), inputs, *system, D.contiguous(), ends, checkpoints,
        adjoint, d_inputs, d_eigenvalues, d_C, d_D, trail,
        length, H, n, checkpoints.shape[2], N=triton.next_power_of_2(n), STEPS=_STEPS,
    )  # fmt: skip
    d_eigenvalues, d_C = (torch.complex(*part.sum(0).unbind(-2)) for part in (d_eigenvalues, d_C))
    return d_inputs, d_eigenvalues, d_C, d_D.sum(0), torch.complex(*adjoint.unbind(-2))


@_scan.register_fake
def _(inputs, eigenvalues, C, D, state, lengths):
    checkpoints = inputs.new_empty(_checkpoints(inputs, eigenvalues))
    return inputs.new_empty(inputs.shape), state.new_empty(state.shape), checkpoints


@_scan_backward.register_fake
def _(d_outputs, d_last, inputs, eigenvalues, C, D, checkpoints, lengths):
    return tuple(tensor.new_empty(tensor.shape) for tensor in (inputs, eigenvalues, C, D, d_last))


def _remember(ctx, inputs, output):
    inputs, eigenvalues, C, D, state, lengths = inputs
    ctx.save_for_backward(inputs, eigenvalues, C, D, output[2], lengths)
    ctx.mark_non_differentiable(output[2])
    ctx.set_materialize_grads(False)
    ctx.shape = state.shape


def _differentiate(ctx, d_outputs, d_last, _):
    inputs, eigenvalues, C, D, checkpoints, lengths = ctx.saved_tensors
    d_outputs = inputs.new_zeros(inputs.shape) if d_outputs is None else d_outputs
    d_last = eigenvalues.new_zeros(ctx.shape) if d_last is None else d_last
    return (*_scan_backward(d_outputs, d_last, inputs, eigenvalues, C, D, checkpoints, lengths), None)


_scan.register_autograd(_differentiate, setup_context=_remember)


@triton.jit
def _forward(u, poles, C, D, state, ends, y, checkpoints, length, H, n, chunks, N: tl.constexpr, STEPS: tl.constexpr):
    program = tl.program_id(0)
    b, h = program // H, program % H
    k = tl.arange(0, N)
    real = k < n
    re, im = tl.load(poles + h * 2 * n + k, real, 0.0), tl.load(poles + h * 2 * n + n + k, real, 0.0)
    c_re, c_im = tl.load(C + h * 2 * n + k, real, 0.0), tl.load(C + h * 2 * n + n + k, real, 0.0)
    d, end = tl.load(D + h), tl.load(ends + b)
    here = state + program * 2 * n + k
    x_re, x_im = tl.load(here, real, 0.0), tl.load(here + n, real, 0.0)
    for t in range(length):
        if t % STEPS == 0:
            kept = checkpoints + (program * chunks + t // STEPS) * 2 * n + k
            tl.store(kept, x_re, real)
            tl.store(kept + n, x_im, real)
        step = (b * length + t) * H + h
        v = tl.load(u + step)
        next_re, next_im = re * x_re - im * x_im + v, re * x_im + im * x_re
        x_re, x_im = tl.where(t < end, next_re, x_re), tl.where(t < end, next_im, x_im)
        tl.store(y + step, tl.sum(c_re * x_re - c_im * x_im) + d * v)
    tl.store(here, x_re, real)
    tl.store(here + n, x_im, real)


@triton.jit
def _backward(
    g, u, poles, C, D, ends, checkpoints, adjoint, d_u, d_poles, d_C, d_D, trail,
    length, H, n, chunks, N: tl.constexpr, STEPS: tl.constexpr,
):  # fmt: skip
    program = tl.program_id(0)
    b, h = program // H, program % H
    k = tl.arange(0, N)
    real = k < n
    re, im = tl.load(poles + h * 2 * n + k, real, 0.0), tl.load(poles + h * 2 * n + n + k, real, 0.0)
    c_re, c_im = tl.load(C + h * 2 * n + k, real, 0.0), tl.load(C + h * 2 * n + n + k, real, 0.0)
    d, end = tl.load(D + h), tl.load(ends + b)
    place = program * 2 * n + k
    a_re, a_im = tl.load(adjoint + place, real, 0.0), tl.load(adjoint + place + n, real, 0.0)
    l_re, l_im, w_re, w_im, direct = a_re * 0, a_re * 0, a_re * 0, a_re * 0, d * 0
    for back in range(chunks):
        first = (chunks - 1 - back) * STEPS
        kept = checkpoints + (program * chunks + chunks - 1 - back) * 2 * n + k
        x_re, x_im = tl.load(kept, real, 0.0), tl.load(kept + n, real, 0.0)
        stop = tl.minimum(first + STEPS, end)
        for t in range(first, stop):  # the state before each step
            row = trail + (program * STEPS + t - first) * 2 * n + k
            tl.store(row, x_re, real)
            tl.store(row + n, x_im, real)
            v = tl.load(u + (b * length + t) * H + h)
            next_re = re * x_re - im * x_im + v
            x_im = re * x_im + im * x_re
            x_re = next_re
        for t in range(tl.maximum(first, end), tl.minimum(first + STEPS, length)):
            tl.store(d_u + (b * length + t) * H + h, 0.0)
        for i in range(stop - first):
            t = stop - 1 - i
            step = (b * length + t) * H + h
            dy, v = tl.load(g + step), tl.load(u + step)
            a_re += c_re * dy
            a_im -= c_im * dy
            row = trail + (program * STEPS + t - first) * 2 * n + k
            p_re, p_im = tl.load(row, real, 0.0), tl.load(row + n, real, 0.0)
            w_re += x_re * dy
            w_im -= x_im * dy
            direct += dy * v
            tl.store(d_u + step, tl.sum(tl.where(real, a_re, 0.0)) + d * dy)
            l_re += p_re * a_re + p_im * a_im
            l_im += p_re * a_im - p_im * a_re
            next_re = re * a_re + im * a_im
            a_im = re * a_im - im * a_re
            a_re = next_re
            x_re, x_im = p_re, p_im
    tl.store(adjoint + place, a_re, real)
    tl.store(adjoint + place + n, a_im, real)
    tl.store(d_poles + place, l_re, real)
    tl.store(d_poles + place + n, l_im, real)
    tl.store(d_C + place, w_re, real)
    tl.store(d_C + place + n, w_im, real)
    tl.store(d_D + program, direct)


def _checkpoints(inputs: Tensor, eigenvalues: Tensor) -> tuple[int, ...]:
    (batch, length, H), n = inputs.shape, eigenvalues.shape[1]
    return batch, H, -(-length // _STEPS), 2, n


def _planes(z: Tensor) -> Tensor:
    return torch.stack([z.real, z.imag], -2).contiguous()
