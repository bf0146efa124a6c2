r"""Small upper (quasi-)triangular equations $A_1 X B_1^H \pm A_2 X B_2^H + G = 0$ on NumPy arrays, by LAPACK.

`trsyl` solves Sylvester equations only. The others are turned into one by a shift that keeps away from the eigenvalues
of this very equation, which a fixed bilinear map cannot; the residual is looked at, and what is not right to rounding
is solved a column at a time.
"""

from __future__ import annotations

from functools import cache
from typing import Any, TypeAlias

import numpy as np
from scipy import linalg

from .._arrays import Array, is_complex
from .._errors import SingularEquationError

Pair: TypeAlias = tuple[Array | None, Array | None]  # None is the identity
_SHIFTS = np.array([0.0, 1.0, -1.0, 0.5, -0.5, 2.0, -2.0])
_TURNS = np.exp(0.25j * np.pi * np.arange(8))


@cache
def lapack(name: str, dtype: Any) -> Any:
    """Return LAPACK's routine for this type; to look it up anew costs as much as a solve of order 20."""
    (routine,) = linalg.get_lapack_funcs((name,), dtype=dtype)
    return routine


def sylvester(S: Array, T: Array, G: Array) -> Array:
    r"""Return X with $S X + X T^H + G = 0$.

    Raises
    ------
    SingularEquationError
        If two eigenvalues cancel to working precision.
    """
    X, scale, info = lapack("trsyl", np.result_type(S, T, G))(S, T, G, tranb="C")
    if info != 0 or scale == 0:
        msg = "two eigenvalues cancel to working precision: there is no unique X"
        raise SingularEquationError(msg)
    X *= -1 / scale
    return X


def two_terms(left: Pair, right: Pair, sign: int, G: Array) -> Array:
    r"""Return X with $A_1 X B_1^H \pm A_2 X B_2^H + G = 0$.

    Raises
    ------
    SingularEquationError
        If there is no unique X.
    """
    shift = _shift(left, right, sign, is_complex(G))
    X = _shifted(left, right, sign, G, shift)
    for _ in range(2):
        if X is None:
            break
        rest, size = _rest(left, right, sign, X, G)
        if np.linalg.norm(rest) <= 10 * max(G.shape) * np.finfo(G.dtype).eps * size:
            return X
        change = _shifted(left, right, sign, rest, shift)
        X = None if change is None else X + change
    return _by_columns(left, right, sign, G)


def _shift(left: Pair, right: Pair, sign: int, turned: bool) -> complex:
    """Return the shift that is farthest, relative, from making one of the two divisors singular."""
    a1, a2, b1, b2 = (np.ones(1) if M is None else np.diagonal(M) for M in (*left, *right))
    shifts = np.concatenate((_SHIFTS, _TURNS[1::2])) if turned else _SHIFTS
    beta = shifts[:, None]
    tiny = np.finfo(float).tiny
    ours = np.abs(beta.conj() * a1 + sign * a2) / (np.abs(beta * a1) + np.abs(a2) + tiny)
    theirs = np.abs(b1 - beta * b2) / (np.abs(b1) + np.abs(beta * b2) + tiny)
    best = shifts[np.argmax(np.minimum(ours.min(axis=1), theirs.min(axis=1)))]
    return complex(best) if turned else float(best.real)


def _shifted(left: Pair, right: Pair, sign: int, G: Array, shift: complex) -> Array | None:
    r"""$A_1 X (B_1 - \beta B_2)^H + (\bar\beta A_1 \pm A_2) X B_2^H + G = 0$, divided by both brackets."""
    n, m = G.shape
    (A1, A2), (B1, B2) = (
        tuple(np.eye(k, dtype=G.dtype) if M is None else M for M in pair) for k, pair in ((n, left), (m, right))
    )
    try:
        over = np.linalg.solve(shift.conjugate() * A1 + sign * A2, np.concatenate((A1, G), axis=1))
        under = np.linalg.solve(B1 - shift * B2, np.concatenate((B2, over[:, n:].conj().T), axis=1))
        return sylvester(over[:, :n], under[:, :m], under[:, m:].conj().T)
    except (np.linalg.LinAlgError, SingularEquationError):
        return None


def _rest(left: Pair, right: Pair, sign: int, X: Array, G: Array) -> tuple[Array, float]:
    """Return what X leaves of the equation, and the size that rounding is relative to."""
    rest, size, norm = G, np.linalg.norm(G), np.linalg.norm
    for factor, A, B in zip((1, sign), left, right, strict=True):
        term = X if A is None else A @ X
        rest = rest + factor * (term if B is None else term @ B.conj().T)
        size += (1 if A is None else norm(A)) * norm(X) * (1 if B is None else norm(B))
    return rest, float(size)


def _by_columns(left: Pair, right: Pair, sign: int, G: Array) -> Array:
    r"""Solve a column at a time from the last: $(\bar b_{1,jj} A_1 \pm \bar b_{2,jj} A_2)\,x_j = -g_j - \dots$."""
    A1, A2, U, V = _triangularised(*left, G)
    B1, B2, W, Z = _triangularised(*right, G.T)
    G = U.conj().T @ G @ W
    trtrs = lapack("trtrs", G.dtype)
    X = np.zeros_like(G)
    for j in reversed(range(G.shape[1])):
        done = X[:, j + 1 :]
        known = A1 @ (done @ B1[j, j + 1 :].conj()) + sign * (A2 @ (done @ B2[j, j + 1 :].conj()))
        X[:, j], info = trtrs(B1[j, j].conj() * A1 + sign * B2[j, j].conj() * A2, -G[:, j] - known)
        if info != 0:
            msg = "an eigenvalue of the operator is zero: there is no unique X"
            raise SingularEquationError(msg)
    X = V @ X @ Z.conj().T
    return X if any(M is not None and is_complex(M) for M in (*left, *right)) else X.real


def _triangularised(first: Array | None, second: Array | None, like: Array) -> tuple[Array, Array, Array, Array]:
    r"""Return complex F, S, U, V with the pair equal to $U F V^H$, $U S V^H$ and both triangular."""
    eye = np.eye(like.shape[0], dtype=np.result_type(like.dtype, np.complex64))
    if first is None or second is None:
        given = second if first is None else first
        assert given is not None
        T, U = linalg.schur(given, output="complex")
        return (eye, T, U, U) if first is None else (T, eye, U, U)
    F, S, U, V = linalg.qz(first, second, output="complex")
    return F, S, U, V
