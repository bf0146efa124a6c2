"""H2-optimal reduction: a truncated system, refined until its H2 error cannot be lowered by small changes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ssm_gramians import ShapeError, StateSpace

from .._errors import OrderError
from .._hankel import hankel_singular_values
from .._host import from_numpy, members, to_numpy
from .._order import as_selection
from .._reduction import Reduction
from .._refinement import refine_h2
from .._stability import require_members
from .square_root import balanced_truncation

if TYPE_CHECKING:
    from ssm_gramians import Backend, Solver

    from .._order import Selection


def h2_optimal(
    system: StateSpace,
    order: int | Selection | None = None,
    *,
    energy: float | None = None,
    error: float | None = None,
    start: Reduction | StateSpace | None = None,
    max_steps: int = 100,
    rtol: float = 1e-7,
    solver: Solver | None = None,
    backend: str | Backend | None = None,
) -> Reduction:
    r"""‖G − G_r‖₂ at a local minimum over all systems of order r, never above that of the start; stable.

    Poles and residues of the start are refined by `refine_h2`, which also tells the errors before and after. There is
    no H∞ bound: `error_bound` is infinite, and `Reduction.certify` measures. A batch is refined member by member.

    Parameters
    ----------
    system
        Stable; dense, diagonal, paired or sparse; continuous or discrete.
    order, energy, error
        As for `balanced_truncation`, which then makes the start; none of them if a start is given.
    start
        Where to begin: a reduction by any method that gave a stable system, or a system. Its order is kept.
    max_steps, rtol
        As for `refine_h2`.
    solver, backend
        For the start, as for `ssm_gramians.gramian_factors`.

    Returns
    -------
    reduction
        Without left and right, since it is no projection of the full system in balanced coordinates; the system is
        block diagonal, with rows of B as long as columns of C.

    Raises
    ------
    OrderError
        If the wish is none, double, or out of range; if the start has another order.
    InstabilityError
        If the system or the start is unstable.
    ShapeError
        If the start has other inputs, outputs or batch dimensions.

    References
    ----------
    As for `refine_h2`.
    """
    if start is None:
        start = balanced_truncation(system, order, energy=energy, error=error, solver=solver, backend=backend)
    else:
        _check_wish(start, order, energy, error)
    begin = start.system if isinstance(start, Reduction) else start
    _check_start(system, begin)
    hsv = start.hsv if isinstance(start, Reduction) else hankel_singular_values(system, solver=solver, backend=backend)
    options = {"max_steps": max_steps, "rtol": rtol}
    pairs = zip(members(system), members(begin), strict=True) if system.batch_shape else [(system, begin)]
    refined = [refine_h2(full, small, **options).system for full, small in pairs]  # type: ignore[arg-type]
    bound = np.full(system.batch_shape, np.inf) if system.batch_shape else np.inf
    return Reduction(_stacked(refined, system), hsv, begin.order, bound, None, None, system, "H2-optimal")


def _check_wish(start, order, energy, error):
    wished = None if order is None else getattr(as_selection(order), "order", None)
    given = [name for name, value in (("energy", energy), ("error", error)) if value is not None]
    if given or (order is not None and wished not in (None, start.order)):
        msg = (
            f"the start has order {start.order}, and the order stays: give no other wish beside it; "
            f"got {' and '.join(given) or f'order {wished}'}"
        )
        raise OrderError(msg)


def _check_start(system, start):
    require_members(system)
    if start.batch_shape != system.batch_shape:
        msg = f"the start must have the batch dimensions of the system, {system.batch_shape}; got {start.batch_shape}"
        raise ShapeError(msg)


def _stacked(refined, like):
    """Return the refined systems as one, of the array kind of the full system."""
    parts = [np.stack([to_numpy(getattr(system, name)) for system in refined]) for name in "ABCD"]
    shaped = [np.reshape(part, (*like.batch_shape, *part.shape[1:])) for part in parts]
    A, B, C, D = (from_numpy(part, like.B) for part in shaped)
    return StateSpace(A, B, C, D, like.dt)
