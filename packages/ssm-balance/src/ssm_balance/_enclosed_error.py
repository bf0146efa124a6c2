"""The H∞ error of a large diagonal system, enclosed through a model between it and its reduction."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ssm_gramians import Cauchy, ConvergenceError, Diagonal, InstabilityError, StateSpace, gramian_factors

from ._balance import balance
from ._bounds import error_bound
from ._difference import difference
from ._errors import OrderError
from ._left_out import left_out
from ._project import project
from .norms import GainBracket, hinf_bracket, peak_gain

if TYPE_CHECKING:
    from jaxtyping import Float

_RTOL = 1e-28  # of the traces: the bound on what is left out goes with its root
_ENTRIES, _COLUMNS = 1 << 27, 1000  # of a factor at most: 1 GiB, and a minute to balance
_LOOKS = 8  # frequencies at which the model is compared with the full system, each O(n)
_CLOSE = 0.01  # of the error: a model that may be farther away may have its peak elsewhere


def enclosed_error(full: StateSpace, reduced: StateSpace, rtol: float, states: int) -> GainBracket | None:
    r"""‖G − G_r‖ ≤ ‖G_k − G_r‖ + 2 Σ_{i>k} σ_i + 2 δ, with G_k of so many states that the sum is next to nothing.

    The first term is enclosed by dense arithmetic, the others are the a priori bound of G_k, by balanced truncation
    from low-rank factors; where G and G_k are seen farther apart, by rounding, that counts instead. From below stands a
    gain of the full system.

    Parameters
    ----------
    full, reduced
        In NumPy arrays, one system each.
    rtol
        Of the first bracket.
    states
        What G_k and G_r may have together.

    Returns
    -------
    bracket
        None if the system is not diagonal, or no such model is found.
    """
    if not isinstance(full.A, Diagonal) or full.E is not None:
        return None
    found = _model(full, states - reduced.order)
    if found is None or found[0].order <= reduced.order:
        return None
    model, distance = found
    try:
        between = hinf_bracket(difference(model, reduced), rtol=rtol)
    except InstabilityError:
        return None
    frequency = float(between.frequency)
    lower = peak_gain(full, np.array([frequency]), minus=reduced)[0]
    distance = max(distance, peak_gain(full, _looks(model, frequency), minus=model)[0])
    upper = float(between.upper) + distance
    if distance > _CLOSE * lower:
        lower, frequency = max((lower, frequency), peak_gain(full, minus=reduced))
    return GainBracket(lower, max(lower, upper), frequency)


def _model(full: StateSpace, most: int) -> tuple[StateSpace, float] | None:
    """Return G_k and the bound of ‖G − G_k‖; None if there is none of so few states."""
    columns = min(_COLUMNS, _ENTRIES // full.order)
    if min(columns, most) < 1:
        return None
    try:
        Z_P, Z_Q = gramian_factors(full, solver=Cauchy(rtol=_RTOL, max_rank=columns))
        projection = balance(Z_P, Z_Q, min(most, full.order))
    except (ConvergenceError, OrderError):
        return None
    rest = float(error_bound(projection.hsv, projection.order)) + 2 * float(left_out(Z_P, Z_Q, _RTOL))
    return project(full, projection.left, projection.right), rest


def _looks(model: StateSpace, frequency: float) -> Float[np.ndarray, " looks"]:
    """Return the frequencies of some poles of the model, from the slowest to the fastest, and the given one."""
    poles = model.poles()
    found = np.sort(np.abs(np.angle(poles) / model.dt) if model.is_discrete else np.abs(poles))
    return np.append(found[np.linspace(0, found.size - 1, _LOOKS - 1).astype(int)], frequency)
