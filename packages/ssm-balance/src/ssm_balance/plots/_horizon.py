"""How long a response is worth looking at."""

from __future__ import annotations

import numpy as np

from ssm_gramians import Diagonal, Sparse, StateSpace, UnsupportedError

from .._descriptor import without_descriptor
from .._host import dense_matrices, on_host

_LEVEL = 0.03  # of what the modes hold at first
_SPARSE_LIMIT = 3000


def settling_time(system: StateSpace) -> float:
    """t, in seconds, after which the modes of the impulse response hold 3 % of what they held at first.

    Growing modes count as if they decayed as fast.

    Parameters
    ----------
    system
        One system.
    """
    if isinstance(system.A, Sparse) and system.order > _SPARSE_LIMIT:
        msg = f"the modes of a sparse system of order {system.order} are too many; want horizon= in seconds"
        raise UnsupportedError(msg)
    poles, weights = _modes(on_host(system))
    rates = np.log(np.where(poles == 0, 1e-300, poles)) / system.dt if system.is_discrete else poles
    decay = np.abs(rates.real)
    decay = np.maximum(decay, 1e-6 * max(np.abs(rates).max(), 1e-300))
    times = np.geomspace(0.01 / decay.max(), 20 / decay.min(), 400)
    left = np.array([np.sum(weights * np.exp(-decay * t)) for t in times])
    settled = times[left <= _LEVEL * np.sum(weights)]
    return float(settled[0]) if settled.size else float(times[-1])


def _modes(system):
    """Return the poles, and how much of the response each carries at first."""
    if isinstance(system.A, Diagonal) and system.E is None:
        slots = np.asarray(system.A.eigenvalues, dtype=complex)
        return slots, np.linalg.norm(system.B, axis=1) * np.linalg.norm(system.C, axis=0)
    plain = without_descriptor(system.to_dense())
    A, B, C, _ = dense_matrices(plain)
    poles, vectors = np.linalg.eig(A)
    inputs = np.linalg.lstsq(vectors, B.astype(complex), rcond=None)[0]
    return poles, np.linalg.norm(inputs, axis=1) * np.linalg.norm(C @ vectors, axis=0)
