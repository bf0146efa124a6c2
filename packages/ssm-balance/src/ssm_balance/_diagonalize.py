"""Back to diagonal form, which is what layers store."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from array_api_compat import array_namespace

from ssm_gramians import Diagonal, StateSpace

from ._arrays import adjoint
from ._defective import separated
from ._descriptor import without_descriptor
from ._errors import BalanceError, PrecisionError
from ._host import members, on_host
from ._single_precision import SPACINGS, SinglePrecision
from ._stability import require_finite, require_stable

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
    error
        ‖G − Ĝ‖_∞ / ‖G‖_∞ with Ĝ the map of the parameters in float32; None if no tolerance was given.
    """

    system: StateSpace
    left: Complex[Array, "*batch n slots"]
    right: Complex[Array, "*batch n slots"]
    condition: float | Float[np.ndarray, "*batch"]
    error: float | Float[np.ndarray, "*batch"] | None = None


def diagonalize(system: StateSpace, *, tolerance: float | None = None) -> Diagonalization:
    r"""Write A = X Λ X⁻¹, with X scaled so that each row of B is as long as its column of C.

    A real system becomes a paired one: a conjugate pair takes one slot, that of Im λ > 0; a real pole takes one slot,
    real throughout. Orders may be odd. Slots are sorted by Im λ, then Re λ. In a batch whose members differ in their
    number of slots the shorter are filled with dead ones: a copy of the last eigenvalue, and zeros in B and C.

    With a tolerance the map survives storage in float32: C, B and λ, which is stored as log λ in discrete time. Where
    eigenvectors are too nearly parallel for that, the poles of each such cluster are moved apart, as far as balances
    the change of the map against the digits that cancel; B and C are then fitted to the map again, in H2, with what is
    already rounded held fixed. A real double pole becomes a conjugate pair, one slot, in which nothing cancels. Then
    left and right are those of the system with moved poles, near it but not the same.

    Parameters
    ----------
    system
        Real or complex; a diagonal one is taken as the dense one it stands for. NumPy arrays, or Torch on the CPU;
        arithmetic is in double precision, whatever comes.
    tolerance
        The largest relative H∞ error of the map in float32 parameters, such as 1e-5; the system must then be stable.
        If None, no error is looked at and nothing is moved.

    Returns
    -------
    diagonalization
        Complex128, of the array kind that came. Finite even if A is defective: then the condition tells.

    Raises
    ------
    NonFiniteError
        If a matrix holds NaN or infinity.
    BalanceError
        If the tolerance is not positive.
    PrecisionError
        If parameters in float32 cannot reproduce the map to the tolerance.
    InstabilityError
        If there is a tolerance and the system is unstable.
    """
    _check(system, tolerance)
    xp = array_namespace(system.B)
    dense = on_host(without_descriptor(system)).to_dense()
    paired = all(np.isrealobj(matrix) for matrix in (dense.A, dense.B, dense.C, dense.D))
    modes = [_scaled(member, *_modes(member.A, paired)) for member in members(dense)]
    if tolerance is not None:
        storage = (SinglePrecision(member, paired=paired) for member in members(dense))
        modes = [_stored(store, found, tolerance) for store, found in zip(storage, modes, strict=True)]
    values, left, right, B, C = _stacked(modes, dense)
    values, left, right, B, C, D = (xp.asarray(np.array(array)) for array in (values, left, right, B, C, dense.D))
    measures = (
        np.reshape([getattr(mode, name) for mode in modes], dense.batch_shape) for name in ("condition", "error")
    )
    condition, error = (measure if dense.batch_shape else measure.item() for measure in measures)
    diagonal = StateSpace(Diagonal(values, paired), B, C, D, dense.dt)
    return Diagonalization(diagonal, left, right, condition, None if tolerance is None else error)


@dataclass(frozen=True, eq=False)
class Modes:
    """The slots of one system, as `Diagonalization` has them for a batch."""

    values: Complex[np.ndarray, " slots"]
    left: Complex[np.ndarray, "n slots"]
    right: Complex[np.ndarray, "n slots"]
    condition: float
    B: Complex[np.ndarray, "slots m"]
    C: Complex[np.ndarray, "p slots"]
    error: float = np.nan


def _check(system, tolerance):
    require_finite(system)
    if tolerance is None:
        return
    if not tolerance > 0:
        msg = f"tolerance is {tolerance}; want a positive relative error such as 1e-5, or None"
        raise BalanceError(msg)
    require_stable(system)


def _stored(storage, found, tolerance):
    """Return modes that survive rounding, of the system itself or of one with clusters moved apart."""
    error = storage.rounded_error(found)
    if error <= tolerance:
        return replace(found, error=error)
    best, system = replace(found, error=error), storage.system
    for spacing in SPACINGS:
        A = separated(system.A, spacing, discrete=system.is_discrete) if spacing else system.A
        moved = _scaled(system, *_modes(A, storage.paired))
        fit = storage.fitted(moved.values, moved.B)
        if fit.error < best.error:
            best = _with_parameters(moved, fit, storage)
        if best.error <= tolerance:
            return best
    raise PrecisionError(storage.refusal(best.error, tolerance, found.condition), best.error)


def _with_parameters(modes, fit, storage):
    """Carry the scaling of rows of B over to the bases: it is known up to a factor for each slot."""
    B, norm = fit.model.B, np.linalg.norm(modes.B, axis=1) ** 2
    factor = np.sum(B * modes.B.conj(), axis=1) / np.where(norm > 0, norm, 1)
    factor = np.where((norm > 0) & (factor != 0), factor, 1)
    left, right = modes.left * factor.conj(), modes.right / factor
    C = storage.slot_outputs(fit.model)
    return Modes(fit.model.poles, left, right, modes.condition, B, C, fit.error)


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
    left, right = left * scale, right / scale
    return Modes(values, left, right, condition, adjoint(left) @ system.B, system.C @ right)


def _stacked(modes, system):
    """Return values, left, right, B, C of all members, the shorter ones filled with dead slots."""
    batch, order = system.batch_shape, system.order
    slots = max((mode.values.size for mode in modes), default=order)
    shapes = {"values": (), "left": (order,), "right": (order,), "B": (), "C": (system.outputs,)}
    stacked = {name: np.zeros((*batch, *shape, slots), dtype=complex) for name, shape in shapes.items()}
    stacked["B"] = np.zeros((*batch, slots, system.inputs), dtype=complex)
    for index, mode in zip(np.ndindex(batch), modes, strict=True):
        size = mode.values.size
        stacked["values"][index] = mode.values[-1]
        stacked["values"][(*index, slice(size))] = mode.values
        stacked["B"][(*index, slice(size))] = mode.B
        for name in ("left", "right", "C"):
            stacked[name][(*index, ..., slice(size))] = getattr(mode, name)
    return stacked.values()
