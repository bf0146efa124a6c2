"""The eigenvectors of a batch of matrices, one slot for each conjugate pair, scaled for their inputs and outputs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ._arrays import adjoint

if TYPE_CHECKING:
    from jaxtyping import Complex, Float, Inexact, Int

    from ssm_gramians import StateSpace


@dataclass(frozen=True, eq=False)
class Modes:
    """The slots of one system, or of several that have as many, as `Diagonalization` has them for a batch."""

    values: Complex[np.ndarray, "*batch slots"]
    left: Complex[np.ndarray, "*batch n slots"]
    right: Complex[np.ndarray, "*batch n slots"]
    condition: float | Float[np.ndarray, "*batch"]
    B: Complex[np.ndarray, "*batch slots m"]
    C: Complex[np.ndarray, "*batch p slots"]
    error: float | Float[np.ndarray, "*batch"] = np.nan


def modes_of(A: Inexact[np.ndarray, "n n"], system: StateSpace, *, paired: bool) -> Modes:
    """Return the modes of A, with B and C of a system that is no batch.

    Parameters
    ----------
    A
        That of the system, or one near it.
    system
        Dense.
    paired
        Whether it is real, and a conjugate pair takes one slot.
    """
    ((_, *bases),) = _bases(A[None], paired)
    return _scaled(system.B, system.C, *(part[0] for part in bases))


def modes_of_batch(system: StateSpace, *, paired: bool) -> list[tuple[Int[np.ndarray, " k"], Modes]]:
    """Return the modes of a dense batch in groups of as many slots, each with the flat indices of its members."""
    A, B, C = (M.reshape(-1, *M.shape[-2:]) for M in (system.A, system.B, system.C))
    return [(chosen, _scaled(B[chosen], C[chosen], *bases)) for chosen, *bases in _bases(A, paired)]


def member(modes: Modes, k: int) -> Modes:
    """Return the modes of one member."""
    parts = (modes.values, modes.left, modes.right, modes.condition, modes.B, modes.C)
    return Modes(*(part[k] for part in parts))  # type: ignore[index]


def _bases(A, paired):
    """Yield, for each number of slots, the members that have as many, and their values, left, right and condition."""
    if A.shape[0] == 0:
        return
    values, vectors = np.linalg.eig(A)  # the vectors have unit length
    order = np.lexsort((values.real, values.imag), axis=-1)
    values = np.take_along_axis(values, order, axis=-1).astype(complex)
    vectors = np.take_along_axis(vectors, order[..., None, :], axis=-1)
    pairs = np.sum(values.imag > 0, axis=-1) if paired else np.zeros(A.shape[0], dtype=int)
    for count in np.unique(pairs):
        chosen = np.flatnonzero(pairs == count)
        bases = _of_pairs(vectors[chosen], count) if paired else _plain(vectors[chosen])
        yield chosen, values[chosen, count:], *bases


def _plain(vectors):
    """Return left and right with biorthogonal columns, and the condition."""
    inverse, condition = _inverse(vectors)
    return adjoint(inverse), vectors, condition


def _of_pairs(vectors, count):
    """Return the same for a real matrix, of which so many conjugates come first and their partners last."""
    right = vectors[..., count:].astype(complex)
    alone = right.shape[-1] - count
    single, pair = right[..., :alone].real, right[..., alone:]
    # A real basis with the singular values of the complex one: x z + conj(x z) in terms of Re z and -Im z.
    inverse, condition = _inverse(np.concatenate([2**0.5 * pair.real, 2**0.5 * pair.imag, single], axis=-1))
    cosine, sine, rest = np.split(inverse, [count, 2 * count], axis=-2)
    left = np.ascontiguousarray(np.concatenate([rest, (cosine + 1j * sine) / 2**0.5], axis=-2).mT)
    right[..., :alone] /= 2
    return left, right, condition


def _inverse(X):
    """Return inverses and conditions; singular values below rounding are lifted to it, which keeps all finite."""
    sigma = np.linalg.svdvals(X)
    largest, smallest = sigma[..., 0], sigma[..., -1]
    condition = np.divide(largest, smallest, out=np.full_like(largest, np.inf), where=smallest > 0)
    regular = smallest > np.finfo(float).eps * largest
    inverse = np.empty_like(X)
    inverse[regular] = np.linalg.inv(X[regular])
    for k in np.flatnonzero(~regular):
        U, sigma, Vh = np.linalg.svd(X[k])
        inverse[k] = adjoint(Vh) / np.maximum(sigma, np.finfo(float).eps * sigma[0]) @ adjoint(U)
    return inverse, condition


def _scaled(B, C, values, left, right, condition):
    """Give each row of B and column of C the same length; a slot where one of them vanishes stays as it is."""
    row, column = np.linalg.norm(adjoint(left) @ B, axis=-1), np.linalg.norm(C @ right, axis=-2)
    alive = (row > 0) & (column > 0)
    scale = np.sqrt(np.where(alive, column, 1) / np.where(alive, row, 1))[..., None, :]
    left, right = left * scale, right / scale
    return Modes(values, left, right, condition, adjoint(left) @ B, C @ right)
