"""The H∞ norm and its like on a band, bracketed."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from ssm_gramians import InstabilityError, Sparse, StateSpace, UnsupportedError

from .._errors import BalanceError
from .._stability import require_finite, require_stable
from ._grid import frequency_grid, on_band
from ._level import LevelCrossings
from ._response import FrequencyResponse
from .bracket import GainBracket, over_members
from .peak import highest_peak

if TYPE_CHECKING:
    from jaxtyping import Float


def hinf_norm(system: StateSpace, *, rtol: float = 1e-8) -> float | Float[np.ndarray, "*batch"]:
    r"""‖G‖_∞ = max_ω σ_max(G): the largest gain of energy from input to output.

    Parameters
    ----------
    system
        Stable; dense, diagonal or paired; one or a batch, taken one by one. The cost is O((2n)³).
    rtol
        The norm is at most 1 + rtol times what is returned, which is itself a gain that some frequency has.

    Returns
    -------
    norm
        A float; for a batch, a NumPy array.

    Raises
    ------
    InstabilityError
        If a pole does not decay.
    NonFiniteError
        If a matrix holds NaN or infinity.
    """
    return hinf_bracket(system, rtol=rtol).lower


def hinf_bracket(system: StateSpace, *, rtol: float = 1e-8) -> GainBracket:
    r"""Bracket ‖G‖_∞ within the relative width rtol.

    A level just above the best gain so far either has no frequency with this gain, and bounds the norm, or between two
    of them lies a higher gain: convergence is quadratic. The frequencies of a level are the imaginary eigenvalues of
    a Hamiltonian matrix of order 2n; the search starts from the highest peaks near the poles, so that one is mostly
    enough.

    Parameters
    ----------
    system
        Stable; one or a batch, taken one by one; not sparse: the certificate needs a dense matrix (`peak_gain` looks at
        a sparse one).
    rtol
        Width of the bracket; at least 16 eps.

    Returns
    -------
    bracket
        upper = (1 + rtol) lower. Of a batch its three parts are NumPy arrays.

    Raises
    ------
    InstabilityError
        If a pole does not decay.
    NonFiniteError
        If a matrix holds NaN or infinity.
    ShapeError
        If the batch is empty.
    UnsupportedError
        If A is sparse.
    BalanceError
        If rtol is below rounding.

    References
    ----------
    S. Boyd, V. Balakrishnan, Systems Control Lett. 15 (1990) 1-7.
    N. A. Bruinsma, M. Steinbuch, Systems Control Lett. 14 (1990) 287-293.
    """
    return over_members(system, partial(_of_all_frequencies, rtol=rtol))


def linf_bracket(system: StateSpace, band: tuple[float, float] | None = None, *, rtol: float = 1e-8) -> GainBracket:
    r"""Bracket max σ_max(G(jω)) over the |ω| of a band; of a system that may be unstable.

    The L∞ norm where no band is given. For a sinusoid of a frequency on the band it is the largest gain from input to
    output; it is what a frequency-limited reduction is to be judged by.

    Parameters
    ----------
    system
        No pole on the stability border; one or a batch, taken one by one; not sparse.
    band
        A pair (low, high) in radians per second, 0 ≤ low < high, in discrete time up to the Nyquist frequency π/dt;
        all frequencies if None.
    rtol
        Width of the bracket; at least 16 eps.

    Returns
    -------
    bracket
        upper = (1 + rtol) lower. Of a batch its three parts are NumPy arrays.

    Raises
    ------
    InstabilityError
        If a pole is on the border, where the gain is infinite.
    BalanceError
        If rtol is below rounding, or the band is empty or out of range.
    ShapeError
        If the batch is empty.
    UnsupportedError
        If A is sparse.
    """
    return over_members(system, partial(_of_band, band=band, rtol=rtol))


def _of_all_frequencies(system, rtol):
    _check(system, rtol)
    require_stable(system)
    return _bracket(FrequencyResponse(system), [None], rtol)


def _of_band(system, band, rtol):
    _check(system, rtol)
    require_finite(system)
    response = FrequencyResponse(system)
    _require_clear_border(response)
    return _bracket(response, _intervals(response, band), rtol)


def _bracket(response, bands, rtol):
    """Climb level by level on each band; None is the whole axis."""
    crossings = LevelCrossings(response)
    grid = frequency_grid(response)
    starts = [highest_peak(response, grid if band is None else on_band(grid, *band)) for band in bands]
    lower, frequency = max(starts)
    for band in bands:
        while lower > 0:
            level = (1 + rtol) * lower
            candidates = crossings.candidates(level, band)
            gains = response.gains(candidates)
            if not np.any(gains > level):
                break
            lower, frequency = float(gains.max()), float(candidates[gains.argmax()])
    return GainBracket(lower, (1 + rtol) * lower, frequency)


def _check(system, rtol):
    if not rtol >= 16 * np.finfo(float).eps:
        msg = f"rtol must be at least 16 eps = 3.6e-15, since gains are rounded; got {rtol}"
        raise BalanceError(msg)
    if isinstance(system.A, Sparse):
        msg = (
            "a certified bracket needs a dense matrix of twice the order and A is sparse; use peak_gain, or to_dense()"
        )
        raise UnsupportedError(msg)


def _intervals(response, band):
    if band is None:
        return [None]
    low, high = (float(edge) for edge in band)
    top = np.pi / response.system.dt if response.system.is_discrete else np.inf
    if not 0 <= low < high <= top * (1 + 1e-12):
        msg = f"band is {band!r}; want 0 <= low < high <= {top:.6g} radians per second"
        raise BalanceError(msg)
    high = min(high, top)
    return [(low, high)] if response.is_real else [(low, high), (-high, -low)]


def _require_clear_border(response):
    poles, size = response.poles, np.abs(response.poles).max()
    distance = np.abs(np.abs(poles) - 1) if response.system.is_discrete else np.abs(poles.real)
    nearest = int(distance.argmin())
    if distance[nearest] <= poles.size * np.finfo(float).eps * size:
        pole = complex(poles[nearest])
        msg = f"a pole is on the stability border, {pole:.6g}: the gain there is infinite; want none, move or remove it"
        raise InstabilityError(msg, pole)
