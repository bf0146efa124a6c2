"""The frequencies at which a gain crosses a level, from one Hamiltonian eigenvalue problem."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.linalg import eigvals, matrix_balance

from .._host import dense_matrices

if TYPE_CHECKING:
    from jaxtyping import Float

    from ._response import FrequencyResponse


class LevelCrossings:
    """The ω at which a singular value of G(jω) equals a level γ: a system with its Hamiltonian matrices H(γ).

    γ is a singular value of G(jω) exactly if jω is an eigenvalue of H(γ). Discrete systems are first taken to
    continuous time by a Cayley transform, z = z₀ (1 + s) / (1 − s), which keeps every gain; s = ∞ goes to −z₀, chosen
    far from all poles. An eigenvalue counts as imaginary, until the gain there is looked at, if it is within √eps ‖H‖
    of the axis, the most by which rounding moves a double one; H is balanced first, so that units do not matter.

    Parameters
    ----------
    response
        Of a system that is not sparse.
    """

    def __init__(self, response: FrequencyResponse):
        self._A, self._B, self._C, self._D = dense_matrices(response.system)
        self._dt, self._turn = response.system.dt, 0.0
        if response.system.is_discrete:
            self._to_continuous_time(response.poles)

    def frequencies(self, level: float) -> Float[np.ndarray, " k"]:
        """Return them in radians per second, ascending."""
        A, B, C, D = self._A, self._B, self._C, self._D
        p, m = D.shape
        S = np.linalg.inv(np.block([[level * np.eye(p), -D], [-D.conj().T, level * np.eye(m)]]))
        closed = A + B @ S[p:, :p] @ C
        H = np.block([[closed, B @ S[p:, p:] @ B.conj().T], [-C.conj().T @ S[:p, :p] @ C, -closed.conj().T]])
        H = matrix_balance(H, permute=False)[0]
        width = np.sqrt(np.finfo(float).eps) * np.linalg.norm(H, 1)
        eigenvalues = eigvals(H, check_finite=False)
        return self._in_radians(eigenvalues.imag[np.abs(eigenvalues.real) <= width])

    def candidates(self, level: float, band: tuple[float, float] | None) -> Float[np.ndarray, " k"]:
        """Return frequencies among which is one with a gain above the level, if there is one on the band at all.

        Between two neighbouring crossings the gain is above the level everywhere or nowhere.
        """
        crossings = self.frequencies(level)
        if band is None:
            border = np.pi / self._dt if self._dt else np.inf  # where the last interval and the first meet
            return np.concatenate([crossings, (crossings[1:] + crossings[:-1]) / 2, [border]])
        low, high = band
        points = np.concatenate([[low], crossings[(crossings > low) & (crossings < high)], [high]])
        return np.concatenate([points, (points[1:] + points[:-1]) / 2])

    def _to_continuous_time(self, poles):
        turns = np.arange(32) / 32
        distance = np.abs(np.exp(2j * np.pi * turns)[:, None] + poles).min(axis=1)
        distance[[0, 16]] *= 1e3  # z₀ = ±1 stays in real arithmetic, four times cheaper: worth three digits
        self._turn = turns[distance.argmax()]
        z0: Any = {0.0: 1.0, 0.5: -1.0}.get(self._turn, np.exp(2j * np.pi * self._turn))
        eye = np.eye(self._A.shape[0])
        inverse = np.linalg.inv(self._A + z0 * eye)
        self._D = self._D - self._C @ inverse @ self._B
        self._A = inverse @ (self._A - z0 * eye)
        self._B, self._C = np.sqrt(2) * inverse @ self._B, np.sqrt(2) * z0 * self._C @ inverse

    def _in_radians(self, w):
        if not self._dt:
            return np.sort(w)
        angles = 2 * np.pi * self._turn + 2 * np.arctan(w)
        return np.sort(np.pi - (np.pi - angles) % (2 * np.pi)) / self._dt  # in (−π, π]
