"""Downhill on the exact H2 error, from one model to a better one."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from ._h2_model import moved, quadratic
from ._h2_moves import crossings, interpolated
from ._pole_residue import best_outputs

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ._mirrored import MirroredResponse
    from ._pole_residue import PoleResidue

_TRIALS = 12  # dampings tried in one step, each ten times the last
_PATIENCE = 8  # steps: poles on their way to a double pole come near it, and never through, ever more slowly
_LEAST = 1e-13  # damping: what is undamped is then known to three digits


@dataclass(frozen=True, eq=False)
class Descent:
    """A model, and where its error stands.

    Parameters
    ----------
    model
        The model.
    gain
        ‖G − G_r‖² − ‖G‖².
    rounding
        What rounding can do to the gain.
    steps
        Steps that were taken.
    slope
        The largest inner product of the error with a unit direction, relative to the error: the cosine of an angle,
        zero at an optimum.
    """

    model: PoleResidue
    gain: float
    rounding: float
    steps: int = 0
    slope: float = np.inf


def descend(model: PoleResidue, full: MirroredResponse, energy: float, *, max_steps: int, rtol: float) -> Descent:
    """Newton's method with damping, and the moves it cannot make; every accepted step lowers the gain.

    Parameters
    ----------
    model
        Where to start; stable.
    full
        The system to come near to.
    energy
        ‖G‖², which says how large the error is.
    max_steps
        The most steps to take.
    rtol
        Stop when the error makes this angle, in radians, with every direction that is open.
    """
    state = _judged(best_outputs(model, full), full)
    damping, fixed_point = 1e-2, True
    for step in range(max_steps):
        local = quadratic(state.model, full)
        state = replace(state, steps=step, slope=_slope(local, state, energy))
        if state.slope <= rtol:
            return state
        better, damping = _newton(state, local, full, damping)
        if fixed_point:
            jump = _best([interpolated(state.model, full)], full, better or state)
            fixed_point, better = jump is not None, jump or better
        if better is None or step % _PATIENCE == _PATIENCE - 1:
            better = _best(crossings((better or state).model), full, better or state) or better
        if better is None:
            return state
        state = better
    slope = _slope(quadratic(state.model, full), state, energy)
    return replace(state, steps=max_steps, slope=slope)


def _slope(local, state, energy):
    error = np.sqrt(max(energy + state.gain, state.rounding))
    return float(np.abs(local.gradient).max() / error) if error > 0 else 0.0


def _newton(state, local, full, damping):
    """Return the first damped step that goes down, and the damping to begin with next time."""
    for _ in range(_TRIALS):
        x, promised = local.step(damping)
        if promised <= state.rounding:
            polished = _polished(state, local, full)
            if polished is not None or promised <= state.rounding / 100:  # the estimate of rounding is a cautious one
                return polished, damping
        trial = _trial(moved(state.model, x), full)
        if trial is not None and trial.gain < state.gain:
            good = state.gain - trial.gain > 0.5 * promised
            return trial, max(damping / 10, _LEAST) if good else damping
        damping *= 10
    return None, 1e-2


def _polished(state, local, full):
    """Below rounding of the error its gradient still tells better from worse."""
    x, _ = local.step(_LEAST)
    trial = _trial(moved(state.model, x), full)
    if trial is None or trial.gain > state.gain + state.rounding:
        return None
    before, after = (np.abs(g).max() for g in (local.gradient, quadratic(trial.model, full).gradient))
    return trial if after < before / 2 else None


def _best(models: Iterable[PoleResidue | None], full: MirroredResponse, state: Descent) -> Descent | None:
    """Return the best of the models that are clearly better than the state."""
    trials = [_trial(model, full) for model in models if model is not None]
    better = [trial for trial in trials if trial is not None and trial.gain < state.gain - trial.rounding]
    return min(better, key=lambda trial: trial.gain, default=None)


def _trial(model: PoleResidue, full: MirroredResponse) -> Descent | None:
    """Give a stable model its best C; None if it is not stable, or a real system has lost the sense of its pairs."""
    if not (np.all(np.isfinite(model.poles)) and model.margin > 0):
        return None
    if model.paired and np.any(model.poles.imag < 0):
        return None
    return _judged(best_outputs(model.tidied(), full), full)


def _judged(model, full):
    return Descent(model, *model.gain(full(model.poles.conj())[0]))
