"""What rounding A may do to the map."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import sparse

from ssm_gramians import Diagonal, Sparse, StateSpace

from ._host import dense_matrices

if TYPE_CHECKING:
    from jaxtyping import Complex


_ROUNDINGS = 16  # of A on the way: in the factors, the projection, and the responses of both systems


def rounding_level(full: StateSpace, reduced: StateSpace, frequency: float, scale: float) -> float:
    """(n · scale + 16 s) eps, s the larger sensitivity: how much of an error at this frequency means nothing."""
    larger = max(sensitivity(full, frequency), sensitivity(reduced, frequency))
    return float(np.finfo(float).eps * (full.order * scale + _ROUNDINGS * larger))


def sensitivity(system: StateSpace, frequency: float) -> float:
    """‖A‖_F ‖C R‖ ‖R B‖ with R = (sE − A)⁻¹: relative changes of A by ε change G(s) by at most ε times this.

    Of a diagonal A each eigenvalue has its own relative change: ‖|C| |R| |A| |R| |B|‖. Zero at infinity.
    """
    if not np.isfinite(frequency):
        return 0.0
    point = np.exp(1j * frequency * system.dt) if system.is_discrete else 1j * frequency
    if isinstance(system.A, Diagonal):
        poles = system.A.eigenvalues
        change = (1 + system.A.paired) * np.abs(poles) / np.abs(point - poles) ** 2  # of either slot of a pair
        return float(np.linalg.norm((np.abs(system.C) * change) @ np.abs(system.B), 2))
    reached, seen = _resolvents(system, point)
    A: Any = system.A
    size = sparse.linalg.norm(A.matrix) if isinstance(A, Sparse) else np.linalg.norm(dense_matrices(system)[0])
    return float(size * np.linalg.norm(seen, 2) * np.linalg.norm(reached, 2))


def _resolvents(system: StateSpace, point: complex) -> tuple[Complex[np.ndarray, "n m"], Complex[np.ndarray, "n p"]]:
    """(sE − A)⁻¹ B and (sE − A)⁻ᴴ Cᴴ."""
    A: Any = getattr(system.A, "matrix", system.A)
    E: Any = getattr(system.E, "matrix", system.E)
    if isinstance(system.A, Sparse):
        held = sparse.eye_array(system.order) if E is None else E
        factor = sparse.linalg.splu(sparse.csc_array(point * held - A))
        return factor.solve(system.B + 0j), factor.solve(system.C.conj().T + 0j, trans="H")
    A, B, C, _ = dense_matrices(system)
    E = np.eye(system.order) if E is None else system.to_dense().E
    pencil = point * E - A
    return np.linalg.solve(pencil, B), np.linalg.solve(pencil.conj().T, C.conj().T)
