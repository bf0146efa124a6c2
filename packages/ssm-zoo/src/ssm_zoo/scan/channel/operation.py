"""`channel_scan`: what it takes, and which implementation takes it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from ssm_zoo._errors import DtypeError, ShapeError
from ssm_zoo.scan._arguments import REAL, check_dtype, check_shapes, shape
from ssm_zoo.scan._operation import Choice, Implementation, Operation
from ssm_zoo.scan.channel.moments import gathered, state_moment, summed
from ssm_zoo.scan.lengths import blank, check_lengths, total

if TYPE_CHECKING:
    from jaxtyping import Complex, Float, Int
    from torch import Tensor

    from ssm_zoo.scan.moments import Moments

OPERATION = Operation("channel", ("reference", "torch", "numba", "triton"))


def channel_scan(
    inputs: Float[Tensor, "batch length H"],
    eigenvalues: Complex[Tensor, "H n"],
    C: Complex[Tensor, "H n"],
    state: Complex[Tensor, "batch H n"] | None = None,
    *,
    D: Float[Tensor, " H"] | None = None,
    lengths: Int[Tensor, " batch"] | None = None,
    moments: Moments | None = None,
    implementation: Implementation = "auto",
) -> tuple[Float[Tensor, "batch length H"], Complex[Tensor, "batch H n"]]:
    r"""Run $x_t = \lambda \odot x_{t-1} + u_t$, $y_t = \mathrm{Re}(c \cdot x_t) + D u_t$ in every channel for itself.

    Each of the H channels is a system of its own with one input, one output and n states; an input map b belongs into
    C, as $c b$. Every tensor argument is differentiable, and so are both results.

    Parameters
    ----------
    inputs
        The real inputs u. Half precision (autocast) is raised to the precision of the eigenvalues, never the reverse.
    eigenvalues, C
        λ and c, complex64 or complex128 both.
    state
        The state before the first step; zero if it is not given.
    D
        The feedthrough; none if it is not given.
    lengths
        The number of real steps of each sequence, which come first: what is behind them does not count, the outputs
        there are zero, and the last state is the one after the last real step.
    moments
        Gathers the second moments of states and adjoint states in every channel, (H, 2n, 2n).
    implementation
        `auto` takes what `choose_channel_scan` says; `reference` is the definition, a loop; `torch` works in chunks, by
        matrix products, on every device; `numba` does the same fused and multi-threaded, for the CPU, and `triton`
        steps through the sequence on a GPU; these two cannot be differentiated twice.

    Returns
    -------
    outputs, last_state
        In the precision of the eigenvalues.

    Raises
    ------
    ShapeError, DtypeError
        If the arguments do not fit together.
    OptionError, ImplementationNotAvailableError, UnsupportedError
        If there is no such implementation, or it cannot run here.
    """
    inputs, D, state = _check(inputs, eigenvalues, C, D, state, lengths)
    if implementation == "auto":
        implementation = choose_channel_scan(inputs).implementation
    run = OPERATION.load(implementation, inputs)
    if lengths is not None:
        inputs = blank(inputs, lengths)
    with torch.autocast(inputs.device.type, enabled=False):
        results = (inputs * D, state) if 0 in inputs.shape else run(inputs, eigenvalues, C, D, state, lengths)
        if moments is not None:
            step = summed if implementation == "reference" else state_moment
            _gather(moments, step, inputs, eigenvalues, state, lengths)
            results = gathered(results, moments.tap, eigenvalues, C, lengths)
    outputs, last = results
    return (outputs if lengths is None else blank(outputs, lengths)), last


def choose_channel_scan(inputs: Float[Tensor, "batch length H"]) -> Choice:
    """Return what `auto` takes, and why.

    =====================================  =============
    inputs                                 takes
    =====================================  =============
    one step                               `reference`
    on the CPU, Numba is installed         `numba`
    on a GPU, Triton is installed          `triton`
    anything else                          `torch`
    =====================================  =============
    """
    return OPERATION.choose(inputs)


def _gather(moments, step, inputs, eigenvalues, state, lengths):
    with torch.no_grad():
        carried, ones = eigenvalues * state, torch.ones_like(eigenvalues)
        double = (z.to(torch.complex128) for z in (eigenvalues, ones, carried))
        moment = step(inputs.double(), *double, lengths)
    moments.add(moment, total(inputs, lengths))


def _check(inputs, eigenvalues, C, D, state, lengths):
    """Return the inputs in the precision of the eigenvalues, D and a state; raise if anything does not fit."""
    if eigenvalues.dtype not in REAL:
        msg = f"eigenvalues must be complex64 or complex128, got {eigenvalues.dtype}"
        raise DtypeError(msg)
    real = REAL[eigenvalues.dtype]
    like = f"eigenvalues are {eigenvalues.dtype}"
    check_dtype("inputs", inputs, real, like, half=True)
    if inputs.ndim != 3 or eigenvalues.ndim != 2:
        msg = (
            f"inputs must be (batch, length, H) and eigenvalues (H, n), got {shape(inputs)} and {shape(eigenvalues)};"
            " unsqueeze what is missing"
        )
        raise ShapeError(msg)
    (batch, length, H), n = inputs.shape, eigenvalues.shape[1]
    D = inputs.new_zeros(H, dtype=real) if D is None else D
    state = eigenvalues.new_zeros(batch, H, n) if state is None else state
    wanted = {"eigenvalues": (eigenvalues, (H, n)), "C": (C, (H, n)), "D": (D, (H,)), "state": (state, (batch, H, n))}
    check_shapes(wanted, f"inputs {shape(inputs)} and {n} states")
    for name, (tensor, _) in wanted.items():
        check_dtype(name, tensor, real if name == "D" else eigenvalues.dtype, like)
    if lengths is not None:
        check_lengths(lengths, batch, length)
    return inputs.to(real), D, state
