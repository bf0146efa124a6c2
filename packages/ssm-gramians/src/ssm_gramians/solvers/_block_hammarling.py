r"""Hammarling's method by blocks of columns: all but the small diagonal blocks is matrix products.

With A = S upper triangular, cut before the last k coordinates, let $Z_2$ factor the solution for $(S_{22}, B_2)$, $V =
Z_2^{-1} B_2$ and $M = Z_2^{-1} S_{22} Z_2$. Then $[Z_{12}; Z_2]$ are the last columns of Z, where

$$S_{11} Z_{12} + Z_{12} M^H + S_{12} Z_2 + B_1 V^H = 0 \quad\text{or}\quad
S_{11} Z_{12} M^H - Z_{12} + S_{12} Z_2 M^H + B_1 V^H = 0,$$

and the other columns solve the equation of $S_{11}$ with another $B_1$: $B_1 - Z_{12} V$ in continuous time, and
$[S_{11} Z_{12} + S_{12} Z_2,\; B_1]\,N$ in discrete time, with $[M\;V]\,N = 0$, $N^H N = I$.
"""

from __future__ import annotations

from .._arrays import Array, adjoint, namespace
from ..backends import Backend
from ._triangular import Recursion


def block_gram(S: Array, B: Array, discrete: bool, backend: Backend, leaf: int) -> Array:
    r"""Return Z, upper triangular, with $X = Z Z^H$ for an upper (quasi-)triangular S of the same dtype as B.

    Raises
    ------
    InstabilityError
        If an eigenvalue of S is not stable.
    SingularEquationError
        If it is stable by less than rounding.
    """
    xp = namespace(S)
    Z, B, end = xp.zeros_like(S), _narrow(B), S.shape[-1]
    recursion = Recursion(-1 if discrete else 1, backend, 48)
    while end > 0:
        start = max(end - leaf, 0)
        start -= int(start > 0 and bool(S[start, start - 1] != 0))
        corner, V, M = backend.triangular_gram(S[start:end, start:end], B[start:end, :], discrete=discrete)
        Z[start:end, start:end] = corner
        if start > 0:
            above, top = S[:start, :start], B[:start, :]
            coupled = S[:start, start:end] @ corner
            column = (coupled @ adjoint(M) if discrete else coupled) + top @ adjoint(V)
            recursion.solve((above, None), (M, None) if discrete else (None, M), column)
            Z[:start, start:end] = column
            B = _remaining(top, above @ column + coupled, M, V) if discrete else top - column @ V
        end = start
    return Z


def _remaining(B: Array, Y: Array, M: Array, V: Array) -> Array:
    r"""Return [Y B] N, where the orthonormal columns of N span the kernel of [M V]."""
    xp = namespace(B)
    rows = xp.concat((M, V), axis=1)
    N = xp.linalg.qr(adjoint(rows), mode="complete")[0][:, M.shape[-1] :]
    return xp.concat((Y, B), axis=1) @ N


def _narrow(B: Array) -> Array:
    r"""Return a matrix with the same $B B^H$ and at most as many columns as rows."""
    xp = namespace(B)
    n, m = B.shape
    return B if m <= n else adjoint(xp.linalg.qr(adjoint(B), mode="reduced")[1])
