r"""Triangular equations, halved until the backend takes over: nearly all the work is matrix products.

References
----------
I. Jonsson, B. Kagstrom, *Recursive blocked algorithms for solving triangular systems I, II*, ACM Trans. Math. Software
28 (2002) 392-435.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from .._arrays import Array, adjoint, namespace
from ..backends import Backend

Pair: TypeAlias = tuple[Array | None, Array | None]  # upper (quasi-)triangular; None is the identity


@dataclass(frozen=True, eq=False)
class Operator:
    r"""$X \mapsto A_1 X B_1^H \pm A_2 X B_2^H$ with upper (quasi-)triangular matrices.

    Parameters
    ----------
    left
        $A_1$ and $A_2$; None is the identity.
    right
        $B_1$ and $B_2$.
    sign
        1 or -1.
    backend
        For what is small.
    leaf
        Equations up to this order go to the backend in one piece.
    """

    left: Pair
    right: Pair
    sign: int
    backend: Backend
    leaf: int

    def solve_in_place(self, G: Array) -> None:
        """Overwrite G by X with operator(X) + G = 0."""
        n, m = G.shape
        if max(n, m) <= self.leaf:
            G[...] = self._small(G)
        elif n >= m:
            cut = _middle(self.left)
            low = G[cut:, :]
            self._on(_bottom(self.left, cut), self.right).solve_in_place(low)
            top = G[:cut, :]
            for factor, a, b in self._terms():
                if a is not None:
                    top += factor * _times_adjoint(a[:cut, cut:] @ low, b)
            self._on(_top(self.left, cut), self.right).solve_in_place(top)
        else:
            cut = _middle(self.right)
            high = G[:, cut:]
            self._on(self.left, _bottom(self.right, cut)).solve_in_place(high)
            first = G[:, :cut]
            for factor, a, b in self._terms():
                if b is not None:
                    first += factor * _times(a, high @ adjoint(b[:cut, cut:]))
            self._on(self.left, _top(self.right, cut)).solve_in_place(first)

    def solve_hermitian_in_place(self, G: Array) -> None:
        """Overwrite a Hermitian G by the Hermitian X, where the right pair is the left one, perhaps swapped.

        A quarter of the unknowns, the block below the diagonal, is the adjoint of another and not solved for.
        """
        n = G.shape[0]
        if n <= self.leaf // 2 or n < 4:
            G[...] = self._small(G)
            return
        cut = _middle(self.left)
        low, corner, top = G[cut:, cut:], G[:cut, cut:], G[:cut, :cut]
        self._on(_bottom(self.left, cut), _bottom(self.right, cut)).solve_hermitian_in_place(low)
        moved = tuple(None if M is None else M[:cut, cut:] @ low for M in self.left)
        for factor, a, b in zip((1, self.sign), moved, self.right, strict=True):
            if a is not None:
                corner += factor * _times_adjoint(a, None if b is None else b[cut:, cut:])
        self._on(_top(self.left, cut), _bottom(self.right, cut)).solve_in_place(corner)
        for factor, a, half, b in zip((1, self.sign), _top(self.left, cut), moved, self.right, strict=True):
            if b is not None:
                whole = _times(a, corner)
                carried = (whole if half is None else whole + half / 2) @ adjoint(b[:cut, cut:])
                top += factor * (carried + adjoint(carried))
        self._on(_top(self.left, cut), _top(self.right, cut)).solve_hermitian_in_place(top)
        G[cut:, :cut] = adjoint(corner)

    def _small(self, G: Array) -> Array:
        (A1, A2), (B1, B2) = self.left, self.right
        if A2 is None and B1 is None and self.sign > 0:
            return self.backend.triangular_sylvester(A1, B2, G)
        if A2 is None and B2 is None and self.sign < 0:
            return self.backend.triangular_stein(A1, B1, G)
        return self.backend.triangular_pencil(self.left, self.right, self.sign, G)

    def _terms(self) -> tuple[tuple[int, Array | None, Array | None], ...]:
        return (1, self.left[0], self.right[0]), (self.sign, self.left[1], self.right[1])

    def _on(self, left: Pair, right: Pair) -> Operator:
        return Operator(left, right, self.sign, self.backend, self.leaf)


def flipped(M: Array) -> Array:
    """Return the upper triangular matrix that the adjoint of an upper triangular one is, its coordinates reversed."""
    return namespace(M).flip(adjoint(M), axis=(-2, -1))


def _top(pair: Pair, cut: int) -> Pair:
    first, second = pair
    return None if first is None else first[:cut, :cut], None if second is None else second[:cut, :cut]


def _bottom(pair: Pair, cut: int) -> Pair:
    first, second = pair
    return None if first is None else first[cut:, cut:], None if second is None else second[cut:, cut:]


def _times(a: Array | None, X: Array) -> Array:
    return X if a is None else a @ X


def _times_adjoint(X: Array, b: Array | None) -> Array:
    return X if b is None else X @ adjoint(b)


def _middle(pair: Pair) -> int:
    """Return where to cut a pair in two without breaking a 2 x 2 block."""
    order = next(M.shape[-1] for M in pair if M is not None)
    cut = order // 2
    return cut + 1 if any(M is not None and M[cut, cut - 1] != 0 for M in pair) else cut
