"""∫ |h| over short intervals, from both sides."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.linalg import expm

from ssm_gramians import StateSpace, gramian_factors

from .._host import dense_matrices

if TYPE_CHECKING:
    from jaxtyping import Float, Inexact

_DOUBLINGS = 5  # 32 intervals at once
_FINEST = 12  # halvings of the first step, which is a quarter of the fastest time constant


class Variation:
    """|∫ h| ≤ ∫ |h| ≤ (δ ∫ h²)^{1/2} on intervals of length δ; δ changes by factors of two.

    ∫ h = c Φ x and ∫ h² = ‖Zᴴ x‖² are exact, Φ the integral of e^{At} and Z a factor of the observability Gramian of
    the interval, one for each output.

    Parameters
    ----------
    system
        Dense and stable, continuous, in NumPy arrays.
    """

    def __init__(self, system: StateSpace):
        self._system = system
        self._first = 0.25 / np.abs(np.linalg.eigvals(dense_matrices(system)[0])).max()
        self._halvings = 0
        self._known: dict[int, tuple] = {}

    def finer(self) -> bool:
        """Halve δ, if it may become smaller still."""
        possible = self._halvings < _FINEST
        self._halvings += possible
        return possible

    def coarser(self) -> None:
        """Double δ."""
        self._halvings -= 1

    def advance(
        self, X: Inexact[np.ndarray, "n m"]
    ) -> tuple[Float[np.ndarray, " p"], Float[np.ndarray, " p"], Inexact[np.ndarray, "n m"]]:
        """Return Σ_j ∫ |h_ij| from below and from above over the next intervals, and the state after them."""
        if self._halvings not in self._known:
            self._known[self._halvings] = self._maps(self._first * 0.5**self._halvings)
        powers, integral, factors = self._known[self._halvings]
        states, inputs = X, X.shape[1]
        for power in powers[:-1]:
            states = np.concatenate([states, power @ states], axis=1)
        below = np.abs(integral @ states).sum(axis=1)
        above = np.array([np.linalg.norm(Zh @ states, axis=0).sum() for Zh in factors])
        return below, above, powers[-1] @ states[:, :inputs]

    def _maps(self, step):
        A, B, C, _ = dense_matrices(self._system)
        n = self._system.order
        joint = expm(step * np.block([[A, np.eye(n)], [np.zeros((n, 2 * n))]]))
        powers = [joint[:n, :n]]
        for _ in range(_DOUBLINGS):
            powers.append(powers[-1] @ powers[-1])
        rows = (StateSpace(A, B, C[i : i + 1]) for i in range(C.shape[0]))
        factors = [np.sqrt(step) * gramian_factors(row, horizon=step)[1].conj().T for row in rows]
        return powers, C @ joint[:n, n:], factors
