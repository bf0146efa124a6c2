"""Back to diagonal form, which is what layers store."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from ssm_gramians import Diagonal, StateSpace

from ._defective import separated
from ._descriptor import without_descriptor
from ._eigenmodes import Modes, member, modes_of, modes_of_batch
from ._errors import BalanceError, PrecisionError
from ._host import from_numpy, members, on_host
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
        Real or complex; a diagonal one is taken as the dense one it stands for. Arithmetic is in NumPy, without
        gradients and in double precision, whatever comes.
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
    dense = on_host(without_descriptor(system)).to_dense()
    paired = all(np.isrealobj(matrix) for matrix in (dense.A, dense.B, dense.C, dense.D))
    groups = modes_of_batch(dense, paired=paired)
    if tolerance is not None:
        groups = _all_stored(groups, list(members(dense)), paired, tolerance)
    values, left, right, B, C, condition, error = _stacked(groups, dense)
    values, left, right, B, C, D = (from_numpy(part, system.B) for part in (values, left, right, B, C, dense.D))
    condition, error = (measure if dense.batch_shape else measure.item() for measure in (condition, error))
    diagonal = StateSpace(Diagonal(values, paired), B, C, D, dense.dt)
    return Diagonalization(diagonal, left, right, condition, None if tolerance is None else error)


def _check(system, tolerance):
    require_finite(system)
    if tolerance is None:
        return
    if not tolerance > 0:
        msg = f"tolerance is {tolerance}; want a positive relative error such as 1e-5, or None"
        raise BalanceError(msg)
    require_stable(system)


def _all_stored(groups, systems, paired, tolerance):
    """Return each member as a group of its own, with modes that survive rounding."""
    stored = []
    for chosen, modes in groups:
        for place, k in enumerate(chosen):
            storage = SinglePrecision(systems[k], paired=paired)
            found = _stored(storage, member(modes, place), tolerance)
            alone = {name: np.asarray(part)[None] for name, part in vars(found).items()}
            stored.append((chosen[place : place + 1], Modes(**alone)))
    return stored


def _stored(storage, found, tolerance):
    """Return modes that survive rounding, of the system itself or of one with clusters moved apart."""
    error = storage.rounded_error(found)
    if error <= tolerance:
        return replace(found, error=error)
    best, system = replace(found, error=error), storage.system
    for spacing in SPACINGS:
        A = separated(system.A, spacing, discrete=system.is_discrete) if spacing else system.A
        moved = modes_of(A, system, paired=storage.paired)
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


def _stacked(groups, system):
    """Return the parts of all members, those with fewer slots filled with dead ones."""
    batch, order = system.batch_shape, system.order
    slots = max((modes.values.shape[-1] for _, modes in groups), default=order)
    shapes = {
        "values": (slots,),
        "left": (order, slots),
        "right": (order, slots),
        "B": (slots, system.inputs),
        "C": (system.outputs, slots),
    }
    stacked = {name: np.zeros((math.prod(batch), *shape), dtype=complex) for name, shape in shapes.items()}
    stacked |= {name: np.empty(math.prod(batch)) for name in ("condition", "error")}
    for chosen, modes in groups:
        size = modes.values.shape[-1]
        stacked["values"][chosen, size:] = modes.values[:, -1:]
        stacked["B"][chosen, :size] = modes.B
        for name in ("values", "left", "right", "C"):
            stacked[name][chosen, ..., :size] = getattr(modes, name)
        stacked["condition"][chosen], stacked["error"][chosen] = modes.condition, modes.error
    return (np.reshape(array, (*batch, *array.shape[1:])) for array in stacked.values())
