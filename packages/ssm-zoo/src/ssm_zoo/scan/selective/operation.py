"""`selective_scan`: what it takes, and which implementation takes it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from ssm_zoo._errors import DtypeError, ShapeError
from ssm_zoo.scan._arguments import check_dtype, check_shapes, shape
from ssm_zoo.scan._operation import Choice, Implementation, Operation
from ssm_zoo.scan.lengths import check_lengths, total

if TYPE_CHECKING:
    from jaxtyping import Float, Int
    from torch import Tensor

    from ssm_zoo.scan.moments import Moments

_OPERATION = Operation("selective", ("reference", "torch", "numba", "triton"), one_step="torch")


def selective_scan(
    u: Float[Tensor, "batch length d"],
    dt: Float[Tensor, "batch length d"],
    A: Float[Tensor, "d n"],
    B: Float[Tensor, "batch length n"],
    C: Float[Tensor, "batch length n"],
    state: Float[Tensor, "batch d n"] | None = None,
    *,
    D: Float[Tensor, " d"] | None = None,
    z: Float[Tensor, "batch length d"] | None = None,
    dt_bias: Float[Tensor, " d"] | None = None,
    dt_softplus: bool = False,
    lengths: Int[Tensor, " batch"] | None = None,
    moments: Moments | None = None,
    implementation: Implementation = "auto",
) -> tuple[Float[Tensor, "batch length d"], Float[Tensor, "batch d n"]]:
    r"""Run $h_t = e^{dt_t A} \odot h_{t-1} + (dt_t u_t) B_t^T,\; y_t = (h_t C_t + D u_t)\,\mathrm{silu}(z_t)$.

    Every channel has a state of its own, of n numbers, which all channels write with the same $B_t$ and read with the
    same $C_t$. Every tensor argument is differentiable, and so are both results.

    Parameters
    ----------
    u
        The inputs. Half precision (autocast) is raised to the precision of A, and so for dt, B, C and z.
    dt
        Step sizes; with `dt_softplus`, before the bias and the softplus.
    A
        Continuous decay rates, negative, float32 or float64.
    B, C
        How the inputs enter the state, and how it is read.
    state
        The state before the first step; zero if it is not given.
    D
        Feedthrough.
    z
        Gate of the outputs.
    dt_bias, dt_softplus
        The step sizes are softplus(dt + dt_bias), or dt + dt_bias.
    lengths
        Real steps of each sequence, padded on the right: what is in the padding does not count, outputs there are
        zero, and the last state is the one after the real steps.
    moments
        Adds up $\sum h h^T$, (n, n), over the channels of all real steps, and the same of the adjoint states.
    implementation
        `auto` takes what `choose_selective_scan` says; `reference` is the definition, a loop; `torch` is a loop that
        holds the states of one chunk, on every device; `numba` is fused and multi-threaded, for the CPU, `triton` for
        CUDA, and neither can be differentiated twice.

    Returns
    -------
    outputs, last_state
        In the precision of A.

    Raises
    ------
    ShapeError, DtypeError
        If the arguments do not fit together.
    OptionError, ImplementationNotAvailableError, UnsupportedError
        If there is no such implementation, or it cannot run here.

    References
    ----------
    Gu, Dao, Mamba: linear-time sequence modeling with selective state spaces, 2023, equations (2) and (4).
    """
    (u, dt, B, C, z), state = _check(u, dt, A, B, C, state, D, z, dt_bias)
    if lengths is not None:
        check_lengths(lengths, *u.shape[:2])
    tap = None if moments is None else _tap(moments, A)
    run = _OPERATION.load(implementation, u)
    if 0 in u.shape or not A.shape[1]:
        run = _nothing  # kernels need something to work on
    with torch.autocast(u.device.type, enabled=False):
        outputs, last, *moment = run(u, dt, A, B, C, state, D, z, dt_bias, dt_softplus, lengths, tap)
    if moments is not None and moment:
        moments.add(moment[0], total(u, lengths) * u.shape[2])
    return outputs, last


def choose_selective_scan(u: Float[Tensor, "batch length d"]) -> Choice:
    """Return what `auto` takes, and why.

    =====================================  =============
    inputs                                 takes
    =====================================  =============
    one step                               `torch`
    on the CPU, Numba is installed         `numba`
    on a GPU, Triton is installed          `triton`
    anything else                          `torch`
    =====================================  =============
    """
    return _OPERATION.choose(u)


def _check(u, dt, A, B, C, state, D, z, dt_bias):
    """Return the sequences in the precision of A, and a state; raise if anything does not fit."""
    if A.dtype not in (torch.float32, torch.float64):
        msg = f"A must be float32 or float64, got {A.dtype}; raise half precision with .float()"
        raise DtypeError(msg)
    if u.ndim != 3 or A.ndim != 2:
        msg = f"u must be (batch, length, d) and A (d, n), got {shape(u)} and {shape(A)}"
        raise ShapeError(msg)
    (batch, length, d), n = u.shape, A.shape[1]
    state = A.new_zeros(batch, d, n) if state is None else state
    sequences = {"u": (u, (batch, length, d)), "dt": (dt, (batch, length, d)), "z": (z, (batch, length, d))}
    sequences |= {"B": (B, (batch, length, n)), "C": (C, (batch, length, n))}
    others = {"A": (A, (d, n)), "state": (state, (batch, d, n)), "D": (D, (d,)), "dt_bias": (dt_bias, (d,))}
    check_shapes(sequences | others, f"u {shape(u)} and A {shape(A)}")
    for name, (tensor, _) in (sequences | others).items():
        check_dtype(name, tensor, A.dtype, "A is", half=name in sequences)
    return tuple(None if x is None else x.to(A.dtype) for x in (u, dt, B, C, z)), state


def _tap(moments: Moments, A: Tensor) -> Tensor:
    n = A.shape[1]
    if shape(moments.tap) != (n, n):
        msg = f"moments must be {(n, n)} for A {shape(A)}, got {shape(moments.tap)}; make them with Moments(({n}, {n}))"
        raise ShapeError(msg)
    return moments.tap


def _nothing(u, dt, A, B, C, state, D, z, dt_bias, positive, lengths, tap):
    """Return no steps, or no sequences, and the state handed on; every argument has a gradient, of zeros."""
    rest = sum(x.sum() for x in (u, dt, A, B, C, D, z, dt_bias) if x is not None)
    return u + 0 * rest, state + 0 * rest
