"""Work out the cut of one layer, with its evidence, without touching the layer."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, cast

import numpy as np
import torch
from torch import nn
from torch.func import functional_call

import ssm_balance as sb
from ssm_gramians import StateSpace

from .._errors import ReductionError
from .balancing import on_host
from .certificate import Certificate, Limits
from .refit import pull_inside

if TYPE_CHECKING:
    from torch import Tensor

    from ssm_balance import Diagonalization, Selection

    from ..layers import Reducible, Surgery
    from .balancing import Balancing


@dataclass(frozen=True)
class Proposal:
    """A cut that could be made: `surgery` is None if the selection keeps (nearly) all states."""

    hsv: np.ndarray
    slots: int
    seconds: float
    surgery: Surgery | None = None
    certificate: Certificate | None = None


def propose(layer: Reducible, inputs: Tensor, balancing: Balancing, selection: Selection, limits: Limits) -> Proposal:
    """Balance, select the order, project, make diagonal, pull unstable poles inside, and measure.

    Parameters
    ----------
    layer
        The layer as it is; not changed.
    inputs
        Activations that reach the layer, shape (batch, length, d_model). Every fourth sequence is held out of the
        balancing, and the error is measured on those; a single sequence serves for both.
    balancing, selection, limits
        What is balanced, how many real states are kept (two to a slot), and what counts as a saving.

    Raises
    ------
    ReductionError
        If the layer or its inputs hold NaN or infinity, or the layer is unstable.
    """
    start = time.perf_counter()
    system = _checked_system(layer, inputs)
    seen, probe = split(inputs)
    Z_P, Z_Q = balancing.factors(layer, seen)
    projection = sb.balance(Z_P, Z_Q, selection, driver="eigh")
    slots = (selection.select(projection.hsv) + 1) // 2
    if slots > (1 - limits.least_saving) * layer.d_state:
        return Proposal(projection.hsv, layer.d_state, time.perf_counter() - start)
    modes, order = _fit_in_slots(system, projection, slots)
    radius = float(np.abs(modes.system.A.eigenvalues).max())
    if radius >= 1:
        modes = replace(modes, system=pull_inside(modes.system, system, seen))
    left, right = projection.left[:, :order] @ modes.left, projection.right[:, :order] @ modes.right
    surgery = layer.surgery(modes.system, left, right)
    certificate = Certificate(
        error_bound=float(sb.error_bound(projection.hsv, order)) if balancing.has_bound else None,
        hinf_error=sb.estimate_peak_gain(sb.difference(system, modes.system))[0],
        output_error=_output_error(layer, surgery, probe),
        condition=float(modes.condition),
        spectral_radius=radius,
    )
    return Proposal(projection.hsv, modes.left.shape[-1], time.perf_counter() - start, surgery, certificate)


def _checked_system(layer: Reducible, inputs: Tensor) -> StateSpace:
    system = on_host(layer.system())
    A = system.A.eigenvalues
    for name, values in {"poles": A, "B": system.B, "C": system.C, "activations": inputs.cpu().numpy()}.items():
        if not np.isfinite(values).all():
            msg = f"the layer has NaN or infinity in its {name}; want finite values: has the training diverged?"
            raise ReductionError(msg)
    if np.abs(A).max() > 1 - np.finfo(float).eps:
        worst = A[np.abs(A).argmax()]
        msg = f"the layer is unstable: it has the pole {worst:.6g} of modulus {abs(worst):.9g}; want every modulus < 1"
        raise ReductionError(msg)
    return system


def split(inputs: Tensor) -> tuple[Tensor, Tensor]:
    """Return the sequences that are balanced from, and every fourth, on which the error is measured."""
    if len(inputs) == 1:
        return inputs, inputs
    held_out = torch.arange(len(inputs)) % 4 == 1
    return inputs[~held_out], inputs[held_out]


def _fit_in_slots(system: StateSpace, projection: sb.Projection, slots: int) -> tuple[Diagonalization, int]:
    """Return a balanced truncation that needs at most so many slots: a real pole fills a whole one."""
    order = min(2 * slots, projection.order)
    largest = sb.project(system, projection.left[:, :order], projection.right[:, :order])
    dense = cast(np.ndarray, largest.A)
    needed = int((np.linalg.eigvals(dense).imag >= 0).sum())  # cheaper than with vectors
    while True:
        if needed > slots:  # fits, give or take one, if the lower order has the same share of real poles
            order = min(order - 1, math.ceil(order * slots / needed))
        A, B, C = dense[:order, :order], largest.B[:order], largest.C[:, :order]
        modes = sb.diagonalize(StateSpace(A, B, C, largest.D, largest.dt))
        needed = modes.left.shape[-1]
        if needed <= slots:
            return modes, order


def _output_error(layer: Reducible, surgery: Surgery, probe: Tensor) -> float:
    module = cast(nn.Module, layer)
    with torch.no_grad():
        before = module(probe)
        after = functional_call(module, dict(surgery.parameters), (probe,))
    return float((after - before).double().norm() / before.double().norm())
