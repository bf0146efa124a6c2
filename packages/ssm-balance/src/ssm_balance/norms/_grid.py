"""Where to look for the peak of a gain."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ssm_gramians import Diagonal

if TYPE_CHECKING:
    from jaxtyping import Float

    from ._response import FrequencyResponse

_MANY = 2048  # poles; of more, these many: half the loudest, half spread evenly over all
_PER_DECADE = 8  # frequencies of a sparse system, each of them a factorisation
_DECADES = 16


def frequency_grid(response: FrequencyResponse) -> Float[np.ndarray, " k"]:
    """Return ascending frequencies: of all poles and between them; over the decades of a sparse system."""
    discrete, dt = response.system.is_discrete, response.system.dt
    if response.poles is None:
        found = _angles(dt) if discrete else _decades(response.system)
        found = np.unique(np.concatenate([found, np.abs(_resonances(response.minus_poles, discrete, dt))]))
        return found if response.is_real else np.unique(np.concatenate([-found, found]))
    poles = _thinned(response)
    if discrete:
        border = np.pi / dt
        found = np.concatenate([np.angle(poles) / dt, [0, border, -border]])
    else:
        found = np.concatenate([poles.imag, np.abs(poles), -np.abs(poles), [0]])
    found = np.unique(np.abs(found) if response.is_real else found)
    grid = np.sort(np.concatenate([found, (found[1:] + found[:-1]) / 2]))
    return grid if discrete else np.append(grid, np.inf)


def on_band(grid: Float[np.ndarray, " k"], low: float, high: float) -> Float[np.ndarray, " l"]:
    """Return the part of a grid that is on a band, with both ends and points between them."""
    inside = grid[(grid > low) & (grid < high)]
    first = low if np.isfinite(low) else high - max(abs(high), 1.0)
    last = high if np.isfinite(high) else low + max(abs(low), 1.0)
    return np.unique(np.concatenate([inside, np.linspace(first, last, 17), [low, high]]))


def _thinned(response):
    poles, system = response.poles, response.system
    if poles.size <= _MANY or not isinstance(system.A, Diagonal):
        return poles
    slots = system.A.eigenvalues
    distance = 1 - np.abs(slots) if system.is_discrete else -slots.real
    loudness = np.linalg.norm(system.B, axis=1) * np.linalg.norm(system.C, axis=0) / distance
    loudest = slots[np.argpartition(loudness, -_MANY // 2)[-_MANY // 2 :]]
    chosen = np.concatenate([loudest, loudest.conj()])
    spread = poles[np.argsort(np.angle(poles) if system.is_discrete else np.abs(poles))[:: 2 * poles.size // _MANY]]
    return np.concatenate([chosen, spread, poles[system.order :]])  # the last are of what is subtracted


def _resonances(poles, discrete, dt):
    return np.angle(poles) / dt if discrete else np.concatenate([poles.imag, np.abs(poles)])


def _angles(dt):
    near_zero = np.geomspace(1e-6, np.pi / 2, 6 * _PER_DECADE)
    return np.unique(np.concatenate([[0], near_zero, np.pi - near_zero, [np.pi]])) / dt


def _decades(system):
    """From 1/‖A⁻¹E‖, below every pole, to ‖E⁻¹A‖, above every pole: two factorisations and no eigenvalue problem."""
    from scipy.sparse.linalg import LinearOperator, onenormest, splu

    A = system.A.matrix
    E = None if system.E is None else getattr(system.E, "matrix", system.E)
    high = abs(A).sum(axis=0).max() if E is None else onenormest(_quotient(E, A, splu, LinearOperator))
    low = 1 / onenormest(_quotient(A, E, splu, LinearOperator))
    low = max(low, high * 10.0**-_DECADES)
    count = int(np.ceil(_PER_DECADE * np.log10(high / low))) + 2
    return np.concatenate([[0], np.geomspace(low, high, count), [np.inf]])


def _quotient(X, Y, splu, operator):
    """X⁻¹ Y as an operator; Y = I if None."""
    from scipy.sparse import csc_array

    factor, n = splu(csc_array(X)), X.shape[0]
    kind = np.result_type(X.dtype, X.dtype if Y is None else Y.dtype)

    def forward(v):
        return factor.solve(np.asarray(v if Y is None else Y @ v, dtype=X.dtype))

    def backward(v):
        solved = factor.solve(np.asarray(v, dtype=X.dtype), trans="H")
        return solved if Y is None else Y.conj().T @ solved

    return operator((n, n), matvec=forward, rmatvec=backward, matmat=forward, rmatmat=backward, dtype=kind)
