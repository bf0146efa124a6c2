"""Gains of one system at many frequencies."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.linalg import schur

from ssm_gramians import Diagonal, StateSpace

if TYPE_CHECKING:
    from collections.abc import Callable

    from jaxtyping import Complex, Float

_CHUNK = 1 << 20  # complex numbers in one temporary, 16 MiB


class FrequencyResponse:
    """σ_max(G(jω)), or σ_max(G(e^{jω dt})), of one system in NumPy arrays.

    A dense A is brought to Schur form once; after that a frequency costs O(n²), in matrix products.

    Parameters
    ----------
    system
        One system, not a batch.
    """

    def __init__(self, system: StateSpace):
        self.system = system
        self.poles: Complex[np.ndarray, " order"]
        self._evaluate: Callable
        if isinstance(system.A, Diagonal):
            self.poles, self._evaluate = system.poles(), system.transfer_function
        else:
            self._triangular, basis = schur(system.A, output="complex")
            self._B, self._C = basis.conj().T @ system.B, system.C @ basis
            self.poles, self._evaluate = np.diagonal(self._triangular), self._dense

    @property
    def is_real(self) -> bool:
        """Whether negative frequencies repeat the positive ones."""
        A, B, C, D = self.system.A, self.system.B, self.system.C, self.system.D
        if isinstance(A, Diagonal) and A.paired:
            return True
        return all(np.isrealobj(X) for X in (A.eigenvalues if isinstance(A, Diagonal) else A, B, C, D))

    def gains(self, frequencies: Float[np.ndarray, " k"]) -> Float[np.ndarray, " k"]:
        """Return the largest singular value at each frequency, in radians per second; infinity gives that of D."""
        system = self.system
        gains = np.full(frequencies.shape, np.linalg.norm(system.D, 2))
        finite = np.flatnonzero(np.isfinite(frequencies))
        size = max(1, _CHUNK // (max(system.inputs, 1) * max(system.order, system.outputs)))
        for start in range(0, finite.size, size):
            chunk = finite[start : start + size]
            points = 1j * frequencies[chunk]
            response = self._evaluate(np.exp(system.dt * points) if system.is_discrete else points)
            gains[chunk] = np.linalg.norm(response, 2, axis=(-2, -1))
        return gains

    def _dense(self, points):
        right = np.broadcast_to(self._B[:, None, :], (self._B.shape[0], points.size, self._B.shape[1]))
        states = _solve_shifted(self._triangular, points[:, None], right)  # (n, k, m)
        return self._C @ states.transpose(1, 0, 2) + self.system.D


def _solve_shifted(T, points, right):
    """(s I − T) X = R for all s at once: below the diagonal blocks of the recursion T is the same for all."""
    n = T.shape[0]
    if n == 1:
        return right / (points - T[0, 0])
    h = n // 2
    lower = _solve_shifted(T[h:, h:], points, right[h:])
    upper = _solve_shifted(T[:h, :h], points, right[:h] + np.tensordot(T[:h, h:], lower, 1))
    return np.concatenate([upper, lower])
