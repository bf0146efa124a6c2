r"""Frequency bands, and their ends as pencils $u I - v A$ that treat both kinds of time alike.

Continuous time: $i\omega I - A$. Discrete time: $e^{i\theta/2} I - e^{-i\theta/2} A$ with $\theta = \omega\,dt$:
$zI - A$ times $e^{-i\theta/2}$. Between the ends the argument of $u - v\lambda$ turns by less than $\pi$, whether
the eigenvalue is stable or not: principal logarithms are the right ones.
"""

from __future__ import annotations

import cmath
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

Bands: TypeAlias = "tuple[float, float] | Sequence[tuple[float, float]]"


@dataclass(frozen=True)
class Band:
    r"""The frequencies from one end to the other: $N_k = u_k I - v_k A$ at the ends k = 1, 2.

    `step` holds $u_2 - u_1$ and $v_2 - v_1$, `turn` the number $\kappa$ with
    $N_2(a)\overline{N_1(b)} - N_1(a)\overline{N_2(b)} = i\,\kappa\,m(a, b)$, where m is the margin $1 - a\bar b$, or
    $-(a + \bar b)$: all of them without cancellation, however narrow the band.
    """

    first: tuple[complex, complex]
    second: tuple[complex, complex]
    step: tuple[complex, complex]
    turn: float

    def mirrored(self) -> Band:
        """Return the band of the negative frequencies, again from the lower to the higher."""
        first, second = ((u.conjugate(), v.conjugate()) for u, v in (self.second, self.first))
        return Band(first, second, (-self.step[0].conjugate(), -self.step[1].conjugate()), self.turn)


def bands_of(band: Bands, dt: float, scale: float = 1.0) -> tuple[Band, ...]:
    r"""Return the bands, checked, in order.

    Parameters
    ----------
    band
        A pair $(\omega_1, \omega_2)$ in rad/s, $0 \le \omega_1 < \omega_2$, or several that do not overlap. The last
        may end at infinity in continuous time, at the Nyquist frequency $\pi/dt$ in discrete time.
    dt
        Sampling time in seconds; 0 for continuous time.
    scale
        A typical size of A: how the end at infinity is scaled.

    Raises
    ------
    ValueError
        If a band is empty, negative or beyond the Nyquist frequency, or two of them overlap.
    """
    alone = len(band) == 2 and not isinstance(band[0], Sequence)
    edges = [float(edge) for pair in ([band] if alone else band) for edge in _pair(pair)]
    top = math.pi / dt if dt else math.inf
    increasing = all(low < high for low, high in zip(edges[::2], edges[1::2], strict=True))
    apart = all(high <= low for high, low in zip(edges[1::2], edges[2::2], strict=False))
    if not (edges and increasing and apart and edges[0] >= 0 and edges[-1] <= top * (1 + 1e-12)):
        msg = f"got band {band!r}; want 0 <= low < high <= {top:.6g} rad/s, several of them in order and apart"
        raise ValueError(msg)
    make = _discrete if dt else _continuous
    return tuple(make(low, high, dt or scale) for low, high in zip(edges[::2], edges[1::2], strict=True))


def _pair(pair: Any) -> Any:
    if not isinstance(pair, Sequence) or len(pair) != 2:
        msg = f"got {pair!r} as a band; want a pair (low, high) in rad/s"
        raise ValueError(msg)
    return pair


def _continuous(low: float, high: float, scale: float) -> Band:
    if math.isinf(high):
        size = max(low, scale)
        return Band((1j * low, 1 + 0j), (1j * size, 0j), (1j * (size - low), -1 + 0j), size)
    return Band((1j * low, 1 + 0j), (1j * high, 1 + 0j), (1j * (high - low), 0j), high - low)


def _discrete(low: float, high: float, dt: float) -> Band:
    low, width, middle = low * dt, (high - low) * dt, (low + high) * dt / 4
    high = min(high * dt, math.pi)
    half, spread = math.sin(width / 2), 2j * math.sin(width / 4)
    ends = (cmath.exp(0.5j * low), cmath.exp(0.5j * high))
    step = (spread * cmath.exp(1j * middle), -spread * cmath.exp(-1j * middle))
    return Band((ends[0], ends[0].conjugate()), (ends[1], ends[1].conjugate()), step, 2 * half)
