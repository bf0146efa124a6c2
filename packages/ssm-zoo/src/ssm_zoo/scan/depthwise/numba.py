"""The convolution, its bias and SiLU in one pass over memory on CPU cores; the backward pass computes them again."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from ssm_zoo.scan.depthwise._kernels import backward, forward
from ssm_zoo.scan.lengths import counts
from ssm_zoo.scan.rows import Rows, padded
from ssm_zoo.scan.shares import Shares
from ssm_zoo.scan.threads import on_threads

if TYPE_CHECKING:
    from torch import Tensor

_NANOSECONDS = 0.7  # for one output, forwards


def run(
    inputs: Tensor, weight: Tensor, bias: Tensor | None, state: Tensor, lengths: Tensor | None, activate: bool
) -> tuple[Tensor, Tensor]:
    """Convolve in one fused operation."""
    return _conv(inputs, weight, bias, state, lengths, activate)


@torch.library.custom_op(
    "ssm_zoo::causal_conv_numba",
    mutates_args=(),
    device_types="cpu",
    schema="(Tensor inputs, Tensor weight, Tensor? bias, Tensor state, Tensor? lengths, bool activate)"
    " -> (Tensor, Tensor)",
)
def _conv(inputs, weight, bias, state, lengths, activate):
    outputs, last = _like(inputs, lengths), state.new_empty(state.shape)
    tasks, threads = _shares(inputs)
    arguments = _arguments(inputs, weight, bias, state, lengths)
    results = Rows.of(outputs), last.numpy().reshape(-1), inputs.shape[2], activate
    on_threads(lambda *share: forward(*share, *arguments, *results), tasks, threads)
    return outputs, last


@_conv.register_fake
def _(inputs, weight, bias, state, lengths, activate):
    return inputs.new_empty(inputs.shape), state.new_empty(state.shape)


@torch.library.custom_op(
    "ssm_zoo::causal_conv_numba_backward",
    mutates_args=(),
    device_types="cpu",
    schema="(Tensor d_outputs, Tensor d_last, Tensor inputs, Tensor weight, Tensor? bias, Tensor state, "
    "Tensor? lengths, bool activate) -> (Tensor, Tensor, Tensor, Tensor)",
)
def _conv_backward(d_outputs, d_last, inputs, weight, bias, state, lengths, activate):
    """Return the gradients of inputs, weight, bias (whether there is one or not) and state."""
    d_inputs, d_state = _like(inputs, lengths), d_last.clone(memory_format=torch.contiguous_format)
    tasks, threads = _shares(inputs)
    arguments = _arguments(inputs, weight, bias, state, lengths)
    d_y, d_x = Rows.of(d_outputs), Rows.of(d_inputs)
    d_weight = padded(weight.mT.new_zeros(len(tasks), *weight.mT.shape))  # one for each task, so that none waits
    d_bias = d_weight.new_zeros(len(tasks), d_weight.shape[-1])

    d = inputs.shape[2]

    def work(k, share):
        sums = d_weight[k].view(-1).numpy(), d_bias[k].numpy()
        backward(*share, *arguments, d_y, d_x, *sums, d_state.numpy().reshape(-1), d, activate)

    on_threads(work, list(enumerate(tasks)), threads)
    return d_inputs, d_weight.sum(0)[:, :d].mT.contiguous(), d_bias.sum(0)[:d].clone(), d_state


@_conv_backward.register_fake
def _(d_outputs, d_last, inputs, weight, bias, state, lengths, activate):
    d_bias = weight.new_empty(weight.shape[0])
    return inputs.new_empty(inputs.shape), weight.new_empty(weight.shape), d_bias, state.new_empty(state.shape)


def _remember(ctx, inputs, output):
    *tensors, ctx.activate = inputs
    ctx.save_for_backward(*tensors)


def _differentiate(ctx, d_outputs, d_last):
    bias = ctx.saved_tensors[2]
    d_inputs, d_weight, d_bias, d_state = _conv_backward(d_outputs, d_last, *ctx.saved_tensors, ctx.activate)
    return d_inputs, d_weight, None if bias is None else d_bias, d_state, None, None


_conv.register_autograd(_differentiate, setup_context=_remember)


def _shares(inputs: Tensor) -> Shares:
    batch, _, channels = inputs.shape
    return Shares.of(batch, channels, inputs.element_size(), _NANOSECONDS * inputs.numel())


def _like(inputs: Tensor, lengths: Tensor | None) -> Tensor:
    """Return memory for results; where there is padding, of zeros."""
    return (inputs.new_empty if lengths is None else inputs.new_zeros)(inputs.shape)


def _arguments(inputs, weight, bias, state, lengths):
    bias = weight.new_zeros(len(weight)) if bias is None else bias
    flat = (tensor.reshape(-1).numpy() for tensor in (padded(weight.mT), padded(bias), state.detach()))
    return counts(inputs, lengths).numpy(), Rows.of(inputs), *flat
