"""The H2 norm of a diagonal system of which the Gramian would not fit into memory."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from ssm_gramians import Diagonal, StateSpace

_CHUNK = 1 << 20  # complex numbers in one temporary, 16 MiB


def modal_h2_norm(system: StateSpace, A: Diagonal) -> float:
    """‖G‖₂² = Σ_ij (B Bᴴ)_ij (Cᴴ C)_ji / m_ij with m = −(λ_i + λ̄_j) or 1 − λ_i λ̄_j, row by row; and ‖D‖².

    The terms of an error system cancel: it is right to √eps times the H2 norm of the full system, absolutely.

    Parameters
    ----------
    system
        One stable diagonal system in NumPy arrays, not paired.
    A
        Its A.
    """
    poles, B, C = A.eigenvalues, system.B, system.C
    energy, size = 0.0, max(1, _CHUNK // poles.size)
    for start in range(0, poles.size, size):
        rows = slice(start, start + size)
        own = poles[rows, None]
        margin = 1 - own * poles.conj() if system.is_discrete else -(own + poles.conj())
        energy += float(np.real(np.sum((B[rows] @ B.conj().T) * (C[:, rows].T @ C.conj()) / margin)))
    direct = float(np.linalg.norm(system.D))
    if direct and not system.is_discrete:
        return np.inf
    return float(np.hypot(np.sqrt(max(energy, 0.0)), direct))
