"""`ssd`: what it takes, and which implementation takes it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch.nn.functional import softplus

from ssm_zoo._errors import ShapeError, require
from ssm_zoo.scan._arguments import check_dtype, check_shapes, shape
from ssm_zoo.scan._operation import Choice, Implementation, Operation
from ssm_zoo.scan.lengths import blank, check_lengths, total

if TYPE_CHECKING:
    from jaxtyping import Float, Int
    from torch import Tensor

    from ssm_zoo.scan.moments import Moments

_OPERATION = Operation("dual", ("reference", "torch", "numba", "triton"))


def ssd(
    x: Float[Tensor, "batch length h P"],
    dt: Float[Tensor, "batch length h"],
    A: Float[Tensor, " h"],
    B: Float[Tensor, "batch length g N"],
    C: Float[Tensor, "batch length g N"],
    D: Float[Tensor, " h"] | Float[Tensor, "h P"] | None = None,
    state: Float[Tensor, "batch h P N"] | None = None,
    *,
    dt_bias: Float[Tensor, " h"] | None = None,
    dt_softplus: bool = False,
    dt_limit: tuple[float, float] = (0.0, math.inf),
    lengths: Int[Tensor, " batch"] | None = None,
    moments: Moments | None = None,
    implementation: Implementation = "auto",
) -> tuple[Float[Tensor, "batch length h P"], Float[Tensor, "batch h P N"]]:
    r"""Run $H_t = e^{\Delta_t a} H_{t-1} + \Delta_t x_t B_t^T$, $y_t = H_t C_t + D \odot x_t$ for every head.

    Heads come in g groups of h / g neighbours, which share B and C. Every tensor argument is differentiable, and so
    are both results. Sequences of no steps, or no sequences at all, give empty outputs and hand the state on.

    Parameters
    ----------
    x, B, C
        What enters, and how it is written to the state and read from it. Half precision (autocast) is raised to single.
    dt
        The steps Δ, before bias, softplus and limits.
    A
        The rate a of every head, negative if the state is to fade.
    D
        The feedthrough, a number for every head or for every channel of it.
    state
        The state before the first step; zero if it is not given.
    dt_bias
        Added to the steps.
    dt_softplus
        Whether softplus is applied to them next.
    dt_limit
        Between which numbers they are kept at last.
    lengths
        The number of real steps of every sequence, which come first. The last state is the one after them; outputs
        beyond are zero, whatever is in the padding.
    moments
        Where to add $\sum h h^T$ over the rows of the states, and of the adjoint states in the backward pass, for every
        group: (g, N, N).
    implementation
        `auto` takes what `choose_ssd` says; `reference` is the definition, a loop; `torch` works chunk by chunk with
        matrix products on every device; `numba` does so tile by tile in cache, for the CPU, and `triton` in kernels for
        CUDA; neither of these two can be differentiated twice.

    Returns
    -------
    outputs, last_state
        In double precision if x is, else in single.

    Raises
    ------
    ShapeError, DtypeError
        If the arguments do not fit together.
    OptionError, ImplementationNotAvailableError, UnsupportedError
        If there is no such implementation, the limits are no interval, or it cannot run here.

    References
    ----------
    Dao, Gu, Transformers are SSMs: generalized models and efficient algorithms through structured state space duality,
    ICML 2024, section 6.
    """
    x, dt, A, B, C, D, state, dt_bias = _check(x, dt, A, B, C, D, state, dt_bias)
    low, high = dt_limit
    require(low <= high, f"got dt_limit={dt_limit}, wanted (low, high) with low <= high")
    if lengths is not None:
        check_lengths(lengths, *x.shape[:2])
    run = _OPERATION.load(implementation, x)
    with torch.autocast(x.device.type, enabled=False):
        dt = dt if lengths is None else blank(dt, lengths)  # or the bias would have a gradient of NaN
        dt = dt if dt_bias is None else dt + dt_bias
        dt = softplus(dt) if dt_softplus else dt
        dt = dt if (low, high) == (-math.inf, math.inf) else dt.clamp(low, high)
        if 0 in x.shape[:2]:
            return x.clone(), state.clone()
        tap = None if moments is None else moments.tap
        outputs, last, *moment = run(x, dt, A, B, C, D, state, lengths, tap)
    if moments is not None:
        moments.add(moment[0], total(x, lengths) * x.shape[2] * x.shape[3] // B.shape[2])
    return outputs, last


def choose_ssd(x: Float[Tensor, "batch length h P"]) -> Choice:
    """Return what `auto` takes, and why.

    =====================================  =============
    x                                      takes
    =====================================  =============
    one step                               `reference`
    on the CPU, Numba is installed         `numba`
    on CUDA, Triton is installed           `triton`
    anything else                          `torch`
    =====================================  =============
    """
    return _OPERATION.choose(x)


def available_ssd() -> tuple[Implementation, ...]:
    """Return the names of the implementations that can run here, the definition first."""
    return _OPERATION.available()


def _check(x, dt, A, B, C, D, state, dt_bias):
    """Return the arguments in one precision, D as (h, P), and a state; raise if anything does not fit."""
    ranks = (x.ndim, dt.ndim, A.ndim, B.ndim, C.ndim)
    if ranks != (4, 3, 1, 4, 4):
        msg = f"x, dt, A, B and C must have 4, 3, 1, 4 and 4 axes, got {ranks}; see the shapes in help(ssd)"
        raise ShapeError(msg)
    (batch, length, h, P), (g, N) = x.shape, B.shape[2:]
    if g == 0 or h % g or N == 0 or P == 0:
        msg = (
            f"got {h} heads of {P} channels in {g} groups of {N} states, wanted as many heads in every group, and some"
        )
        raise ShapeError(msg)
    wanted = {
        "dt": (dt, (batch, length, h)),
        "A": (A, (h,)),
        "B": (B, (batch, length, g, N)),
        "C": (C, (batch, length, g, N)),
        "D": (D, (h, P) if D is not None and D.ndim == 2 else (h,)),
        "state": (state, (batch, h, P, N)),
        "dt_bias": (dt_bias, (h,)),
    }
    check_shapes(wanted, f"x {shape(x)} and {g} groups of {N} states")
    dtype = torch.float64 if x.dtype == torch.float64 else torch.float32
    like = f"x is {x.dtype}"
    check_dtype("x", x, dtype, like, half=True)
    for name, (tensor, _) in wanted.items():
        check_dtype(name, tensor, dtype, like, half=True)
    state = x.new_zeros(batch, h, P, N, dtype=dtype) if state is None else state
    D = D if D is None or D.ndim == 2 else D[:, None].expand(h, P)
    return tuple(None if tensor is None else tensor.to(dtype) for tensor in (x, dt, A, B, C, D, state, dt_bias))
