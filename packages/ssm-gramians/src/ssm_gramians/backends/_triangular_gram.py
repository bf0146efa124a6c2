r"""Hammarling's method for a small triangular equation, on NumPy arrays: $Z$ with $X = Z Z^H$, never $X$.

It goes up the diagonal. Each block of it, of order 1 or 2, is solved on its own (`_diagonal_gram`); one triangular
solve gives the columns of Z above it, and what is left is an equation of the same form for the rows above, with
another B: see `solvers/_block_hammarling.py`, which does the same with large blocks.

References
----------
S. J. Hammarling, IMA J. Numer. Anal. 2 (1982) 303-323. D. Kressner, *Block variants of Hammarling's method for solving
Lyapunov equations*, ACM Trans. Math. Software 34 (2008) 1. That V and M follow without a division by Z is our own.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from .._arrays import Array
from .._errors import InstabilityError
from .._unit_circle import one_minus_square
from ._diagonal_gram import Corner, pair_corner, scalar_corner
from ._triangular_leaf import lapack, two_terms


class _Step(NamedTuple):
    """What one block does to the B of the rows above: $B + (Y K + B U^H L) U$ with orthonormal rows U."""

    rows: slice
    U: Array
    K: Array
    L: Array


def triangular_gram(S: Array, B: Array, *, discrete: bool) -> tuple[Array, Array, Array]:
    r"""Return Z, $V = Z^{-1} B$ and $M = Z^{-1} S Z$, where Z is upper triangular and $Z Z^H$ the solution.

    Raises
    ------
    InstabilityError
        If an eigenvalue of S is not stable.
    """
    starts, values = _eigenvalues(S)
    square = one_minus_square(values) if discrete else -2 * values.real
    if not (square > 0).all():
        worst = complex(values[np.argmin(square)])
        msg = f"A has the eigenvalue {worst:.6g}, which does not decay: there is no Gramian"
        raise InstabilityError(msg, worst)
    B = np.array(B, dtype=S.dtype)
    Z, V, M = np.zeros_like(S), np.zeros_like(B), np.zeros_like(S)
    steps: list[_Step] = []
    end, alpha = len(S), np.sqrt(square)
    nothing = np.finfo(S.dtype).tiny / np.finfo(S.dtype).eps  # below it digits go, and with them the direction of b
    for start, value, weight in zip(starts[::-1], values[::-1], alpha[::-1], strict=True):
        rows = slice(start, end)
        M[rows, rows] = S[rows, rows]
        if np.abs(B[rows]).max() > nothing:  # else no input reaches it: columns of zeros
            make = scalar_corner if end - start == 1 else pair_corner
            corner = make(S[rows, rows], B[rows], value, weight, discrete)
            Z[rows, rows], V[rows], M[rows, rows] = corner.Z, corner.V @ corner.U, corner.M
            if start > 0:
                above = _stein_above if discrete else _lyapunov_above
                Z[:start, rows] = above(S[:start, :start], S[:start, rows], B[:start], corner, rows, steps)
        end = start
    return (Z, *(_stein_blocks(V, M, steps) if discrete else _lyapunov_blocks(V, M)))


def _lyapunov_above(S: Array, s: Array, B: Array, corner: Corner, rows: slice, steps: list[_Step]) -> Array:
    r"""Return z with $S z + z M^H + s\zeta + B V^H = 0$, and overwrite B by $B - z V$."""
    V = corner.V @ corner.U
    z, scale, _ = lapack("trsyl", S.dtype)(S, corner.M, -(s @ corner.Z) - B @ V.conj().T, tranb="C")
    z /= scale
    B -= z @ V
    return z


def _stein_above(S: Array, s: Array, B: Array, corner: Corner, rows: slice, steps: list[_Step]) -> Array:
    r"""Return z with $S z M^H - z + s\zeta M^H + B V^H = 0$, and overwrite B by $[S z + s\zeta,\; B]\,N$.

    The orthonormal columns of N span the kernel of $[M\;V]$.
    """
    coupled, inputs = s @ corner.Z, B @ corner.U.conj().T
    right = coupled @ corner.M.conj().T + inputs @ corner.V.conj().T
    if len(corner.M) == 1:
        value = corner.M[0, 0]
        z, scale, _ = lapack("trsyl", S.dtype)(value.conj() * S, -np.ones_like(corner.M), -right)
        z /= scale
    else:
        z = two_terms((S, None), (corner.M, None), -1, right)
    N = _complement(corner)
    K, L = N[: len(corner.M)], N[len(corner.M) :] - np.eye(len(corner.U))
    B += ((S @ z + coupled) @ K + inputs @ L) @ corner.U
    steps.append(_Step(rows, corner.U, K, L))
    return z


def _complement(corner: Corner) -> Array:
    """Return orthonormal columns that span the kernel of [M V]."""
    if len(corner.M) == 1:
        return np.array([corner.V[0], -corner.M[0]])
    order = len(corner.M)
    return np.linalg.qr(np.concatenate((corner.M, corner.V), axis=1).conj().T, mode="complete")[0][:, order:]


def _lyapunov_blocks(V: Array, M: Array) -> tuple[Array, Array]:
    r"""Return V and M, from $M + M^H + V V^H = 0$."""
    above = np.triu(np.ones(M.shape, dtype=bool), 1)
    above[np.arange(len(M) - 1), np.arange(1, len(M))] &= np.diagonal(M, -1) == 0  # the pairs are there already
    M[above] = -(V @ V.conj().T)[above]
    return V, M


def _stein_blocks(V: Array, M: Array, steps: list[_Step]) -> tuple[Array, Array]:
    """Return V for the B that the march began with, and M: each step is undone for the rows above it."""
    for rows, U, K, L in reversed(steps):
        V_above = V[: rows.start]
        along = V_above @ U.conj().T
        M[: rows.start, rows] = along @ K.conj().T
        V_above += (along @ L.conj().T) @ U
    return V, M


def _eigenvalues(S: Array) -> tuple[Array, Array]:
    """Return where each diagonal block begins and one eigenvalue of it."""
    below = np.append(np.diagonal(S, -1) != 0, False)
    starts = np.flatnonzero(~np.append(False, below[:-1]))
    values = np.diagonal(S)[starts].astype(np.result_type(S.dtype, np.complex64))
    pairs = below[starts]
    i = starts[pairs]
    if i.size:
        half, mean = (S[i, i] - S[i + 1, i + 1]) / 2, (S[i, i] + S[i + 1, i + 1]) / 2
        values[pairs] = mean + np.sqrt((half * half + S[i, i + 1] * S[i + 1, i]).astype(values.dtype))
    return starts, values
