"""Closing in on a peak where a gain is dear."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from jaxtyping import Float

_STEPS = 7


def by_parabolas(
    gains: Callable[[Float[np.ndarray, " k"]], Float[np.ndarray, " k"]],
    low: Float[np.ndarray, " k"],
    middle: Float[np.ndarray, " k"],
    high: Float[np.ndarray, " k"],
) -> Float[np.ndarray, " k"]:
    """Return frequencies near the k peaks of a gain: the lowest points of parabolas through 1/gain².

    Next to a resonance 1/gain² is a parabola, so that few steps are enough. Where the lowest point is outside the
    bracket or no news, the larger half of the bracket is halved instead.

    Parameters
    ----------
    gains
        The gain at several frequencies.
    low, middle, high
        Brackets: no gain at an end is above that in the middle. An infinite end is moved to twice the middle.
    """
    low = np.where(np.isfinite(low), low, -2 * np.abs(high) - 1)
    high = np.where(np.isfinite(high), high, 2 * np.abs(middle) + 1)
    middle = np.clip(middle, low, high)
    x = np.stack([low, middle, high])
    q = _inverse_squares(gains, x.ravel()).reshape(x.shape)
    for _ in range(_STEPS):
        new = _next(x, q)
        value = _inverse_squares(gains, new)
        x, q = _narrowed(x, q, new, value)
    return x[1]


def _inverse_squares(gains, frequencies):
    return 1 / np.maximum(gains(frequencies), np.finfo(float).tiny ** 0.5) ** 2


def _next(x, q):
    left, right = x[1] - x[0], x[1] - x[2]
    top = left**2 * (q[1] - q[2]) - right**2 * (q[1] - q[0])
    bottom = left * (q[1] - q[2]) - right * (q[1] - q[0])
    halved = x[1] + np.where(-right > left, -right, -left) / 2
    vertex = x[1] - 0.5 * top / np.where(bottom == 0, np.inf, bottom)
    is_news = (np.abs(vertex - x[1]) > 1e-6 * (x[2] - x[0])) & (vertex > x[0]) & (vertex < x[2])
    return np.where(is_news, vertex, halved)


def _narrowed(x, q, new, value):
    """Keep the best of the four points in the middle, with its two neighbours."""
    points, values = np.concatenate([x, new[None]]), np.concatenate([q, value[None]])
    order = np.argsort(points, axis=0)
    points, values = np.take_along_axis(points, order, 0), np.take_along_axis(values, order, 0)
    first = np.where(values[1] <= values[2], 0, 1)
    rows = first + np.arange(3)[:, None]
    return np.take_along_axis(points, rows, 0), np.take_along_axis(values, rows, 0)
