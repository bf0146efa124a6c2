"""The scan on CPU cores: from raw step sizes to gated outputs in one pass over memory, one checkpoint a chunk."""

from __future__ import annotations

from math import ceil
from typing import TYPE_CHECKING, Any

import torch

from ssm_zoo.scan.elementary import LOG2_E
from ssm_zoo.scan.lengths import counts
from ssm_zoo.scan.rows import Rows, padded
from ssm_zoo.scan.selective._backward import backward
from ssm_zoo.scan.selective._forward import CHUNK, forward
from ssm_zoo.scan.shares import Shares
from ssm_zoo.scan.simd import LINE_BYTES
from ssm_zoo.scan.threads import on_threads

if TYPE_CHECKING:
    from torch import Tensor

_NANOSECONDS = 0.5  # for one state and one step, forwards
_TENSORS = (
    "Tensor u, Tensor dt, Tensor A, Tensor B, Tensor C, Tensor {state}, Tensor? D, Tensor? z, Tensor? dt_bias, "
    "bool positive, Tensor? lengths, Tensor? tap"
)


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
    """Scan forwards; the backward pass computes the states again from the checkpoints."""
    outputs, last, _, moment = _scan(u, dt, A, B, C, state, D, z, dt_bias, positive, lengths, tap)
    return (outputs, last) if tap is None else (outputs, last, moment)


@torch.library.custom_op(
    "ssm_zoo::selective_scan_numba",
    mutates_args=(),
    device_types="cpu",
    schema=f"({_TENSORS.format(state='state')}) -> (Tensor, Tensor, Tensor, Tensor)",
)
def _scan(u, dt, A, B, C, state, D, z, dt_bias, positive, lengths, tap):
    """Return outputs, last state, checkpoints, and the second moment of the states (empty without a tap)."""
    outputs, states = _like(u, lengths), padded(state.mT)
    checkpoints = states.new_empty(_checkpoints(u, A))
    tasks, threads = _shares(u, A)
    moments = u.new_zeros(len(tasks), *_moment(u, tap).shape, dtype=torch.float64)  # one a task, so that none waits
    arguments = _arguments(u, dt, A, B, C, D, z, dt_bias, lengths)
    results = _flat(states), Rows.of(outputs), _flat(checkpoints)

    def work(k: int, share: tuple) -> None:
        forward(*share, *arguments, *results, _flat(moments[k]), positive, z is not None)

    on_threads(work, list(enumerate(tasks)), threads)
    return outputs, states[..., : u.shape[2]].mT.contiguous(), checkpoints, moments.sum(0)


@_scan.register_fake
def _(u, dt, A, B, C, state, D, z, dt_bias, positive, lengths, tap):
    return u.new_empty(u.shape), state.new_empty(state.shape), u.new_empty(_checkpoints(u, A)), _moment(u, tap)


