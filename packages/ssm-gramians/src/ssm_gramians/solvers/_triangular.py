r"""Triangular equations $A_1 X B_1^H \pm A_2 X B_2^H + G = 0$, halved until the backend takes over.

Nearly all the work is matrix products.

References
----------
I. Jonsson, B. Kagstrom, *Recursive blocked algorithms for solving triangular systems I, II*, ACM Trans. Math. Software
28 (2002) 392-435.
"""

from __future__ import annotations

from typing import TypeAlias

from .._arrays import Array, adjoint, namespace
from ..backends import Backend

Pair: TypeAlias = tuple[Array | None, Array | None]  # upper (quasi-)triangular; None is the identity


class Recursion:
    """The recursion for one kind of equation.

    Parameters
    ----------
    sign
        1 or -1.
    backend
        For what is small.
    leaf
        Equations up to this order go to the backend in one piece.
    """

    def __init__(self, sign: int, backend: Backend, leaf: int) -> None:
        self.sign, self.backend, self.leaf = sign, backend, leaf

    def solve(self, left: Pair, right: Pair, G: Array) -> None:
        """Overwrite G by X."""
        n, m = G.shape
        if n <= self.leaf and m <= self.leaf:
            G[...] = self._small(left, right, G)
        elif n >= m:
            cut = _middle(left)
            (A1, A2), (B1, B2) = left, right
            top, low = G[:cut, :], G[cut:, :]
            self.solve(_bottom(left, cut), right, low)
            if A1 is not None:
                top += _times_adjoint(A1[:cut, cut:] @ low, B1)
            if A2 is not None:
                top += self.sign * _times_adjoint(A2[:cut, cut:] @ low, B2)
            self.solve(_top(left, cut), right, top)
        else:
            cut = _middle(right)
            (A1, A2), (B1, B2) = left, right
            first, last = G[:, :cut], G[:, cut:]
            self.solve(left, _bottom(right, cut), last)
            if B1 is not None:
                first += _times(A1, last @ adjoint(B1[:cut, cut:]))
            if B2 is not None:
                first += self.sign * _times(A2, last @ adjoint(B2[:cut, cut:]))
            self.solve(left, _top(right, cut), first)

    def solve_hermitian(self, left: Pair, right: Pair, G: Array) -> None:
        """Overwrite a Hermitian G by the Hermitian X, where the right pair is the left one, perhaps swapped.

        A quarter of the unknowns, the block below the diagonal, is the adjoint of another and not solved for.
        """
        n = G.shape[0]
        if n <= self.leaf or n < 4:
            G[...] = self._small(left, right, G)
            return
        cut = _middle(left)
        low, corner, top = G[cut:, cut:], G[:cut, cut:], G[:cut, :cut]
        self.solve_hermitian(_bottom(left, cut), _bottom(right, cut), low)
        moved = tuple(None if A is None else A[:cut, cut:] @ low for A in left)
        for sign, half, B in zip((1, self.sign), moved, right, strict=True):
            if half is not None:
                corner += sign * _times_adjoint(half, None if B is None else B[cut:, cut:])
        self.solve(_top(left, cut), _bottom(right, cut), corner)
        for sign, A, half, B in zip((1, self.sign), left, moved, right, strict=True):
            if B is not None:
                whole = corner if A is None or half is None else A[:cut, :cut] @ corner + half / 2
                carried = sign * (whole @ adjoint(B[:cut, cut:]))
                top += carried
                top += adjoint(carried)
        self.solve_hermitian(_top(left, cut), _top(right, cut), top)
        G[cut:, :cut] = adjoint(corner)

    def _small(self, left: Pair, right: Pair, G: Array) -> Array:
        (A1, A2), (B1, B2) = left, right
        if A2 is None and B1 is None and self.sign > 0:
            return self.backend.triangular_sylvester(A1, B2, G)
        if A2 is None and B2 is None and self.sign < 0:
            return self.backend.triangular_stein(A1, B1, G)
        return self.backend.triangular_pencil(left, right, self.sign, G)


def flipped(M: Array) -> Array:
    """Return the upper triangular matrix that the adjoint of an upper triangular one is, its coordinates reversed."""
    return namespace(M).flip(adjoint(M), axis=(-2, -1))


def _top(pair: Pair, cut: int) -> Pair:
    first, second = pair
    return None if first is None else first[:cut, :cut], None if second is None else second[:cut, :cut]


def _bottom(pair: Pair, cut: int) -> Pair:
    first, second = pair
    return None if first is None else first[cut:, cut:], None if second is None else second[cut:, cut:]


def _times(A: Array | None, X: Array) -> Array:
    return X if A is None else A @ X


def _times_adjoint(X: Array, B: Array | None) -> Array:
    return X if B is None else X @ adjoint(B)


def _middle(pair: Pair) -> int:
    """Return where to cut a pair in two without breaking a 2 x 2 block."""
    first, second = pair
    M = second if first is None else first
    assert M is not None
    cut = int(M.shape[-1]) // 2
    return cut + 1 if any(M is not None and M[cut, cut - 1] != 0 for M in pair) else cut
