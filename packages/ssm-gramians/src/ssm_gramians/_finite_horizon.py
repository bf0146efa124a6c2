r"""Gramians over the first T seconds: $P_T = \int_0^T e^{At} B B^H e^{A^H t}\,dt$, whether A is stable or not.

Never as a difference of two infinite Gramians, which would cancel for short horizons and does not exist for unstable A.
"""

from __future__ import annotations

from math import ceil, factorial, log2
from typing import TYPE_CHECKING

import numpy as np

from ._arrays import Array, conj, identity, imag, is_complex, join, namespace, promote, real
from ._errors import ConvergenceError
from .backends import get_backend
from .solvers.closed_form import Weighting
from .solvers.factored_smith import compress

if TYPE_CHECKING:
    from jaxtyping import Inexact

# With ||A|| h <= 1/2 the powers below 16 give exp(A h) to 2^-56, and 7 Gauss nodes the integral over h: their error is
# (7!)^4 / (15 (14!)^3) = 7e-20 times the 14th derivative of the integrand, which is at most (2 ||A|| h)^14 = 1.
_DEGREE = 16
_NODES = 7


def continuous_horizon_factor(
    A: Inexact[Array, "*batch n n"], B: Inexact[Array, "*batch n m"], horizon: float, *, average: bool = False
) -> Inexact[Array, "*batch n k"]:
    r"""Return Z with $Z Z^H = \int_0^T w(t)\,e^{At} B B^H e^{A^H t}\,dt$, $w = 1$, or $1 - t/T$ for the average.

    A Gauss rule gives the factor of a short stretch h, which is then doubled: $Z \leftarrow [Z, e^{Ah} Z]$. Everything
    that is added up is positive semidefinite, so nothing cancels.

    Parameters
    ----------
    A
        Shape (..., n, n); stable or not.
    B
        Shape (..., n, m).
    horizon
        T in seconds.
    average
        Take the mean over the horizons from 0 to T.

    Returns
    -------
    Array
        Z, shape (..., n, k); k is at most n once the horizon is long enough to fill the columns.

    Raises
    ------
    ConvergenceError
        If a mode grows beyond the range of floating-point numbers within the horizon.
    """
    A, B = promote(A, B)
    xp = namespace(A)
    doublings = _doublings(A, horizon)
    step = horizon / 2**doublings
    power = _exponential(A * step)
    total, mean = _first_stretch(A * step, B, step)  # squares: integral up to h, and h times its average
    for _ in range(doublings):
        if average:
            mean = compress(mean, step**0.5 * total, power @ mean)
        total, power, step = compress(total, power @ total), power @ power, 2 * step
    Z = mean / horizon**0.5 if average else total
    if not bool(xp.all(xp.isfinite(Z))):
        msg = f"a mode grows beyond the range of numbers within {horizon} s; want a shorter horizon"
        raise ConvergenceError(msg)
    return Z


def exponential_weighting(horizon: float, *, average: bool = False) -> Weighting:
    r"""Weights $\int_0^T w(t)\,e^{(a_i + \bar b_j)t}\,dt$, $w = 1$, or $1 - t/T$ for the average over 0..T.

    They are $T \varphi_1(z)$ and $T \varphi_2(z)$ with $z = (a_i + \bar b_j) T$, formed without a loss of digits where
    z is small or zero: a mode that neither grows nor decays is as good as any other.
    """

    def weighting(G: Array, a: Array, b: Array) -> Array:
        z = horizon * (a[..., :, None] + conj(b)[..., None, :])
        return G * (horizon * (_phi_two(z) if average else _phi_one(z)))

    return weighting


def _doublings(A: Array, horizon: float) -> int:
    """Return how often T must be halved until ||A|| h <= 1/2, for the largest of a batch."""
    xp = namespace(A)
    if 0 in A.shape:
        return 0
    size = xp.abs(get_backend(A).constant(A))
    bound = xp.max(xp.sum(size, axis=-1), axis=-1) * xp.max(xp.sum(size, axis=-2), axis=-1)  # >= ||A||_2^2
    reach = 2 * horizon * float(xp.max(bound)) ** 0.5
    return max(0, ceil(log2(reach))) if reach > 0 else 0


def _exponential(H: Inexact[Array, "*batch n n"]) -> Inexact[Array, "*batch n n"]:
    """Return exp(H) for ||H|| <= 1/2: six products (Paterson and Stockmeyer, SIAM J. Comput. 2 (1973) 60-66)."""
    square = H @ H
    powers = (identity(H.shape[-1], like=H), H, square, square @ H)
    fourth = square @ square
    total = 0 * H
    for start in reversed(range(0, _DEGREE, 4)):
        total = total @ fourth if start + 4 < _DEGREE else total
        total = total + sum(P / factorial(start + k) for k, P in enumerate(powers))
    return total


def _first_stretch(H: Array, B: Array, step: float) -> tuple[Array, Array]:
    """Return the factors of the integral over one stretch, and of h times its average, for H = A h."""
    xp = namespace(B)
    terms = [B]
    for k in range(1, _DEGREE):
        terms.append(H @ terms[-1] / k)
    nodes, weights = np.polynomial.legendre.leggauss(_NODES)
    nodes, weights = (1 + nodes) / 2, weights * step / 2
    powers = nodes[None, :] ** np.arange(_DEGREE)[:, None]  # (degree, node)
    plain, weighted = powers * np.sqrt(weights), powers * np.sqrt(weights * step * (1 - nodes))
    series = xp.stack(terms, axis=-1)  # (..., n, m, degree)
    shape = (*B.shape[:-1], B.shape[-1] * _NODES)
    total, mean = (
        xp.reshape(series @ xp.asarray(table, dtype=B.dtype, device=B.device), shape) for table in (plain, weighted)
    )
    return compress(total), compress(mean)


def _phi_one(z: Array) -> Array:
    """Return (exp(z) - 1) / z."""
    xp = namespace(z)
    small = xp.abs(z) < 1e-3 * float(xp.finfo(z.dtype).eps) ** 0.25  # there 1 + z/2 + z^2/6 is exact
    safe = xp.where(small, xp.ones_like(z), z)
    return xp.where(small, 1 + z / 2 + z * z / 6, _expm1(safe) / safe)


def _phi_two(z: Array) -> Array:
    """Return (exp(z) - 1 - z) / z^2: by its series inside the unit circle, where the difference would cancel."""
    xp = namespace(z)
    small = xp.abs(z) < 1
    inner = xp.where(small, z, xp.zeros_like(z))
    series = xp.zeros_like(z)
    for k in reversed(range(19)):
        series = series * inner + 1 / factorial(k + 2)
    safe = xp.where(small, xp.ones_like(z), z)
    return xp.where(small, series, (_expm1(safe) / safe - 1) / safe)


def _expm1(z: Array) -> Array:
    """Return exp(z) - 1, relative to its modulus as accurate as for a real number."""
    xp = namespace(z)
    if not is_complex(z):
        return xp.expm1(z)
    x, y = real(z), imag(z)
    half = xp.sin(y / 2)
    return join(xp.expm1(x) * xp.cos(y) - 2 * half * half, xp.exp(x) * xp.sin(y))
