"""The largest gain found: a lower bound of the H∞ norm that costs no eigenvalue problem of twice the order."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ssm_gramians import ShapeError, StateSpace

from .._descriptor import without_descriptor
from .._host import on_host
from .._stability import require_stable
from ._response import FrequencyResponse

if TYPE_CHECKING:
    from jaxtyping import Float

_PEAKS = 3  # highest local maxima to refine
_ZOOMS, _ZOOM_POINTS = 8, 17  # each zoom narrows the bracket 8 times: after 8 it is at √eps of its width


def peak_gain(system: StateSpace, frequencies: Float[np.ndarray, " k"] | None = None) -> tuple[float, float]:
    r"""Largest gain σ_max(G) found, and its frequency: ‖G‖_∞ is at least this.

    Looks at the frequencies of all poles and between them, then closes in on the highest peaks. For a diagonal system
    of order n a frequency costs O(n): this is the measure for large layers. `hinf_norm` certifies from above too.

    Parameters
    ----------
    system
        One stable system; dense, diagonal or paired.
    frequencies
        Look at these only, in radians per second.

    Returns
    -------
    gain, frequency
        The gain is attained at the frequency, in radians per second; it is infinite if D alone is the largest.

    Raises
    ------
    InstabilityError
        If a pole does not decay.
    NonFiniteError
        If a matrix holds NaN or infinity.
    ShapeError
        If the system is a batch.
    """
    require_single(system)
    require_stable(system)
    response = FrequencyResponse(on_host(without_descriptor(system)))
    if frequencies is None:
        return highest_peak(response)
    return _highest(response, np.atleast_1d(np.asarray(frequencies, dtype=float)))


def require_single(system: StateSpace) -> None:
    """Raise ShapeError for a batch."""
    if system.batch_shape:
        msg = f"want one system; got a batch of shape {system.batch_shape}: take its members one by one"
        raise ShapeError(msg)


def highest_peak(response: FrequencyResponse) -> tuple[float, float]:
    """Return the largest gain on the grid of pole frequencies, refined, and its frequency."""
    grid = _pole_frequencies(response)
    gains = response.gains(grid)
    padded = np.concatenate([[-np.inf], gains, [-np.inf]])
    maxima = np.flatnonzero((gains >= padded[:-2]) & (gains >= padded[2:]))
    best = float(gains.max()), float(grid[gains.argmax()])
    for k in maxima[np.argsort(gains[maxima])[: -_PEAKS - 1 : -1]]:
        best = max(best, _zoom(response, grid[max(k - 1, 0)], grid[min(k + 1, grid.size - 1)]))
    return best


def _pole_frequencies(response):
    poles, system = response.poles, response.system
    if system.is_discrete:
        border = np.pi / system.dt
        found = np.concatenate([np.angle(poles) / system.dt, [0, border, -border]])
    else:
        found = np.concatenate([poles.imag, np.abs(poles), -np.abs(poles), [0]])
    found = np.unique(np.abs(found) if response.is_real else found)
    grid = np.sort(np.concatenate([found, (found[1:] + found[:-1]) / 2]))
    return grid if system.is_discrete else np.append(grid, np.inf)


def _zoom(response, low, high):
    best = -np.inf, low
    if not np.isfinite(high):
        high = 2 * low + 1
    for _ in range(_ZOOMS):
        grid = np.linspace(low, high, _ZOOM_POINTS)
        gains = response.gains(grid)
        k = int(gains.argmax())
        best = max(best, (float(gains[k]), float(grid[k])))
        low, high = grid[max(k - 1, 0)], grid[min(k + 1, grid.size - 1)]
    return best


def _highest(response, grid):
    gains = response.gains(grid)
    k = int(gains.argmax())
    return float(gains[k]), float(grid[k])
