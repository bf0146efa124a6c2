"""From a reduced system to the nearest local optimum of the H2 error."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ssm_gramians import Diagonal, ShapeError, Sparse, StateSpace, UnsupportedError

from ._descriptor import without_descriptor
from ._difference import difference
from ._errors import BalanceError
from ._h2_refine import descend
from ._host import in_kind_of, on_host
from ._large_error import large_h2_error
from ._mirrored import MirroredResponse
from ._pole_residue import PoleResidue
from ._stability import require_finite, require_members, require_stable
from .norms import h2_norm

_DENSE = 400  # up to so many states a dense Gramian is cheap, and its factor keeps the digits of any small error


@dataclass(frozen=True, eq=False)
class Refinement:
    """‖G − G_r‖₂ before and after, and the system that is left.

    Parameters
    ----------
    system
        The refined system, dense, in double precision, of the array kind of the full one; the start itself if nothing
        lowers its error.
    before, after
        The H2 errors, measured from Gramian factors; after ≤ before.
    steps
        Steps that were taken.
    slope
        Cosine of the smallest angle between the error and a direction in which poles and residues can move: zero at a
        local optimum.
    """

    system: StateSpace
    before: float
    after: float
    steps: int
    slope: float


def refine_h2(full: StateSpace, start: StateSpace, *, max_steps: int = 100, rtol: float = 1e-7) -> Refinement:
    """Lower ‖G − G_r‖₂ over poles and residues until E(−λ̄)b̄ = 0, cᴴE(−λ̄) = 0, cᴴE′(−λ̄)b̄ = 0 for every pole λ of G_r.

    These are the conditions of Meier and Luenberger, E the error; in discrete time they hold at 1/λ̄. Newton's method
    on the exact error, damped until it goes down, in G_r = Σ c bᵀ/(s − λ); for the C that is best for poles and rows b
    there is a closed form. Steps to unstable poles are refused, and so are steps that raise the error. The feedthrough
    becomes that of the full system. Errors below 1e-8 ‖G‖ are at the level of rounding and mostly stay as they are.

    Parameters
    ----------
    full
        Stable; one system, not a batch; dense, diagonal, paired or sparse.
    start
        The reduced system to begin with: stable, with the same inputs, outputs and dt.
    max_steps
        The most steps to take, at least 0.
    rtol
        Stop when the cosine of the angle between the error and every direction is at most this.

    Raises
    ------
    InstabilityError
        If one of the systems is unstable.
    ShapeError
        If inputs or outputs differ.
    UnsupportedError
        If dt differs, or the systems are batches.
    BalanceError
        If max_steps or rtol is negative.

    References
    ----------
    L. Meier, D. G. Luenberger, IEEE Trans. Automat. Control 12 (1967) 585-588.
    S. Gugercin, A. C. Antoulas, C. Beattie, SIAM J. Matrix Anal. Appl. 30 (2008) 609-638.
    """
    if max_steps < 0 or not rtol >= 0:
        msg = f"max_steps is {max_steps} and rtol {rtol}; want neither below zero"
        raise BalanceError(msg)
    _require_one_map(full, start)
    like, full, start = full.B, on_host(full), without_descriptor(on_host(start)).to_dense()
    before = h2_error(full, start)
    energy = float(h2_norm(StateSpace(full.A, full.B, full.C, None, full.dt, full.E))) ** 2
    model = PoleResidue.of(start, paired=_is_real(full) and _is_real(start))
    found = descend(model, MirroredResponse(full), energy, max_steps=max_steps, rtol=rtol)
    system = found.model.to_system(full.D, full.dt)
    after = h2_error(full, system)
    if not after < before:
        return Refinement(in_kind_of(like, start), before, before, 0, found.slope)
    return Refinement(in_kind_of(like, system), before, after, found.steps, found.slope)


def h2_error(full: StateSpace, reduced: StateSpace) -> float:
    """‖G − G_r‖₂ of one system: dense and from a factor if it is small, else by a low-rank solver."""
    full, reduced = on_host(full), on_host(reduced)
    if full.order > _DENSE and isinstance(full.A, Diagonal | Sparse):
        return large_h2_error(full, reduced)
    return float(h2_norm(difference(full.to_dense(), reduced)))


def _is_real(system: StateSpace) -> bool:
    if isinstance(system.A, Diagonal) and system.A.paired:
        return True
    return not any(np.issubdtype(X.dtype, np.complexfloating) for X in (system.A, system.B, system.C))


def _require_one_map(full: StateSpace, start: StateSpace) -> None:
    """Raise unless both are single systems, stable, of one shape and one dt."""
    require_members(full)
    if full.batch_shape or start.batch_shape:
        msg = "refine_h2 takes one system; give it the members of the batch one by one, or use h2_optimal"
        raise UnsupportedError(msg)
    shapes = [(system.outputs, system.inputs) for system in (full, start)]
    if shapes[0] != shapes[1]:
        msg = f"the start must have the outputs and inputs of the system, {shapes[0]}; got {shapes[1]}"
        raise ShapeError(msg)
    if full.dt != start.dt:
        msg = f"the start must have the dt of the system, {full.dt} seconds; got {start.dt}"
        raise UnsupportedError(msg)
    for system in (full, start):
        (require_finite if isinstance(system.A, Sparse) else require_stable)(system)
