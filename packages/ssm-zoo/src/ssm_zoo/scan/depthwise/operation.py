"""`causal_conv`: what it takes, and which implementation takes it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import torch

from ssm_zoo._errors import DtypeError, OptionError, ShapeError, require
from ssm_zoo.scan._arguments import check_dtype, check_shapes, shape
from ssm_zoo.scan._operation import Choice, Implementation, Operation
from ssm_zoo.scan.lengths import check_lengths

if TYPE_CHECKING:
    from jaxtyping import Float, Int
    from torch import Tensor

_OPERATION = Operation("depthwise", ("reference", "torch", "numba"), one_step="torch")


def causal_conv(
    inputs: Float[Tensor, "batch length d"],
    weight: Float[Tensor, "d k"],
    bias: Float[Tensor, " d"] | None = None,
    state: Float[Tensor, "batch k-1 d"] | None = None,
    *,
    lengths: Int[Tensor, " batch"] | None = None,
    activation: Literal["silu"] | None = "silu",
    implementation: Implementation = "auto",
) -> tuple[Float[Tensor, "batch length d"], Float[Tensor, "batch k-1 d"]]:
    r"""Return $y_t = \mathrm{silu}\big(b + \sum_{j<k} w_j \odot u_{t-k+1+j}\big)$ over every sequence of a batch.

    Every tensor argument is differentiable, and so are both results. There is no kernel for CUDA: `auto` takes the
    shifted products of Torch there, which `torch.compile` fuses.

    Parameters
    ----------
    inputs
        The inputs u. Half precision (autocast) is raised to the precision of the weight.
    weight, bias
        One filter of k taps for each channel, the last tap for the present; float32 or float64.
    state
        The window: the k - 1 inputs before the first step, as a piece of the sequence; zero if it is not given.
    lengths
        Real steps of each sequence, padded on the right: what is in the padding does not count, outputs there are
        zero, and the last state is the one after the real steps.
    activation
        `silu`, or None for the convolution alone.
    implementation
        `auto` takes what `choose_conv` says; `reference` is the definition, a loop; `torch` adds shifted products, on
        every device; `numba` is fused and multi-threaded, for the CPU, and cannot be differentiated twice.

    Returns
    -------
    outputs, last_state
        In the precision of the weight.

    Raises
    ------
    ShapeError, DtypeError
        If the arguments do not fit together.
    OptionError, ImplementationNotAvailableError
        If there is no such implementation, or it cannot run here.
    """
    require(activation in ("silu", None), f"got activation={activation!r}, wanted 'silu' or None", OptionError)
    inputs, state = _check(inputs, weight, bias, state, lengths)
    run = _OPERATION.load(implementation, inputs)
    if 0 in inputs.shape:
        run = _OPERATION.load("torch", inputs)  # kernels need something to work on
    with torch.autocast(inputs.device.type, enabled=False):
        return run(inputs, weight, bias, state, lengths, activation == "silu")


def choose_conv(inputs: Float[Tensor, "batch length d"]) -> Choice:
    """Return what `auto` takes, and why.

    =====================================  =============
    inputs                                 takes
    =====================================  =============
    one step                               `torch`
    on the CPU, Numba is installed         `numba`
    anything else                          `torch`
    =====================================  =============
    """
    return _OPERATION.choose(inputs)


def _check(inputs, weight, bias, state, lengths):
    """Return the inputs in the precision of the weight, and a state; raise if anything does not fit."""
    if weight.dtype not in (torch.float32, torch.float64):
        msg = f"weight must be float32 or float64, got {weight.dtype}; raise half precision with .float()"
        raise DtypeError(msg)
    if inputs.ndim != 3 or weight.ndim != 2 or weight.shape[1] < 1:
        msg = (
            f"inputs must be (batch, length, d) and weight (d, k), k >= 1, got {shape(inputs)} and {shape(weight)};"
            " squeeze a Conv1d weight of (d, 1, k)"
        )
        raise ShapeError(msg)
    (batch, length, channels), taps = inputs.shape, weight.shape[1]
    if state is None:
        state = weight.new_zeros(batch, taps - 1, channels)
    wanted = {
        "weight": (weight, (channels, taps)),
        "state": (state, (batch, taps - 1, channels)),
        "bias": (bias, (channels,)),
    }
    check_shapes(wanted, f"inputs {shape(inputs)} and {taps} taps")
    for name, (tensor, _) in wanted.items():
        check_dtype(name, tensor, weight.dtype, "the weight is")
    check_dtype("inputs", inputs, weight.dtype, "the weight is", half=True)
    if lengths is not None:
        check_lengths(lengths, batch, length)
    return inputs.to(weight.dtype), state
