"""All of it in one pass over memory on CPU cores; the backward pass computes them again."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from ssm_zoo.scan.glu._kernels import backward, forward
from ssm_zoo.scan.rows import padded
from ssm_zoo.scan.shares import Shares
from ssm_zoo.scan.threads import on_threads

if TYPE_CHECKING:
    from torch import Tensor

    from ssm_zoo.scan.noise import Noise

_NANOSECONDS = 0.2  # for one product of two numbers, forwards


def run(residual: Tensor, inputs: Tensor, weight: Tensor, bias: Tensor, noise: Noise | None) -> Tensor:
    """Apply all in one fused operation."""
    bits, dropped = (None, 0) if noise is None else noise
    return _glu(residual.contiguous(), inputs.contiguous(), weight, bias, bits, dropped)


@torch.library.custom_op(
    "ssm_zoo::glu_numba",
    mutates_args=(),
    device_types="cpu",
    schema="(Tensor residual, Tensor inputs, Tensor weight, Tensor bias, Tensor? bits, int dropped) -> Tensor",
)
def _glu(residual, inputs, weight, bias, bits, dropped):
    outputs = torch.empty_like(inputs)
    d = inputs.shape[-1]
    # Copies, for a tensor that NumPy has seen can never be resized again, and FSDP resizes parameters.
    maps = padded(weight.unflatten(0, (2, d)).mT).numpy(), _flat(bias.clone())
    arguments = _flat(residual), _flat(inputs), *maps, _dropouts(bits, dropped, inputs), _flat(outputs)
    rows, threads = _shares(inputs)
    on_threads(lambda some: forward(some, *arguments, d), rows, threads)
    return outputs


@_glu.register_fake
def _(residual, inputs, weight, bias, bits, dropped):
    return torch.empty_like(inputs)


@torch.library.custom_op(
    "ssm_zoo::glu_numba_backward",
    mutates_args=(),
    device_types="cpu",
    schema="(Tensor d_outputs, Tensor inputs, Tensor weight, Tensor bias, Tensor? bits, int dropped) "
    "-> (Tensor, Tensor, Tensor)",
)
def _glu_backward(d_outputs, inputs, weight, bias, bits, dropped):
    """Return the gradients of inputs, weight and bias."""
    d_inputs, d = torch.empty_like(inputs), inputs.shape[-1]
    back = padded(weight.unflatten(0, (2, d)))
    maps = padded(weight.unflatten(0, (2, d)).mT).numpy(), back.numpy(), _flat(bias.clone())
    arguments = _flat(inputs), *maps, _dropouts(bits, dropped, inputs), _flat(d_outputs.contiguous()), _flat(d_inputs)
    rows, threads = _shares(inputs)
    d_weight = back.new_zeros(len(rows), *back.shape)  # one for each task, so that none waits
    d_bias = back.new_zeros(len(rows), 2, back.shape[2])

    def work(k, some):
        backward(some, *arguments, d_weight[k].numpy(), d_bias[k].view(-1).numpy(), d)

    on_threads(work, [(k, *some) for k, some in enumerate(rows)], threads)
    return d_inputs, d_weight.sum(0)[..., :d].flatten(0, 1), d_bias.sum(0)[:, :d].flatten()


@_glu_backward.register_fake
def _(d_outputs, inputs, weight, bias, bits, dropped):
    return torch.empty_like(inputs), torch.empty_like(weight), torch.empty_like(bias)


def _remember(ctx, inputs, output):
    _, *tensors, ctx.dropped = inputs
    ctx.save_for_backward(*tensors)


def _differentiate(ctx, d_outputs):
    return d_outputs, *_glu_backward(d_outputs, *ctx.saved_tensors, ctx.dropped), None, None


_glu.register_autograd(_differentiate, setup_context=_remember)


def _shares(inputs: Tensor) -> tuple[list, int]:
    """Return spans of rows, and the threads for them."""
    rows, d = inputs.shape[0] * inputs.shape[1], inputs.shape[2]
    shares = Shares.of(rows, 1, inputs.element_size(), _NANOSECONDS * rows * d * d)
    return [(span,) for span, _ in shares.tasks], shares.threads


def _flat(tensor: Tensor) -> np.ndarray:
    return tensor.detach().view(-1).numpy()


def _dropouts(bits: Tensor | None, dropped: int, like: Tensor) -> tuple:
    """Return what each dropout takes: bits, their lower limit, and the scale of what stays."""
    rows = np.empty((2, 0), np.int16) if bits is None else bits.numpy()
    scale = (like.new_ones(1).numpy() / (1 - dropped / 2**16))[0]
    return tuple((row, np.int16(dropped - 2**15), scale) for row in rows)
