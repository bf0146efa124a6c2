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
    Q, R = np.linalg.qr(B.conj().T)
    lam = complex(value)
    p, q = complex(S[0, 1]), lam - float(S[0, 0])  # an eigenvector
    size = hypot(abs(p), abs(q))
    W = np.array([[p, -q.conjugate()], [q, p.conjugate()]]) / size
    first, last = (W.conj().T @ R.conj().T).tolist()
    s = complex(W[:, 0].conj() @ S @ W[:, 1])
    step = _discrete_step if discrete else _continuous_step
    corner, units, off, chain = step(lam, s, first, last, float(alpha))
    Y = W @ np.array(corner)
    turn = _realifying(*Y.ravel().tolist())
    back = turn.conj().T
    V = alpha * np.array([[1, chain], [0, 1]]) @ np.array(units)
    M = np.array([[lam, off], [0, lam.conjugate()]])
    Z = (Y @ turn).real
    Z[1, 0] = 0
    Z, V, M = (np.asarray(K, dtype=S.dtype) for K in (Z, (back @ V).real, (back @ M @ turn).real))
    return Corner(Z, V, M, Q.conj().T)


def _continuous_step(lam: complex, s: complex, first: list, last: list, alpha: float) -> tuple:
    zeta, u = _normed(last, alpha)
    g = _dot(first, u)
    z = -(zeta * s + alpha * g) / (2 * lam)
    rest, v = _normed([x - alpha * z * y for x, y in zip(first, u, strict=True)], alpha)
    return [[rest, z], [0, zeta]], [v, u], -alpha * alpha * _dot(v, u), 0


def _discrete_step(lam: complex, s: complex, first: list, last: list, alpha: float) -> tuple:
    zeta, u = _normed(last, alpha)
    g = _dot(first, u)
    z = (lam * zeta * s + alpha * g) / ((1 - lam) * (1 + lam))
    change = alpha * (lam * z + zeta * s) - (lam.conjugate() + 1) * g
    rest, v = _normed([x + change * y for x, y in zip(first, u, strict=True)], alpha)
    overlap = _dot(v, u)
    return [[rest, z], [0, zeta]], [v, u], alpha * alpha * overlap, -overlap * (1 + lam)


def _normed(b: list, alpha: float) -> tuple[float, list]:
    size = hypot(*(abs(x) for x in b))
    return size / alpha, [x / size for x in b] if size > 0 else b


def _dot(x: list, y: list) -> complex:
    return sum(p * q.conjugate() for p, q in zip(x, y, strict=True))


def _realifying(a: complex, b: complex, c: complex, d: complex) -> Array:
    """Return a unitary matrix that makes [[a, b], [c, d]], a factor of a real matrix, real and upper triangular."""
    size = hypot(abs(c), abs(d))
    if size == 0:
        return np.eye(2, dtype=complex)
    p, q = c / size, d / size
    corner = a * q - b * p
    phase = corner.conjugate() / abs(corner) if corner else 1.0
    return np.array([[q * phase, p.conjugate()], [-p * phase, q.conjugate()]])
