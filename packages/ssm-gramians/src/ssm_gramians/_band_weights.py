r"""The Gramian of a frequency band for diagonal A: every entry in closed form."""

from __future__ import annotations

import math

from ._arrays import Array, as_complex, conj, imag, is_complex, join, namespace, real
from ._band import Band
from ._unit_circle import one_minus_product, one_minus_square
from .solvers.closed_form import Weighting


def band_weighting(bands: tuple[Band, ...], *, discrete: bool) -> Weighting:
    r"""Weights $\frac{\kappa}{2\pi}\,\frac{\log(1+z)/z}{d_{ij}}$ with $d_{ij} = N_1(a_i)\overline{N_2(b_j)}$.

    Here $z = i\kappa\,m(a_i, b_j)/d_{ij}$, and the weights are summed over the bands and their mirrors.
    The equation divides $s(a_i) + \overline{s(b_j)}$, the logarithms of two ends, by the margin m. Both vanish together
    where a mode neither grows nor decays; as one logarithm of the cross ratio $1 + z$ the margin divides out.
    """

    def weighting(G: Array, a: Array, b: Array) -> Array:
        plain = not is_complex(a) and not is_complex(b)
        a, b = as_complex(a), as_complex(b)
        parts = [part for band in bands for part in (band, band.mirrored())]
        total = sum(_band_weights(a, b, part, discrete) for part in parts)
        return G * (real(total) if plain else total)

    return weighting


def touches_an_end(poles: Array, bands: tuple[Band, ...]) -> bool:
    """Say whether one of the poles, with its conjugate, is an end of a band exactly: there the weights divide by 0."""
    poles = as_complex(poles)
    ends = [end for band in bands for part in (band, band.mirrored()) for end in _ends(poles, part)]
    return any(bool(namespace(poles).any(end == 0)) for end in ends)


def _band_weights(a: Array, b: Array, band: Band, discrete: bool) -> Array:
    (first_a, second_a), (first_b, second_b) = _ends(a, band), _ends(b, band)
    margin = one_minus_product(a, b) if discrete else -(a[..., :, None] + conj(b)[..., None, :])
    denominator = first_a[..., :, None] * conj(second_b)[..., None, :]
    z = (1j * band.turn) * margin / denominator
    gain = (_gain(first_a, second_a)[..., :, None]) - _gain(first_b, second_b)[..., None, :]
    angle = _angle(a, band, discrete)[..., :, None] + _angle(b, band, discrete)[..., None, :]
    return (band.turn / (2 * math.pi)) * _log_quotient(z, gain, angle) / denominator


def _ends(x: Array, band: Band) -> tuple[Array, Array]:
    (u, v), (p, q) = band.first, band.second
    return u - v * x, p - q * x


def _gain(first: Array, second: Array) -> Array:
    xp = namespace(first)
    return xp.log(xp.abs(second)) - xp.log(xp.abs(first))


def _angle(x: Array, band: Band, discrete: bool) -> Array:
    """Return the angle under which the band is seen from x, positive from the stable side."""
    first, second = _ends(x, band)
    margin = one_minus_square(x) if discrete else -2 * real(x)
    return namespace(x).atan2(band.turn * margin / 2, real(second * conj(first)))


def _log_quotient(z: Array, gain: Array, angle: Array) -> Array:
    r"""Return $\log(1 + z) / z$ on the branch of the angle; gain and angle are the logarithm to absolute accuracy."""
    xp = namespace(z)
    x, y = real(z), imag(z)
    size, whole = xp.abs(z), xp.abs(1 + z)
    near, away = size < 0.5, whole > 0.5
    log_modulus = xp.where(
        near, xp.log1p(xp.where(near, x * (2 + x) + y * y, 0 * x)) / 2, xp.log(xp.where(away, whole, 0 * x + 1))
    )
    principal = xp.atan2(y, 1 + x)
    winding = xp.round((angle - principal) / (2 * math.pi))
    value = join(xp.where(away, log_modulus, gain), xp.where(away, principal + 2 * math.pi * winding, angle))
    series = (size < 1e-3 * float(xp.finfo(x.dtype).eps) ** 0.25) & (winding == 0)
    safe = xp.where(series | (z == 0), xp.ones_like(z), z)
    quotient = xp.where(series, 1 - z / 2 + z * z / 3, value / safe)
    return xp.where((z == 0) & ~series, xp.full_like(quotient, float("nan")), quotient)
