"""Blocks of orthonormal vectors, as rows of one growing array: a block times the basis is one matrix product."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from .._arrays import Array, conj

if TYPE_CHECKING:
    from jaxtyping import Inexact

# Gram-Schmidt through Gram matrices squares condition numbers: below this pivot a block goes the careful way.
SAFE_PIVOT = 1e-9
# A vector that keeps less than this of its length lies in the space already.
DEPENDENT = 1e-13


class NotPositiveError(ArithmeticError):
    """The inner product is none: its matrix is not positive definite."""


class BlockBasis:
    """Rows that are orthonormal in the inner product of G, the identity if `right` is None.

    Only the last `window` blocks are orthogonalised against, all if it is None. A block has two halves; `split` says
    how many rows of the last block belong to the first.
    """

    def __init__(self, width: int, right: Callable[[Array], Array] | None, window: int | None, dtype: np.dtype) -> None:
        self._right, self._window = right, window
        self._rows = np.empty((0, width), dtype=dtype)
        self._work = np.empty((0, width), dtype=dtype)
        self.last_image = self._work  # G times the vectors of the last block
        self.ends = [0]
        self.split = 0

    @property
    def rows(self) -> Inexact[Array, "k n"]:
        """Return all vectors."""
        return self._rows[: self.ends[-1]]

    @property
    def last(self) -> Inexact[Array, "w n"]:
        """Return the vectors of the last block."""
        return self._rows[self.ends[-2] : self.ends[-1]]

    def append(self, first: Inexact[Array, "a n"], second: Inexact[Array, "b n"]) -> None:
        """Add the part of two half blocks that is new: the first half first.

        Raises
        ------
        NotPositiveError
            If some vector has no positive length.
        """
        low = 0 if self._window is None else self.ends[max(len(self.ends) - 1 - self._window, 0)]
        new = slice(self.ends[-1], self.ends[-1] + len(first) + len(second))
        self._reserve(new.stop)
        np.concatenate((first, second), out=self._rows[new])
        self._normalize(new)
        self.split = len(first)
        # Twice: short recurrences live on what is orthogonal to rounding.
        if not (self._orthogonalize(low, new) and self._orthogonalize(low, new)):
            new = self._orthogonalize_carefully(low, new)
        self.ends.append(new.stop)
        self.last_image = self._image(self._rows[new])

    def _orthogonalize(self, low: int, new: slice) -> bool:
        """Project and normalise at once; do nothing and say so if the vectors are nearly dependent."""
        old = new.start - low
        gram = conj(self._rows[low : new.stop]) @ self._image(self._rows[new]).T
        C, S = gram[:old], gram[old:] - gram[:old].conj().T @ gram[:old]
        try:
            L = np.linalg.cholesky(S)
        except np.linalg.LinAlgError:
            return False
        if L.diagonal().real.min(initial=1.0) ** 2 < SAFE_PIVOT:
            return False
        inverse = np.linalg.inv(L.conj())
        update = np.concatenate((-inverse @ C.T, inverse), axis=1)
        self._rows[new] = np.matmul(update, self._rows[low : new.stop], out=self._workspace(len(L)))
        return True

    def _orthogonalize_carefully(self, low: int, new: slice) -> slice:
        """Orthogonalise half by half with pivoting and leave out what is dependent; return where the rest is."""
        halves, end = np.split(self._rows[new].copy(), [self.split]), new.start
        counts = []
        for half in halves:
            kept = half
            for _ in range(2):  # the first round leaves short vectors with the rounding errors of the long ones
                for _ in range(2):
                    kept = kept - (conj(self._rows[low:end]) @ self._image(kept).T).T @ self._rows[low:end]
                kept = self._independent(kept)
            self._rows[end : end + len(kept)] = kept
            end += len(kept)
            counts.append(len(kept))
        self.split = counts[0]
        return slice(new.start, end)

    def _independent(self, half: Array) -> Array:
        """Return orthonormal rows for those that still have a length."""
        if not len(half):
            return half
        from scipy import linalg

        Q, R, _ = linalg.qr(half.T, mode="economic", pivoting=True)
        kept = np.ascontiguousarray(Q[:, np.abs(R.diagonal()) > DEPENDENT].T)
        if self._right is None or not len(kept):
            return kept
        return _normalized(kept, conj(kept) @ self._image(kept).T)

    def _image(self, rows: Array) -> Array:
        return rows if self._right is None else self._right(rows.T).T

    def _normalize(self, new: slice) -> None:
        """Scale each row to unit length, so that pivots say how dependent it is."""
        lengths = np.einsum("ij,ij->i", conj(self._rows[new]), self._image(self._rows[new])).real
        if not (lengths >= 0).all():
            msg = "G is not positive definite"
            raise NotPositiveError(msg)
        self._rows[new] *= 1 / np.sqrt(np.where(lengths > 0, lengths, 1))[:, None]

    def _reserve(self, count: int) -> None:
        """Make room for many blocks at once: memory that is not touched costs nothing."""
        if count <= len(self._rows):
            return
        grown = np.empty((count + 48 * (count - self.ends[-1]), self._rows.shape[1]), self._rows.dtype)
        grown[: self.ends[-1]] = self.rows
        self._rows = grown

    def _workspace(self, count: int) -> Array:
        """Return memory that has been touched before: fresh pages cost as much as the product."""
        if len(self._work) < count:
            self._work = np.empty((count, self._rows.shape[1]), self._rows.dtype)
        return self._work[:count]


def _normalized(rows: Array, gram: Array) -> Array:
    try:
        L = np.linalg.cholesky(gram)
    except np.linalg.LinAlgError as error:
        msg = "G is not positive definite"
        raise NotPositiveError(msg) from error
    return np.linalg.solve(L.conj(), rows)
