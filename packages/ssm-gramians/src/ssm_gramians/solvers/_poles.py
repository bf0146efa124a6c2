"""The next pole of a rational Krylov space."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

import numpy as np

from .._arrays import Array

if TYPE_CHECKING:
    from jaxtyping import Complex

POINTS = 40  # to a side of the hull: its maximum is flat


def next_pole(
    mirrored: Complex[Array, " k"],
    poles: Complex[Array, " j"],
    interval: tuple[float, float],
    *,
    real: bool,
    pairs: bool,
) -> complex:
    r"""Return the s with $\prod|s - s_i| / \prod|s - \lambda_i|$ largest on the hull of the mirrored Ritz values.

    With s in the right half plane; poles are the $s_i$ so far, and the Ritz values $\lambda_i$ come as $-\lambda_i$.
    If `pairs`, s has no negative imaginary part: its conjugate is meant as well.
    """
    if len(poles) < 2:
        return complex(interval[len(poles)])
    mirrored = np.abs(mirrored.real) + 1j * mirrored.imag
    s = _segment(*_ends(mirrored.real, interval)) if real else _hull(mirrored, interval, pairs)
    weight = len(poles) / len(mirrored)  # each pole makes one Ritz value for every column of B
    with np.errstate(divide="ignore"):
        size = np.log(np.abs(s[:, None] - poles)).sum(1)
        size -= weight * np.log(np.abs(s[:, None] + mirrored.conj())).sum(1)
    best = complex(s[int(np.argmax(size))])
    return best.real + 0j if abs(best.imag) <= 1e-8 * abs(best) else best


def _ends(values: Array, interval: tuple[float, float]) -> tuple[float, float]:
    return min(interval[0], float(values.min())), max(interval[1], float(values.max()))


def _segment(low: float, high: float) -> Array:
    return np.geomspace(low, high, 10 * POINTS)


def _hull(mirrored: Array, interval: tuple[float, float], pairs: bool) -> Array:
    """Return points on the sides of the convex hull, the upper ones only if `pairs`."""
    from scipy.spatial import ConvexHull, QhullError

    corners = np.concatenate((mirrored, mirrored.conj() if pairs else mirrored[:0], np.asarray(interval)))
    if np.abs(corners.imag).max() <= 1e-8 * np.abs(corners).max():
        return _segment(*_ends(corners.real, interval)).astype(complex)
    with suppress(QhullError):  # all on one line: then every segment counts
        corners = corners[ConvexHull(np.stack((corners.real, corners.imag), axis=1)).vertices]
    t = np.linspace(0, 1, POINTS)[:, None]
    points = ((1 - t) * corners + t * np.roll(corners, -1)).ravel()
    return points[points.imag >= 0] if pairs else points