@torch.library.custom_op(
    "ssm_zoo::selective_scan_numba_backward",
    mutates_args=(),
    device_types="cpu",
    schema=f"(Tensor d_outputs, Tensor d_last, {_TENSORS.format(state='checkpoints')})"
    " -> (Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor)",
)
def _scan_backward(d_outputs, d_last, u, dt, A, B, C, checkpoints, D, z, dt_bias, positive, lengths, tap):
    """Return the gradients of u, dt, A, B, C, state, D, z, bias and tap; those of what is None mean nothing."""
    tasks, threads = _shares(u, A)
    parts = sum(sequences[0] == 0 for sequences, _ in tasks)  # of the channels, each with gradients of B and C
    d_u, d_dt, d_z = _like(u, lengths), _like(u, lengths), u.new_empty(0, 1, 1) if z is None else _like(u, lengths)
    d_B, d_C = (_like(B.expand(parts, *B.shape), lengths) for _ in range(2))
    d_state = padded(d_last.mT)
    d_A, d_D = d_state.new_zeros(len(tasks), *d_state.shape[1:]), d_state.new_zeros(len(tasks), 2, d_state.shape[2])
    moments = u.new_zeros(len(tasks), *_moment(u, tap).shape, dtype=torch.float64)
    arguments = _arguments(u, dt, A, B, C, D, z, dt_bias, lengths)
    sequences = [Rows.of(x) for x in (d_outputs, d_u, d_dt, d_u if z is None else d_z)]

    nowhere = Rows(_flat(u.new_empty(0)), 0, 0)

    def work(k: int, share: tuple) -> None:
        sums = map(_flat, (d_B[k % parts], d_C[k % parts], d_A[k], d_D[k, 0], d_D[k, 1], d_state))
        backward(
            *share,
            *arguments,
            _flat(checkpoints),
            *sequences,
            *sums,
            nowhere,
            _flat(moments[k]),
            positive,
            z is not None,
        )

    on_threads(work, list(enumerate(tasks)), threads)
    d = u.shape[2]
    d_D, d_bias = d_D.sum(0)[:, :d].clone()
    d_A, d_state = (x[..., :d].mT.contiguous() for x in (d_A.sum(0), d_state))
    return d_u, d_dt, d_A, d_B.sum(0), d_C.sum(0), d_state, d_D, d_z, d_bias.clone(), moments.sum(0)


@_scan_backward.register_fake
def _(d_outputs, d_last, u, dt, A, B, C, checkpoints, D, z, dt_bias, positive, lengths, tap):
    def new(like: Tensor) -> Tensor:
        return like.new_empty(like.shape)

    d_z, d_D = u.new_empty(0, 1, 1) if z is None else new(u), A.new_empty(A.shape[0])
    return new(u), new(u), new(A), new(B), new(C), new(d_last), d_D, d_z, d_D.clone(), _moment(u, tap)


def _remember(ctx: Any, inputs: tuple, output: tuple) -> None:
    u, dt, A, B, C, _, D, z, dt_bias, ctx.positive, lengths, tap = inputs
    ctx.save_for_backward(u, dt, A, B, C, output[2], D, z, dt_bias, lengths, tap)


def _differentiate(ctx: Any, d_outputs: Tensor, d_last: Tensor, d_checkpoints: Any, d_moment: Any) -> tuple:
    *tensors, lengths, tap = ctx.saved_tensors
    *d, d_tap = _scan_backward(d_outputs, d_last, *tensors, ctx.positive, lengths, tap)
    optional = [None if x is None else grad for x, grad in zip(tensors[6:], d[6:], strict=True)]
    return *d[:6], *optional, None, None, None if tap is None else d_tap


_scan.register_autograd(_differentiate, setup_context=_remember)


def _shares(u: Tensor, A: Tensor) -> Shares:
    batch, _, d = u.shape
    return Shares.of(batch, d, u.element_size(), _NANOSECONDS * u.numel() * A.shape[1])


def _checkpoints(u: Tensor, A: Tensor) -> tuple[int, ...]:
    lanes = LINE_BYTES // A.element_size()
    return u.shape[0], ceil(u.shape[1] / CHUNK), A.shape[1], ceil(u.shape[2] / lanes) * lanes


def _moment(u: Tensor, tap: Tensor | None) -> Tensor:
    return u.new_empty(0 if tap is None else tap.shape, dtype=torch.float64)


def _like(tensor: Tensor, lengths: Tensor | None) -> Tensor:
    """Return memory for results; where there is padding, of zeros."""
    return (tensor.new_empty if lengths is None else tensor.new_zeros)(tensor.shape)


def _flat(tensor: Tensor) -> Any:
    return tensor.detach().view(-1).numpy()


def _arguments(u, dt, A, B, C, D, z, dt_bias, lengths):
    sequences = [Rows.of(x) for x in (u, dt, u if z is None else z, B, C)]
    vectors = [padded(u.new_zeros(len(A)) if x is None else x) for x in (D, dt_bias)]
    return counts(u, lengths).numpy(), *sequences, *map(_flat, (padded(A.mT * LOG2_E), *vectors))
