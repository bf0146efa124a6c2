"""Mamba as one operation: sequences shared out to threads, each done tile by tile."""

from __future__ import annotations

from math import ceil
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ..scan.rows import padded
from ..scan.selective._forward import CHUNK
from ..scan.shares import Shares
from ..scan.simd import LINE_BYTES
from ..scan.threads import on_threads
from ._mamba_state import MambaState
from ._mamba_tiles import STEPS, Gradients, Kernels, Tile, Weights, spans

if TYPE_CHECKING:
    from .mamba import Mamba

_NANOSECONDS = 5.0  # for one channel of one step, forwards, with small states
_TENSORS = (
    "Tensor x, Tensor W_in, Tensor? b_in, Tensor W_conv, Tensor? b_conv, Tensor W_x, Tensor W_dt, Tensor b_dt, "
    "Tensor A, Tensor D, Tensor W_out, Tensor? b_out, Tensor {conv}, Tensor {ssm}, Tensor? lengths"
)


def run(layer: Mamba, x: Tensor, state: MambaState, lengths: Tensor | None) -> tuple[Tensor, MambaState]:
    """Return outputs and last state."""
    weights = Weights(
        layer.in_proj.weight,
        layer.in_proj.bias,
        layer.conv1d.weight,
        layer.conv1d.bias,
        layer.x_proj.weight,
        layer.dt_proj.weight,
        layer.dt_proj.bias,
        -layer.A_log.exp(),
        layer.D,
        layer.out_proj.weight,
        layer.out_proj.bias,
    )
    y, conv, ssm, _, _ = _mamba(x, *weights, *state, lengths)
    return y, MambaState(conv, ssm)


@torch.library.custom_op(
    "ssm_zoo::mamba_numba",
    mutates_args=(),
    device_types="cpu",
    schema=f"({_TENSORS.format(conv='conv', ssm='ssm')}) -> (Tensor, Tensor, Tensor, Tensor, Tensor)",
)
def _mamba(*arguments):
    """Return outputs, last window, last state, and the windows and states that tiles start from."""
    x, *weights, conv, ssm, lengths = arguments
    w = Weights(*weights)
    kernels, y = Kernels.of(w), (x.new_empty if lengths is None else x.new_zeros)(x.shape)
    windows, states = (x.new_empty(shape) for shape in _starts(x, w))
    conv, ssm = conv.mT.clone(memory_format=torch.contiguous_format), padded(ssm.mT)
    ends = _ends(x, lengths)

    def work(share: tuple, _: Any) -> None:
        tile = Tile(w, kernels)
        for b in range(*share):
            for k, span, chunks in spans(ends[b]):
                windows[b, k] = conv[b]
                tile.forward(x[b, span], y[b, span], conv[b], ssm[b], states[b, chunks])

    on_threads(work, *_shares(x, w))
    return y, conv.mT.contiguous(), ssm[..., : len(w.D)].mT.contiguous(), windows, states


@_mamba.register_fake
def _(*arguments):
    x, *weights, conv, ssm, _ = arguments
    starts = (x.new_empty(shape) for shape in _starts(x, Weights(*weights)))
    return x.new_empty(x.shape), conv.new_empty(conv.shape), ssm.new_empty(ssm.shape), *starts


@torch.library.custom_op(
    "ssm_zoo::mamba_numba_backward",
    mutates_args=(),
    device_types="cpu",
    schema=f"(Tensor d_y, Tensor d_conv, Tensor d_ssm, {_TENSORS.format(conv='windows', ssm='states')})"
    f" -> ({', '.join(['Tensor'] * 14)})",
)
def _mamba_backward(*arguments):
    """Return the gradients of everything but the lengths; those of what is None mean nothing."""
    d_y, d_conv, d_ssm, x, *weights, windows, states, lengths = arguments
    w = Weights(*weights)
    kernels, d_x = Kernels.of(w), (x.new_empty if lengths is None else x.new_zeros)(x.shape)
    d_conv, d_ssm, ends = (
        d_conv.mT.clone(memory_format=torch.contiguous_format),
        padded(d_ssm.mT),
        _ends(x, lengths),
    )

    def work(share: tuple, _: Any) -> Weights:
        tile = Gradients(w, kernels)
        for b in range(*share):
            for k, span, chunks in reversed(list(spans(ends[b]))):
                starts, adjoint = (windows[b, k], states[b, chunks]), (d_conv[b], d_ssm[b])
                tile.backward(x[b, span], d_y[b, span], d_x[b, span], starts, adjoint)
        return tile.finish()

    gradients = zip(*on_threads(work, *_shares(x, w)), strict=True)
    sums = [x.new_empty(0) if parts[0] is None else torch.stack(parts).sum(0) for parts in gradients]
    return d_x, *sums, d_conv.mT.contiguous(), d_ssm[..., : len(w.D)].mT.contiguous()


@_mamba_backward.register_fake
def _(*arguments):
    _, d_conv, d_ssm, x, *weights, _, _, _ = arguments
    return tuple(x.new_empty(0 if like is None else like.shape) for like in (x, *weights, d_conv, d_ssm))


def _remember(ctx: Any, inputs: tuple, output: tuple) -> None:
    *tensors, _, _, lengths = inputs
    ctx.save_for_backward(*tensors, *output[3:], lengths)


def _differentiate(ctx: Any, d_y: Tensor, d_conv: Tensor, d_ssm: Tensor, *_: Any) -> tuple:
    gradients = _mamba_backward(d_y, d_conv, d_ssm, *ctx.saved_tensors)
    wanted = zip(ctx.needs_input_grad, gradients, strict=False)
    return *(gradient if needed else None for needed, gradient in wanted), None


_mamba.register_autograd(_differentiate, setup_context=_remember)


def _shares(x: Tensor, w: Weights) -> tuple[list, int]:
    """Return the shares of the sequences, and the threads for them; channels stay together, as products need them."""
    channels = len(w.D)
    tasks, threads = Shares.of(x.shape[0], 1, x.element_size(), _NANOSECONDS * x.shape[0] * x.shape[1] * channels)
    return tasks, threads


def _starts(x: Tensor, w: Weights) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return the shapes of the windows that tiles start from, and of the states that the chunks of scans start from."""
    (batch, length, _), (d, n), lanes = x.shape, w.A.shape, LINE_BYTES // x.element_size()
    windows = batch, ceil(length / STEPS), w.W_conv.shape[2] - 1, d
    return windows, (batch, ceil(length / CHUNK), n, ceil(d / lanes) * lanes)


def _ends(x: Tensor, lengths: Tensor | None) -> list[int]:
    return [x.shape[1]] * x.shape[0] if lengths is None else lengths.tolist()
