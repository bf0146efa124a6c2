"""Symmetric M: all eigenvalues, and the vectors of the largest alone, for half the price of the singular values."""

from __future__ import annotations

from ctypes import byref, c_int
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from array_api_compat import is_numpy_array

from ._lapack import addresses, in_parts, letter, routine
from ._twisted import tridiagonal_vectors

if TYPE_CHECKING:
    from collections.abc import Callable

    from jaxtyping import Float, Inexact

    Matrices = Float[np.ndarray, "batch n n"]

    Triplets = tuple[Float[np.ndarray, "*batch n"], Callable[[int], tuple[np.ndarray, np.ndarray, np.ndarray]]]

_BLOCK = 32  # of reflectors, in the workspace of LAPACK
_TOGETHER = 32  # members whose vectors are one operation on a thousand numbers or so, in the cache
_ALMOST = 1e-8  # orthogonal to this, vectors are to its square after one correction


def symmetric_triplets(M: Inexact[Any, "*batch n n"], threads: int) -> Triplets | None:
    """Return all σ of symmetric M, descending, and a function from r to U, σ, V of the r largest.

    None unless M is a real NumPy array and M = Mᵀ up to the rounding of a product; for most that are not symmetric the
    first row tells.

    Parameters
    ----------
    M
        Any square matrices.
    threads
        How many members are worked on at a time.
    """
    if not is_numpy_array(M) or M.dtype != np.float64 or M.size == 0 or not _seems_symmetric(M):
        return None
    *batch, n, _ = M.shape
    reduced = Tridiagonal.of(M.reshape(-1, n, n), threads)
    sigma = np.sort(np.abs(reduced.values), axis=-1)[:, ::-1]
    if not np.all(reduced.asymmetry <= n * np.finfo(float).eps * sigma[:, 0]):
        return None

    def triplets(order: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        values, V = reduced.largest(order)
        V, values = V.reshape(*batch, n, order), values.reshape(*batch, order)
        return V * np.sign(values)[..., None, :], np.abs(values), V

    return sigma.reshape(*batch, n), triplets


def _seems_symmetric(M):
    if M.shape[-1] != M.shape[-2]:
        return False
    row, column = M[..., 0, :], M[..., :, 0]
    apart, size = (np.linalg.norm(x, axis=-1) for x in (row - column, row))
    return bool(np.all(apart <= np.finfo(float).eps ** 0.5 * size))


@dataclass(frozen=True, eq=False)
class Tridiagonal:
    """M = Q T Qᵀ with tridiagonal T, and the eigenvalues of both.

    Parameters
    ----------
    M
        A batch of symmetric matrices.
    reflectors, tau
        Q, as LAPACK stores it.
    diagonal, beside
        T.
    values
        Ascending.
    asymmetry
        The largest entry of M − Mᵀ.
    threads
        How many members are worked on at a time.
    """

    M: Matrices
    reflectors: Matrices
    tau: Float[np.ndarray, "batch n"]
    diagonal: Float[np.ndarray, "batch n"]
    beside: Float[np.ndarray, "batch n"]
    values: Float[np.ndarray, "batch n"]
    asymmetry: Float[np.ndarray, " batch"]
    threads: int

    @classmethod
    def of(cls, M: Matrices, threads: int) -> Tridiagonal:
        """Reduce a batch."""
        batch, n = M.shape[:2]
        reflectors = np.empty_like(M)
        asymmetry, (tau, diagonal, beside, values) = np.empty(batch), np.empty((4, batch, n))

        def work(part: slice) -> None:
            gap = M[part] - M[part].mT
            asymmetry[part] = np.maximum(gap.max(axis=(-2, -1)), -gap.min(axis=(-2, -1)))
            np.subtract(M[part], gap / 2, out=reflectors[part])
            _tridiagonalize(reflectors[part], tau[part], diagonal[part], beside[part])
            values[part] = diagonal[part]
            _eigenvalues(values[part], beside[part].copy())

        in_parts(work, batch, threads)
        return cls(M, reflectors, tau, diagonal, beside, values, asymmetry, threads)

    def largest(self, count: int) -> tuple[Float[np.ndarray, "batch count"], Float[np.ndarray, "batch n count"]]:
        """Return the eigenvalues of largest modulus, descending, and their vectors."""
        batch, n = self.values.shape
        ranked = np.argsort(-np.abs(self.values), axis=-1, kind="stable")[:, :count]
        places = np.sort(ranked, axis=-1)  # ascending, as LAPACK wants them
        chosen, vectors = np.take_along_axis(self.values, places, axis=-1), np.zeros((batch, count, n))

        def work(part: slice) -> None:
            _transform_back(self.reflectors[part], self.tau[part], vectors[part])
            good[part] &= _corrected(vectors[part])

        good = np.empty(batch, dtype=bool)
        for start in range(0, batch, _TOGETHER):
            part = slice(start, start + _TOGETHER)
            good[part] = tridiagonal_vectors(self.diagonal[part], self.beside[part], chosen[part], vectors[part])
        in_parts(work, batch, self.threads)
        for k in np.flatnonzero(~good):
            values, basis = np.linalg.eigh((self.M[k] + self.M[k].mT) / 2)
            chosen[k], vectors[k] = values[places[k]], basis[:, places[k]].mT
        back = np.argsort(-np.abs(chosen), axis=-1, kind="stable")
        return np.take_along_axis(chosen, back, axis=-1), np.take_along_axis(vectors, back[..., None], axis=-2).mT


def _tridiagonalize(A, tau, diagonal, beside):
    n, size, info = c_int(A.shape[-1]), c_int(A.shape[-1] * _BLOCK), c_int()
    space, call = np.empty(size.value), routine("dsytrd", 10)
    fixed = byref(letter("L")), byref(n), space.ctypes.data, byref(size), byref(info)
    for a, d, e, t in zip(*map(addresses, (A, diagonal, beside, tau)), strict=True):
        call(fixed[0], fixed[1], a, fixed[1], d, e, t, *fixed[2:])


def _eigenvalues(diagonal, beside):
    """Overwrite the diagonal with the eigenvalues, ascending."""
    n, info, call = c_int(diagonal.shape[-1]), c_int(), routine("dsterf", 4)
    for d, e in zip(addresses(diagonal), addresses(beside), strict=True):
        call(byref(n), d, e, byref(info))
        if info.value:
            msg = "the eigenvalues of a symmetric matrix did not converge"
            raise np.linalg.LinAlgError(msg)


def _transform_back(reflectors, tau, vectors):
    """Multiply the vectors of T by Q."""
    (count, n), info, call = vectors.shape[-2:], c_int(), routine("dormtr", 13)
    size, columns, room = c_int(n), c_int(count), c_int(count * _BLOCK)
    space, letters = np.empty(room.value), [letter(name) for name in "LLN"]
    fixed = [byref(name) for name in letters] + [byref(size), byref(columns)]
    for a, t, v in zip(*map(addresses, (reflectors, tau, vectors)), strict=True):
        call(*fixed, a, byref(size), t, v, byref(size), space.ctypes.data, byref(room), byref(info))


def _corrected(vectors):
    """Make rows orthonormal that nearly are; say which members' are."""
    excess = vectors @ vectors.mT - np.eye(vectors.shape[-2])
    vectors -= excess @ vectors / 2
    return np.abs(excess).max(axis=(-2, -1), initial=0.0) <= _ALMOST
