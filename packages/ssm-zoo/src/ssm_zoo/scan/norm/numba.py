"""The gate and the norm in one pass over memory on CPU cores; the backward pass computes them again."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from ssm_zoo.scan.norm._kernels import backward, forward
from ssm_zoo.scan.rows import Rows, padded
from ssm_zoo.scan.shares import Shares
from ssm_zoo.scan.threads import on_threads

if TYPE_CHECKING:
    from torch import Tensor

_NANOSECONDS = 0.8  # for one output, forwards


def run(inputs: Tensor, gate: Tensor, weight: Tensor, groups: int, eps: float, norm_before_gate: bool) -> Tensor:
    """Gate and normalise in one fused operation."""
    return _norm(inputs, gate, weight, groups, eps, norm_before_gate)


@torch.library.custom_op(
    "ssm_zoo::gated_norm_numba",
    mutates_args=(),
    device_types="cpu",
    schema="(Tensor inputs, Tensor gate, Tensor weight, int groups, float eps, bool norm_before_gate) -> Tensor",
)
def _norm(inputs, gate, weight, groups, eps, norm_before_gate):
    outputs = inputs.new_empty(inputs.shape)
    arguments = Rows.of(inputs), Rows.of(gate), _weight(weight, groups), Rows.of(outputs)
    sizes = inputs.shape[1], inputs.shape[2] // groups, groups
    rows, threads = _shares(inputs)
    on_threads(lambda some: forward(some, *arguments, sizes, eps, norm_before_gate), rows, threads)
    return outputs


@_norm.register_fake
def _(inputs, gate, weight, groups, eps, norm_before_gate):
    return inputs.new_empty(inputs.shape)


@torch.library.custom_op(
    "ssm_zoo::gated_norm_numba_backward",
    mutates_args=(),
    device_types="cpu",
    schema="(Tensor d_outputs, Tensor inputs, Tensor gate, Tensor weight, int groups, float eps, "
    "bool norm_before_gate) -> (Tensor, Tensor, Tensor)",
)
def _norm_backward(d_outputs, inputs, gate, weight, groups, eps, norm_before_gate):
    """Return the gradients of inputs, gate and weight."""
    d_inputs, d_gate = inputs.new_empty(inputs.shape), inputs.new_empty(inputs.shape)
    arguments = Rows.of(inputs), Rows.of(gate), _weight(weight, groups), Rows.of(d_outputs)
    results = Rows.of(d_inputs), Rows.of(d_gate)
    sizes = inputs.shape[1], inputs.shape[2] // groups, groups
    rows, threads = _shares(inputs)
    d_weight = padded(weight.new_zeros(len(rows), groups, sizes[1]))  # one for each task, so that none waits

    def work(k, some):
        backward(some, *arguments, *results, d_weight[k].view(-1).numpy(), sizes, eps, norm_before_gate)

    on_threads(work, [(k, *some) for k, some in enumerate(rows)], threads)
    return d_inputs, d_gate, d_weight.sum(0)[:, : sizes[1]].flatten()


@_norm_backward.register_fake
def _(d_outputs, inputs, gate, weight, groups, eps, norm_before_gate):
    return inputs.new_empty(inputs.shape), inputs.new_empty(inputs.shape), weight.new_empty(weight.shape)


def _remember(ctx, inputs, output):
    *tensors, ctx.groups, ctx.eps, ctx.norm_before_gate = inputs
    ctx.save_for_backward(*tensors)


def _differentiate(ctx, d_outputs):
    options = ctx.groups, ctx.eps, ctx.norm_before_gate
    return *_norm_backward(d_outputs, *ctx.saved_tensors, *options), None, None, None


_norm.register_autograd(_differentiate, setup_context=_remember)


def _shares(inputs: Tensor) -> tuple[list, int]:
    """Return spans of rows, of all sequences after one another, and the threads for them."""
    rows = inputs.shape[0] * inputs.shape[1]
    shares = Shares.of(rows, 1, inputs.element_size(), _NANOSECONDS * inputs.numel())
    return [(rows,) for rows, _ in shares.tasks], shares.threads


def _weight(weight, groups):
    return padded(weight.unflatten(0, (groups, -1))).view(-1).numpy()
