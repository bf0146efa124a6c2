"""Gains of one system at many frequencies."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from scipy.linalg import schur

from ssm_gramians import Diagonal, Sparse, StateSpace

from .._descriptor import without_descriptor
from .._host import dense_matrices, on_host

if TYPE_CHECKING:
    from collections.abc import Callable

    from jaxtyping import Complex, Float

_CHUNK = 1 << 20  # complex numbers in one temporary, 16 MiB
_FEW = 24  # a Schur form costs as much as so many factorisations of s I − A
_WORST_CONDITION = 1e6  # of eigenvectors: the gain near a peak then has the eight digits that a search can use


class FrequencyResponse:
    """σ_max(G(jω)), or σ_max(G(e^{jω dt})), of one system, less another one if there is one to subtract.

    Parameters
    ----------
    system
        One system, not a batch. Of a sparse A the poles stay unknown, and every frequency is a sparse factorisation.
    minus
        A system of the same shape, subtracted response by response: no error system is formed.
    """

    def __init__(self, system: StateSpace, minus: StateSpace | None = None):
        self.is_sparse = isinstance(system.A, Sparse)
        if not self.is_sparse and (not isinstance(system.A, Diagonal) or isinstance(system.E, Sparse)):
            system = system.to_dense()
        self.system = on_host(system if self.is_sparse else without_descriptor(system))
        self._minus = None if minus is None else FrequencyResponse(minus)

    @cached_property
    def poles(self) -> Complex[np.ndarray, " poles"] | None:
        """Those of both systems; None if they are unknown."""
        if self.is_sparse:
            return None
        own = self.system.poles() if isinstance(self.system.A, Diagonal) else self._eigen[0]
        return np.concatenate([own, self.minus_poles])

    @property
    def minus_poles(self) -> Complex[np.ndarray, " poles"]:
        """Those of what is subtracted."""
        poles = None if self._minus is None else self._minus.poles
        return np.zeros(0, complex) if poles is None else poles

    @property
    def is_real(self) -> bool:
        """Whether negative frequencies repeat the positive ones."""
        A, B, C, D = self.system.A, self.system.B, self.system.C, self.system.D
        if self._minus is not None and not self._minus.is_real:
            return False
        if isinstance(A, Diagonal) and A.paired:
            return True
        return not any(np.issubdtype(X.dtype, np.complexfloating) for X in (A, B, C, D))

    def gains(self, frequencies: Float[np.ndarray, " k"]) -> Float[np.ndarray, " k"]:
        """Return the largest singular value at each frequency, in radians per second; infinity gives that of D."""
        return self._norms(frequencies, FrequencyResponse._accurate)

    def quick_gains(self, frequencies: Float[np.ndarray, " k"]) -> Float[np.ndarray, " k"]:
        """Return the gains by partial fractions, to about eight digits, where the eigenvectors allow it."""
        return self._norms(frequencies, FrequencyResponse._quick)

    def responses(self, frequencies: Float[np.ndarray, " k"]) -> Complex[np.ndarray, "k p m"]:
        """Return G itself at each finite frequency, without what is subtracted."""
        points = 1j * frequencies
        return self._accurate(np.exp(self.system.dt * points) if self.system.is_discrete else points)

    def _norms(self, frequencies: Float[np.ndarray, " k"], method: Callable) -> Float[np.ndarray, " k"]:
        system = self.system
        D = system.D if self._minus is None else system.D - self._minus.system.D
        gains = np.full(frequencies.shape, np.linalg.norm(D, 2))
        finite = np.flatnonzero(np.isfinite(frequencies))
        size = max(1, _CHUNK // (max(system.inputs, 1) * max(system.order, system.outputs)))
        for start in range(0, finite.size, size):
            chunk = finite[start : start + size]
            points = 1j * frequencies[chunk]
            points = np.exp(system.dt * points) if system.is_discrete else points
            response = method(self, points)
            if self._minus is not None:
                response = response - method(self._minus, points)
            gains[chunk] = largest_gains(response)
        return gains

    def _accurate(self, points):
        system = self.system
        if isinstance(system.A, Diagonal | Sparse):
            return system.transfer_function(points)
        if points.size <= _FEW and "_schur" not in self.__dict__:
            pencil = points[:, None, None] * np.eye(system.order) - system.A
            return system.C @ np.linalg.solve(pencil, system.B) + system.D
        triangular, B, C = self._schur
        right = np.broadcast_to(B[:, None, :], (B.shape[0], points.size, B.shape[1]))
        states = _solve_shifted(triangular, points[:, None], right)  # (n, k, m)
        return C @ states.transpose(1, 0, 2) + system.D

    def _quick(self, points):
        if isinstance(self.system.A, Diagonal | Sparse) or self._modes is None:
            return self._accurate(points)
        poles, B, C = self._modes
        return (C * (1 / (points[:, None] - poles))[:, None, :]) @ B + self.system.D

    @cached_property
    def _schur(self):
        triangular, basis = schur(self.system.A, output="complex")
        return triangular, basis.conj().T @ self.system.B, self.system.C @ basis

    @cached_property
    def _eigen(self):
        return np.linalg.eig(dense_matrices(self.system)[0])

    @cached_property
    def _modes(self):
        """Λ, V⁻¹B and CV, if V is well enough conditioned."""
        poles, vectors = self._eigen
        try:
            inverse = np.linalg.inv(vectors)
        except np.linalg.LinAlgError:
            return None
        if np.linalg.norm(vectors, 1) * np.linalg.norm(inverse, 1) > _WORST_CONDITION:
            return None
        return poles, inverse @ self.system.B, self.system.C @ vectors


def largest_gains(response: Complex[np.ndarray, "k p m"]) -> Float[np.ndarray, " k"]:
    """Return the largest singular value of each matrix."""
    if 1 in response.shape[-2:]:
        return np.linalg.norm(response, axis=(-2, -1))
    return np.linalg.norm(response, 2, axis=(-2, -1))


def _solve_shifted(T, points, right):
    """(s I − T) X = R for all s at once: below the diagonal blocks of the recursion T is the same for all."""
    n = T.shape[0]
    if n == 1:
        return right / (points - T[0, 0])
    h = n // 2
    lower = _solve_shifted(T[h:, h:], points, right[h:])
    upper = _solve_shifted(T[:h, :h], points, right[:h] + np.tensordot(T[:h, h:], lower, 1))
    return np.concatenate([upper, lower])
