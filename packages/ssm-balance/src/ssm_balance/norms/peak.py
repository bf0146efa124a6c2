"""The largest gain found: a lower bound of the H∞ norm that costs no eigenvalue problem of twice the order."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ssm_gramians import ShapeError, Sparse, StateSpace

from .._stability import require_finite, require_stable
from ._grid import frequency_grid
from ._parabola import by_parabolas
from ._response import FrequencyResponse

if TYPE_CHECKING:
    from jaxtyping import Float

_PEAKS = 3  # highest local maxima to refine, all at once
_ZOOMS, _ZOOM_POINTS = 8, 17  # each zoom narrows the bracket 8 times: after 8 it is at √eps of its width
_FLAT = 1e-9  # relative; where a bracket is flatter no point of it is better by more


def peak_gain(
    system: StateSpace, frequencies: Float[np.ndarray, " k"] | None = None, *, minus: StateSpace | None = None
) -> tuple[float, float]:
    r"""Largest gain σ_max(G) found, and its frequency: ‖G‖_∞ is at least this.

    Looks at the frequencies of all poles and between them, then closes in on the highest peaks. For a diagonal system
    of order n a frequency costs O(n): this is the measure for large layers. Of a sparse system no pole is known: it is
    looked at over all decades between ‖A⁻¹E‖⁻¹ and ‖E⁻¹A‖, and at the poles of what is subtracted, each frequency one
    sparse factorisation: a resonance narrower than a tenth of its frequency may be missed. That it is stable is taken
    on trust. `hinf_bracket` certifies from above too, and needs dense matrices.

    Parameters
    ----------
    system
        One stable system of any structure.
    frequencies
        Look at these only, in radians per second.
    minus
        Subtract this system: the gain is that of the error, and no error system is formed. So a large sparse system
        is compared with its reduction.

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
        If a system is a batch, or the two do not have the same inputs, outputs and dt.
    """
    for part in (system,) if minus is None else (system, minus):
        require_single(part)
        (require_finite if isinstance(part.A, Sparse) else require_stable)(part)
    if minus is not None:
        _require_alike(system, minus)
    response = FrequencyResponse(system, minus)
    if frequencies is None:
        return highest_peak(response, frequency_grid(response))
    return _highest(response, np.atleast_1d(np.asarray(frequencies, dtype=float)))


def require_single(system: StateSpace) -> None:
    """Raise ShapeError for a batch."""
    if system.batch_shape:
        msg = f"want one system; got a batch of shape {system.batch_shape}: take its members one by one"
        raise ShapeError(msg)


def highest_peak(response: FrequencyResponse, grid: Float[np.ndarray, " k"]) -> tuple[float, float]:
    """Return the largest gain on an ascending grid, refined between its points, and its frequency."""
    gains = response.quick_gains(grid)
    padded = np.concatenate([[-np.inf], gains, [-np.inf]])
    maxima = np.flatnonzero((gains >= padded[:-2]) & (gains >= padded[2:]))
    peaks = maxima[np.argsort(gains[maxima])[: -_PEAKS - 1 : -1]]
    brackets = grid[np.maximum(peaks - 1, 0)], grid[peaks], grid[np.minimum(peaks + 1, grid.size - 1)]
    refined = by_parabolas(response.gains, *brackets) if response.is_sparse else _zoom(response, *brackets[::2])
    return _highest(response, np.concatenate([grid[peaks], refined]))


def _zoom(response, low, high):
    """Return, for each of several brackets, the frequency of the largest gain that its zooms come to."""
    low = np.where(np.isfinite(low), low, -2 * np.abs(high) - 1)
    high = np.where(np.isfinite(high), high, 2 * np.abs(low) + 1)
    rows = np.arange(low.size)
    best, where = np.full(low.size, -np.inf), low
    for _ in range(_ZOOMS):
        grid = np.linspace(low, high, _ZOOM_POINTS, axis=-1)
        gains = response.quick_gains(grid.ravel()).reshape(grid.shape)
        k = gains.argmax(axis=-1)
        where = np.where(gains[rows, k] > best, grid[rows, k], where)
        best = np.maximum(best, gains[rows, k])
        if np.all(gains.max(axis=-1) - gains.min(axis=-1) <= _FLAT * best):
            break
        low, high = grid[rows, np.maximum(k - 1, 0)], grid[rows, np.minimum(k + 1, _ZOOM_POINTS - 1)]
    return where


def _highest(response, grid):
    gains = response.gains(grid)
    k = int(gains.argmax())
    return float(gains[k]), float(grid[k])


def _require_alike(system, minus):
    got = [(part.outputs, part.inputs, part.dt) for part in (system, minus)]
    if got[0] != got[1]:
        msg = f"a difference needs the same (outputs, inputs, dt); got {got[0]} and {got[1]}"
        raise ShapeError(msg)
