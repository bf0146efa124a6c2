"""Back to diagonal form, which is what layers store."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from array_api_compat import array_namespace

from ssm_gramians import Diagonal, StateSpace

from ._arrays import adjoint
from ._descriptor import without_descriptor
from ._host import members, on_host
from ._stability import require_finite

if TYPE_CHECKING:
    from jaxtyping import Complex, Float

    from ._arrays import Array


@dataclass(frozen=True, eq=False)
class Diagonalization:
    """A system in the coordinates of its eigenvectors.

    Parameters
    ----------
    system
        Paired `Diagonal` for a real system, plain for a complex one.
    left, right
        z = leftᴴ ξ and ξ = 2 Re(right z) for a real system, ξ = right z for a complex one; shape (..., n, slots).
    condition
        Of the matrix of eigenvectors of unit length: rounding in the diagonal form is magnified by up to this.
        A defective matrix has infinite condition, a nearly defective one a large one; the caller decides.
    """

    system: StateSpace
    left: Complex[Array, "*batch n slots"]
    right: Complex[Array, "*batch n slots"]
    condition: float | Float[np.ndarray, "*batch"]


def diagonalize(system: StateSpace) -> Diagonalization:
    r"""Write A = X Λ X⁻¹, with X scaled so that each row of B is as long as its column of C.

    A real system becomes a paired one: a conjugate pair takes one slot, that of Im λ > 0; a real pole takes one slot,
    real throughout. Orders may be odd. Slots are sorted by Im λ, then Re λ. In a batch whose members differ in their
    number of slots the shorter are filled with dead ones: a copy of the last eigenvalue, and zeros in B and C.

    Parameters
    ----------
    system
        Real or complex; a diagonal one is taken as the dense one it stands for. NumPy arrays, or Torch on the CPU;
        arithmetic is in double precision, whatever comes.

    Returns
    -------
    diagonalization
        Complex128, of the array kind that came. Finite even if A is defective: then the condition tells.

    Raises
    ------
    NonFiniteError
        If a matrix holds NaN or infinity.
    """
    require_finite(system)
    xp = array_namespace(system.B)
    dense = on_host(without_descriptor(system)).to_dense()
    paired = all(np.isrealobj(matrix) for matrix in (dense.A, dense.B, dense.C, dense.D))
    modes = [_scaled(member, *_modes(member.A, paired)) for member in members(dense)]
    values, left, right = _stacked(modes, dense.batch_shape, dense.order)
    B, C = adjoint(left) @ dense.B, dense.C @ right
    values, left, right, B, C, D = (xp.asarray(np.array(array)) for array in (values, left, right, B, C, dense.D))
    condition = np.reshape([mode[-1] for mode in modes], dense.batch_shape)
    return Diagonalization(
        StateSpace(Diagonal(values, paired), B, C, D, dense.dt),
        left,
        right,
        condition if dense.batch_shape else float(condition),
    )


def _modes(A, paired):
    """Return the eigenvalues of the slots, left, right with biorthogonal columns, and the condition."""
    values, vectors = np.linalg.eig(A)  # the vectors have unit length
    order = np.lexsort((values.real, values.imag))
    values, vectors = values[order], vectors[:, order]
    if not paired:
        inverse, condition = _inverse(vectors)
        return values, adjoint(inverse), vectors, condition
    kept = values.imag >= 0
    values, right = values[kept], vectors[:, kept]
    pair = values.imag > 0
    # A real basis with the singular values of the complex one: x z + conj(x z) in terms of Re z and -Im z.
    basis = [np.sqrt(2) * right[:, pair].real, np.sqrt(2) * right[:, pair].imag, right[:, ~pair].real]
    inverse, condition = _inverse(np.hstack(basis))
    cosine, sine, single = np.split(inverse, np.cumsum([pair.sum()] * 2))
    left = np.empty(right.shape, dtype=complex)
    left[:, pair], left[:, ~pair] = (cosine + 1j * sine).T / np.sqrt(2), single.T
    return values, left, np.where(pair, right, right / 2), condition


def _inverse(X):
    """Return the inverse and the condition; singular values below rounding are lifted to it, which keeps all finite."""
    U, sigma, Vh = np.linalg.svd(X)
    floor = np.finfo(float).eps * sigma[0]
    condition = sigma[0] / sigma[-1] if sigma[-1] > 0 else np.inf
    if sigma[-1] > floor:
        return np.linalg.inv(X), condition
    return adjoint(Vh) / np.maximum(sigma, floor) @ adjoint(U), condition


def _scaled(system, values, left, right, condition):
    """Give each row of B and column of C the same length; a slot where one of them vanishes stays as it is."""
    row, column = np.linalg.norm(adjoint(left) @ system.B, axis=1), np.linalg.norm(system.C @ right, axis=0)
    alive = (row > 0) & (column > 0)
    scale = np.sqrt(np.where(alive, column, 1) / np.where(alive, row, 1))
    return values, left * scale, right / scale, condition


def _stacked(modes, batch_shape, order):
    slots = max((mode[0].size for mode in modes), default=order)
    values = np.zeros((*batch_shape, slots), dtype=complex)
    left, right = (np.zeros((*batch_shape, order, slots), dtype=complex) for _ in range(2))
    for index, (found, W, V, _) in zip(np.ndindex(batch_shape), modes, strict=True):
        values[index], values[(*index, slice(found.size))] = found[-1], found
        left[(*index, ..., slice(found.size))], right[(*index, ..., slice(found.size))] = W, V
    return values, left, right
