"""What is left of an impulse response."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ssm_gramians import StateSpace, gramian_factors

from .._host import dense_matrices

if TYPE_CHECKING:
    from jaxtyping import Inexact


class TailBound:
    """max_i Σ_j of the ℓ1 norm of c_i Aᵏ x_j, or c_i e^{At} x_j, from above: ‖Z_ρᴴ x_j‖ / √(1 − ρ²).

    By Cauchy and Schwarz with weights ρᵏ: Z_ρ is a factor of the observability Gramian of A/ρ, ρ halfway between the
    largest pole and 1. In continuous time of A + α I, 2α the distance of the poles from the axis, over √(2α).

    Parameters
    ----------
    system
        Dense and stable, in NumPy arrays.
    """

    def __init__(self, system: StateSpace):
        A = dense_matrices(system)[0]
        poles = np.linalg.eigvals(A)
        if system.is_discrete:
            rate = (1 + np.abs(poles).max()) / 2
            slowed, self._scale = A / rate, 1 / np.sqrt((1 - rate) * (1 + rate))
        else:
            rate = -poles.real.max() / 2
            slowed, self._scale = A + rate * np.eye(A.shape[0]), 1 / np.sqrt(2 * rate)
        self._Zh = gramian_factors(StateSpace(slowed, system.B, system.C, dt=system.dt))[1].conj().T

    def __call__(self, X: Inexact[np.ndarray, "n m"]) -> float:
        """Return the bound for the states x_j, the columns of X."""
        return float(np.linalg.norm(self._Zh @ X, axis=0).sum() * self._scale)
