"""Which frequencies a plot of gains shows."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..norms._grid import frequency_grid

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jaxtyping import Complex, Float

    from ..norms._response import FrequencyResponse

_POINTS = 400
_LIGHT = 0.3  # |Re λ| / |Im λ| of a pole with a peak of its own
_AROUND = np.array([-6, -4, -3, -2, -1.5, -1, -0.5, 0, 0.5, 1, 1.5, 2, 3, 4, 6])  # in half widths of the peak
_MANY = 1000  # poles; of more, peaks are not looked up
_FLAT = 0.01  # a curve is at its limit where it is within 1 %


def frequencies_of(full: FrequencyResponse, others: Sequence[FrequencyResponse]) -> Float[np.ndarray, " k"]:
    """Return ascending positive frequencies, in rad/s: a decade beyond all poles, dense around their peaks.

    In discrete time up to Nyquist. Of a sparse system the poles are unknown: the decades in which they are.
    """
    system = full.system
    poles = [_as_rates(r.poles, system.dt) for r in (full, *others) if r.poles is not None]
    if full.is_sparse:
        grid = frequency_grid(full)
        grid = grid[(grid > 0) & np.isfinite(grid)]
        return _refined(grid, np.concatenate([*poles, np.zeros(0, complex)]))
    rates = np.concatenate(poles)
    sizes = np.abs(rates)[np.abs(rates) > 0]
    low, high = (sizes.min() / 10, sizes.max() * 10) if sizes.size else (0.01, 100.0)
    if system.is_discrete:
        high = np.pi / system.dt
        low = min(low, high / 100)
    low = max(low, high * 1e-12)
    return _refined(np.geomspace(low, high, _POINTS), rates if rates.size <= _MANY else rates[:0])


def interesting(
    frequencies: Float[np.ndarray, " k"],
    gains: Float[np.ndarray, " k"],
    errors: Sequence[Float[np.ndarray, " k"]],
) -> slice:
    """Return the part between the last flat decade at the left and where gain and errors have died at the right."""
    alive = gains >= 1e-4 * gains.max()
    flat = np.abs(gains - gains[0]) <= _FLAT * gains[0]
    for error in errors:
        alive |= error >= 1e-2 * error.max()
        flat &= (np.abs(error - error[0]) <= _FLAT * error[0]) | (error < 1e-3 * error.max())
    moving = np.flatnonzero(~flat)
    first = frequencies[moving[0]] / 10 if moving.size else frequencies[0]
    last = 2 * frequencies[np.flatnonzero(alive)[-1]]
    start, stop = np.searchsorted(frequencies, [first, last])
    return slice(max(int(start) - 1, 0), int(stop) + 1)


def _as_rates(poles: Complex[np.ndarray, " n"], dt: float) -> Complex[np.ndarray, " n"]:
    """λ of eˡᵃᵐᵇᵈᵃ ᵈᵗ, in 1/s; a pole at zero has none."""
    poles = np.asarray(poles, dtype=complex)
    return np.log(poles[poles != 0]) / dt if dt else poles


def _refined(grid, rates):
    light = rates[(np.abs(rates.real) < _LIGHT * np.abs(rates.imag)) & (rates.imag != 0)]
    peaks = np.abs(light.imag)[:, None] + np.abs(light.real)[:, None] * _AROUND
    peaks = peaks[(peaks > grid[0]) & (peaks < grid[-1])]
    return np.unique(np.concatenate([grid, peaks.ravel()]))
