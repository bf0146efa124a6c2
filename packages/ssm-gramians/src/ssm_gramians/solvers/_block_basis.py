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
        self._rows = np.empty((8, width), dtype=dtype)
        self._images = self._rows if right is None else np.empty((8, width), dtype=dtype)
        self._work = np.empty((0, width), dtype=dtype)
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

    @property
    def last_image(self) -> Inexact[Array, "w n"]:
        """Return G times the vectors of the last block."""
        return self._images[self.ends[-2] : self.ends[-1]]

    def append(self, first: Inexact[Array, "a n"], second: Inexact[Array, "b n"]) -> None:
        """Add the part of two half blocks that is new: the first half first.

        Raises
        ------
        NotPositiveError
            If some vector has no positive length.
        """
        start, count = self.ends[-1], len(first) + len(second)
        self._reserve(start + count)
        new = slice(start, start + count)
        self._rows[new] = np.concatenate((first, second))
        if self._right is not None:
            self._images[new] = self._image(self._rows[new])
        self._normalize(new)
        low = 0 if self._window is None else self.ends[max(len(self.ends) - 1 - self._window, 0)]
        self.split = len(first)
        pivot = self._orthogonalize(low, new)
        if pivot >= SAFE_PIVOT:  # once more: short recurrences live on what is orthogonal to rounding
            pivot = self._orthogonalize(low, new)
        if pivot < SAFE_PIVOT:
            count = self._append_carefully(low, new, len(first))
        self.ends.append(start + count)

    def _orthogonalize(self, low: int, new: slice) -> float:
        """Project and normalise at once; return the least pivot, and do nothing if it is unsafe."""
        old = new.start - low
        gram = conj(self._rows[low : new.stop]) @ self._images[new].T
        C, S = gram[:old], gram[old:] - gram[:old].conj().T @ gram[:old]
        try:
            L = np.linalg.cholesky(S)
        except np.linalg.LinAlgError:
            return 0.0
        pivot = float(L.diagonal().real.min()) ** 2
        if pivot < SAFE_PIVOT:
            return pivot
        inverse = np.linalg.inv(L.conj())
        update = np.concatenate((-inverse @ C.T, inverse), axis=1)
        work = self._workspace(len(L))
        self._rows[new] = np.matmul(update, self._rows[low : new.stop], out=work)
        if self._right is not None:
            self._images[new] = np.matmul(update, self._images[low : new.stop], out=work)
        return pivot

    def _append_carefully(self, low: int, new: slice, first: int) -> int:
        """Orthogonalise half by half with pivoting, leave out what is dependent; return the number of new rows."""
        halves, start = (self._rows[new][:first].copy(), self._rows[new][first:].copy()), new.start
        end = start
        for half in halves:
            for _ in range(3):  # each pass divides what rounding left in the old directions by 1/eps again
                half = self._rest(half, low, end)
            kept = self._independent(half)
            self._rows[end : end + len(kept)] = kept
            if self._right is not None:
                self._images[end : end + len(kept)] = self._image(kept)
            end += len(kept)
            self.split = end - start if half is halves[0] or end == start else self.split
        return end - start

    def _rest(self, half: Array, low: int, end: int) -> Array:
        C = conj(self._rows[low:end]) @ self._image(half).T
        return half - C.T @ self._rows[low:end]

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
        lengths = np.einsum("ij,ij->i", conj(self._rows[new]), self._images[new]).real
        if not (lengths >= 0).all():
            msg = "G is not positive definite"
            raise NotPositiveError(msg)
        scale = 1 / np.sqrt(np.where(lengths > 0, lengths, 1))
        self._rows[new] *= scale[:, None]
        if self._right is not None:
            self._images[new] *= scale[:, None]

    def _reserve(self, count: int) -> None:
        """Make room in place: the system moves pages, where a copy would touch them all. No view outlives this."""
        if count > len(self._rows):
            shape = (count + 4 * (count - self.ends[-1]), self._rows.shape[1])
            self._rows.resize(shape, refcheck=False)
            if self._right is not None:
                self._images.resize(shape, refcheck=False)

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
