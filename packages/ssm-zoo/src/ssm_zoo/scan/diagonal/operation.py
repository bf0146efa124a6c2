"""`diagonal_scan`: what it takes, and which implementation takes it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from ssm_zoo._errors import DtypeError, ShapeError
from ssm_zoo.scan._arguments import REAL, check_dtype, check_shapes, shape
from ssm_zoo.scan._operation import Choice, Implementation, Operation
from ssm_zoo.scan.lengths import blank, check_lengths, total

if TYPE_CHECKING:
    from jaxtyping import Complex, Float, Int
    from torch import Tensor

    from ssm_zoo.scan.moments import Moments

_OPERATION = Operation("diagonal", ("reference", "torch", "numba", "triton"))


def diagonal_scan(
    inputs: Float[Tensor, "batch length m"],
    eigenvalues: Complex[Tensor, " n"],
    B: Complex[Tensor, "n m"],
    C: Complex[Tensor, "p n"],
    state: Complex[Tensor, "batch n"] | None = None,
    *,
    D: Float[Tensor, " m"] | None = None,
    reverse: bool = False,
    lengths: Int[Tensor, " batch"] | None = None,
    moments: Moments | None = None,
    implementation: Implementation = "auto",
) -> tuple[Float[Tensor, "batch length p"], Complex[Tensor, "batch n"]]:
    r"""Run $x_t = \lambda \odot x_{t-1} + B u_t$, $y_t = \mathrm{Re}(C x_t) + D \odot u_t$ over a batch of sequences.

    Every tensor argument is differentiable, and so are both results. Sequences of no steps, or no sequences at all,
    give empty outputs and hand the state on.

    Parameters
    ----------
    inputs
        The real inputs u. Half precision (autocast) is raised to the precision of the eigenvalues, never the reverse.
    eigenvalues, B, C
        One complex system, complex64 or complex128 throughout.
    state
        The state before the first step; zero if it is not given.
    D
        Feedthrough, if there are as many outputs as inputs; none if it is not given.
    reverse
        Run from the last step to the first; `state` is then what lies after the end, the last state that of step 0.
    lengths
        How many steps of each sequence are real; the padding behind them counts for nothing, whatever is in it: outputs
        there are zero, and the last state is the one after the last real step (the first one, if `reverse`).
    moments
        Add $\sum \xi \xi^T$, with $\xi = [\mathrm{Re}\,x; \mathrm{Im}\,x]$, over all real steps to this, and in the
        backward pass the same of the adjoint states.
    implementation
        `auto` takes what `choose_scan` says; `reference` is the definition, a loop; `torch` is a chunked associative
        scan for every device; `numba` is fused and multi-threaded, for the CPU, `triton` for CUDA; neither of these can
        be differentiated twice.

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
    inputs, state = _check(inputs, eigenvalues, B, C, D, state)
    if lengths is not None:
        check_lengths(lengths, *inputs.shape[:2])
        inputs = blank(inputs, lengths)
    run = _OPERATION.load(implementation, inputs)
    with torch.autocast(inputs.device.type, enabled=False):
        if 0 in inputs.shape[:2]:
            return inputs @ (C @ B).real.mT, state
        tap = None if moments is None else moments.tap
        outputs, last, *moment = run(inputs, eigenvalues, B, C, D, state, reverse, lengths, tap)
    if moments is not None:
        moments.add(moment[0], total(inputs, lengths))
    return outputs if lengths is None else blank(outputs, lengths), last


def choose_scan(inputs: Float[Tensor, "batch length m"]) -> Choice:
    """Return what `auto` takes, and why.

    =====================================  =============
    inputs                                 takes
    =====================================  =============
    one step                               `reference`
    on the CPU, Numba is installed         `numba`
    on CUDA, Triton is installed           `triton`
    anything else                          `torch`
    =====================================  =============
    """
    return _OPERATION.choose(inputs)


def available_scans() -> tuple[Implementation, ...]:
    """Return the names of the implementations that can run here, the definition first."""
    return _OPERATION.available()


def _check(inputs, eigenvalues, B, C, D, state):
    """Return the inputs in the precision of the eigenvalues, and a state; raise if anything does not fit."""
    if eigenvalues.dtype not in REAL:
        msg = f"eigenvalues must be complex64 or complex128, got {eigenvalues.dtype}"
        raise DtypeError(msg)
    if inputs.ndim != 3 or eigenvalues.ndim != 1:
        msg = (
            f"inputs must be (batch, length, m) and eigenvalues (n,), got {shape(inputs)} and {shape(eigenvalues)};"
            " unsqueeze what is missing"
        )
        raise ShapeError(msg)
    (batch, _, m), (n,) = inputs.shape, eigenvalues.shape
    if state is None:
        state = eigenvalues.new_zeros(batch, n)
    wanted = {"B": (B, (n, m)), "C": (C, (C.shape[0] if C.ndim else 0, n)), "state": (state, (batch, n))}
    check_shapes(wanted, f"inputs {shape(inputs)} and {n} eigenvalues")
    for name, (tensor, _) in wanted.items():
        check_dtype(name, tensor, eigenvalues.dtype, "the eigenvalues are")
    real = REAL[eigenvalues.dtype]
    check_dtype("inputs", inputs, real, f"eigenvalues are {eigenvalues.dtype}", half=True)
    if D is not None and (tuple(D.shape) != (m,) or C.shape[0] != m or D.dtype != real):
        msg = f"D must be ({m},) and {real}, for as many outputs, got {shape(D)}, {D.dtype} for {C.shape[0]} outputs"
        raise ShapeError(msg)
    return inputs.to(real), state
