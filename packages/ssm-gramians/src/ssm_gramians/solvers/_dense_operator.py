"""One dense operator, reduced to triangular or diagonal form, ready for any right-hand side."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from .._arrays import Array, adjoint, as_complex, conj, imag, is_complex, is_hermitian, join, namespace, real
from .._errors import SingularEquationError
from .._unit_circle import one_minus_product
from ..backends import Backend
from ._reduced import Part
from ._triangular import Recursion


@dataclass(frozen=True, eq=False)
class DenseOperator:
    r"""$X \mapsto A X F + E X B$, or $A X A^H - E X E^H$, with the pencils in parts.

    Parameters
    ----------
    left
        The parts of (A, E).
    right
        The parts of $(B^H, F^H)$: the very same object for Lyapunov and Stein equations.
    discrete
        Whether it is Stein's.
    backend
        For what is small.
    leaf
        Triangular equations up to this order go to the backend in one piece.
    """

    left: tuple[Part, ...]
    right: tuple[Part, ...]
    discrete: bool
    backend: Backend
    leaf: int

    def solve(self, Q: Array) -> Array:
        """Return X with operator(X) + Q = 0.

        Raises
        ------
        SingularEquationError
            If two eigenvalues cancel.
        """
        if is_complex(Q) and not self._is_complex:  # the operator is real: it acts on both parts
            return join(self.solve(real(Q)), self.solve(imag(Q)))
        Q = as_complex(Q) if self._is_complex else Q
        hermitian = self.right is self.left and is_hermitian(Q)
        if len(self.left) == len(self.right) == 1:
            left, right = self.left[0], self.right[0]
            return self._block(left, right, Q[left.rows, right.rows], hermitian)[left.rows, right.rows]
        xp, rows, columns = namespace(Q), _order(self.left), _order(self.right)
        Q = _picked(Q, rows, columns)
        X = xp.empty_like(Q)
        for (i, left, here), (j, right, there) in self._pairs():
            if not hermitian or i <= j:
                X[here, there] = self._block(left, right, Q[here, there], hermitian and i == j)
            else:
                X[here, there] = adjoint(X[there, here])
        return _picked(X, *(None if order is None else xp.argsort(order) for order in (rows, columns)))

    @cached_property
    def adjoint(self) -> DenseOperator:
        """Return the adjoint operator, at the price of a few copies."""
        left = tuple(part.adjoint for part in self.left)
        right = left if self.right is self.left else tuple(part.adjoint for part in self.right)
        return DenseOperator(left, right, self.discrete, self.backend, self.leaf)

    @cached_property
    def _is_complex(self) -> bool:
        part = self.left[0]  # all have the same dtype
        return is_complex(part.eigenvalues if part.S is None else part.S)

    def _pairs(self) -> Iterator[tuple[tuple[int, Part, slice], tuple[int, Part, slice]]]:
        for left in _slices(self.left):
            for right in _slices(self.right):
                yield left, right

    def _block(self, left: Part, right: Part, Q: Array, hermitian: bool) -> Array:
        """Return the block of X that belongs to two parts."""
        G = Q if left.U is None else adjoint(left.U) @ Q
        G = G if right.U is None else G @ right.U
        G = namespace(G).asarray(G, copy=True) if left.U is None and right.U is None else G
        if left.eigenvalues is not None and right.eigenvalues is not None:
            G = self._diagonal(left.eigenvalues, right.eigenvalues, G)
        else:
            first, second = right.pair
            pair, sign = ((first, second), -1) if self.discrete else ((second, first), 1)
            recursion = Recursion(sign, self.backend, self.leaf)
            (recursion.solve_hermitian if hermitian else recursion.solve)(left.pair, pair, G)
        G = G if left.V is None else left.V @ G
        return G if right.V is None else G @ adjoint(right.V)

    def _diagonal(self, a: Array, b: Array, G: Array) -> Array:
        """Return the block in closed form."""
        divisor = one_minus_product(a, b) if self.discrete else -(a[:, None] + conj(b)[None, :])
        if not bool(namespace(G).all(divisor != 0)):
            msg = "two eigenvalues cancel: there is no unique X"
            raise SingularEquationError(msg)
        return G / divisor


def _slices(parts: tuple[Part, ...]) -> Iterator[tuple[int, Part, slice]]:
    start = 0
    for index, part in enumerate(parts):
        yield index, part, slice(start, start + part.order)
        start += part.order


def _order(parts: tuple[Part, ...]) -> Any:
    """Return the coordinates, part after part; None if that is their order anyway."""
    if len(parts) == 1:
        return None if parts[0].rows == slice(None) else _all_of(parts[0])
    xp = namespace(parts[0].rows)
    order = xp.concat([part.rows for part in parts])
    return None if bool(xp.all(order[1:] > order[:-1])) else order


def _all_of(part: Part) -> Any:
    M = part.eigenvalues if part.S is None else part.S
    assert M is not None
    return namespace(M).arange(part.order)[part.rows]


def _picked(M: Array, rows: Any, columns: Any) -> Array:
    """Return the rows and columns in this order."""
    xp = namespace(M)
    M = M if rows is None else xp.take(M, rows, axis=0)
    return M if columns is None else xp.take(M, columns, axis=1)
