"""The Gramian's factor for a single mode or a pair: where Hammarling's method begins, in scalars."""

from __future__ import annotations

from math import hypot
from typing import NamedTuple

import numpy as np

from .._arrays import Array


class Corner(NamedTuple):
    r"""Z, $V U = Z^{-1} B$ and $M = Z^{-1} S Z$, where U has orthonormal rows."""

    Z: Array
    V: Array
    M: Array
    U: Array


def scalar_corner(S: Array, B: Array, value: complex, alpha: float, discrete: bool) -> Corner:
    r"""$Z = \lVert b\rVert / \alpha$, $V = \alpha$: the same in continuous and discrete time, but for alpha."""
    peak = np.abs(B).max()  # the squares of what is tiny would be zero
    unit = B / peak
    size = np.linalg.norm(unit)
    return Corner(np.array([[peak * size / alpha]]), np.array([[alpha]], dtype=S.dtype), S, unit / size)


def pair_corner(S: Array, B: Array, value: complex, alpha: float, discrete: bool) -> Corner:
    """Solve for a conjugate pair in complex coordinates, and turn the factor until it is real.

    The last column comes first; X is real and its triangular factor unique, so one unitary 2 x 2 matrix makes the
    factor real and triangular at once.
    """
    L, U = (B, np.eye(B.shape[1], dtype=B.dtype)) if B.shape[1] <= 2 else _factors(B)
    (a, b), (c, d) = S.tolist()
    lam = complex(value)
    p, q = complex(b), lam - a  # an eigenvector; scalars all the way, since arrays of order 2 would cost ten times more
    size = hypot(abs(p), abs(q))
    p, q = p / size, q / size
    s, t = p.conjugate(), q.conjugate()
    above, below = L.tolist()
    first, last = ([f * x + g * y for x, y in zip(above, below, strict=True)] for f, g in ((s, t), (-q, p)))
    step = _discrete_step if discrete else _continuous_step
    (rest, z, zeta), (v, u), off, chain = step(
        lam, s * (b * s - a * t) + t * (d * s - c * t), first, last, float(alpha)
    )
    Y = p * rest, p * z - t * zeta, q * rest, q * z + s * zeta
    turn = _realifying(*Y)
    Z = _real_product(*Y, *turn)
    back = turn[0].conjugate(), turn[2].conjugate(), turn[1].conjugate(), turn[3].conjugate()
    moved = _product(lam, off, 0, lam.conjugate(), *turn)
    rows = [x + chain * y for x, y in zip(v, u, strict=True)], u
    V = [[alpha * (f * x + g * y).real for x, y in zip(*rows, strict=True)] for f, g in (back[:2], back[2:])]
    factor, held = (np.array(K, dtype=S.dtype) for K in ([[Z[0], Z[1]], [0, Z[3]]], V))
    return Corner(factor, held, np.reshape(np.array(_real_product(*back, *moved), dtype=S.dtype), (2, 2)), U)


def _factors(B: Array) -> tuple[Array, Array]:
    """Return L and U with B = L U, orthonormal rows in U."""
    Q, R = np.linalg.qr(B.conj().T)
    return R.conj().T, Q.conj().T


def _continuous_step(lam: complex, s: complex, first: list, last: list, alpha: float) -> tuple:
    zeta, u = _normed(last, alpha)
    g = _dot(first, u)
    z = -(zeta * s + alpha * g) / (2 * lam)
    rest, v = _normed([x - alpha * z * y for x, y in zip(first, u, strict=True)], alpha)
    return (rest, z, zeta), (v, u), -alpha * alpha * _dot(v, u), 0


def _discrete_step(lam: complex, s: complex, first: list, last: list, alpha: float) -> tuple:
    zeta, u = _normed(last, alpha)
    g = _dot(first, u)
    z = (lam * zeta * s + alpha * g) / ((1 - lam) * (1 + lam))
    change = alpha * (lam * z + zeta * s) - (lam.conjugate() + 1) * g
    rest, v = _normed([x + change * y for x, y in zip(first, u, strict=True)], alpha)
    overlap = _dot(v, u)
    return (rest, z, zeta), (v, u), alpha * alpha * overlap, -overlap * (1 + lam)


def _normed(b: list, alpha: float) -> tuple[float, list]:
    size = hypot(*(abs(x) for x in b))
    return size / alpha, [x / size for x in b] if size > 0 else b


def _dot(x: list, y: list) -> complex:
    return sum(p * q.conjugate() for p, q in zip(x, y, strict=True))


def _realifying(a: complex, b: complex, c: complex, d: complex) -> tuple[complex, ...]:
    """Return a unitary matrix that makes [[a, b], [c, d]], a factor of a real matrix, real and upper triangular."""
    size = hypot(abs(c), abs(d))
    if size == 0:
        return 1, 0, 0, 1
    p, q = c / size, d / size
    corner = a * q - b * p
    phase = corner.conjugate() / abs(corner) if corner else 1.0
    return q * phase, p.conjugate(), -p * phase, q.conjugate()


def _product(a: complex, b: complex, c: complex, d: complex, *other: complex) -> tuple[complex, ...]:
    e, f, g, h = other
    return a * e + b * g, a * f + b * h, c * e + d * g, c * f + d * h


def _real_product(*entries: complex) -> list[float]:
    return [x.real for x in _product(*entries)]
