"""Between discrete and continuous time, with every gain and every Hankel singular value kept."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ssm_gramians import StateSpace

from ._host import dense_matrices

if TYPE_CHECKING:
    from ._arrays import Array


def to_continuous(system: StateSpace) -> StateSpace:
    r"""Substitute z = (1 + s) / (1 − s): A ← (A + I)⁻¹ (A − I), and both Gramians stay the same.

    Parameters
    ----------
    system
        One dense system in NumPy arrays; a continuous one stays itself. −1 must be no pole.
    """
    if not system.is_discrete:
        return system
    A, B, C, D = dense_matrices(system)
    eye = np.eye(A.shape[0])
    moved = np.linalg.solve(A + eye, np.concatenate([A - eye, np.sqrt(2) * B], axis=1))
    return _with_output(moved, A + eye, -1, C, D, 0.0)


def to_discrete(system: StateSpace, dt: float) -> StateSpace:
    r"""Substitute s = (z − 1) / (z + 1): A ← (I − A)⁻¹ (I + A), and both Gramians stay the same.

    Parameters
    ----------
    system
        One dense continuous system in NumPy arrays. 1 must be no pole.
    dt
        Of the result; 0 leaves the system as it is.
    """
    if not dt:
        return system
    A, B, C, D = dense_matrices(system)
    eye = np.eye(A.shape[0])
    moved = np.linalg.solve(eye - A, np.concatenate([eye + A, np.sqrt(2) * B], axis=1))
    return _with_output(moved, eye - A, 1, C, D, dt)


def _with_output(moved: Array, pencil: Array, sign: int, C: Array, D: Array, dt: float) -> StateSpace:
    """Complete the map of [A, B] by C ← √2 C M⁻¹ and D ← D ± C M⁻¹ B, M the pencil."""
    A, B = np.split(moved, [pencil.shape[0]], axis=1)
    return StateSpace(A, B, np.sqrt(2) * np.linalg.solve(pencil.T, C.T).T, D + sign * (C @ B) / np.sqrt(2), dt)
