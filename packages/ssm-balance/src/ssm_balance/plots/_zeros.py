"""Transmission zeros that can be told from rounding."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.linalg import eig

from ssm_gramians import StateSpace

from .._host import dense_matrices, on_host

if TYPE_CHECKING:
    from jaxtyping import Complex

_LIMIT = 400  # states
_SHARP = 1e-2  # of a zero, or of ‖A‖ / ‖E‖ if that is more: one that rounding moves farther is not known


def transmission_zeros(system: StateSpace) -> Complex[np.ndarray, " k"]:
    """Return the z where [A − zE, B; C, D] is singular, of a system with as many inputs as outputs.

    A system without feedthrough has zeros at infinity, and rounding brings them back as a ring of large ones. These are
    as sensitive as multiple eigenvalues are, and told apart by that.

    Parameters
    ----------
    system
        One system; none are returned if it is not square or has more than 400 states.
    """
    if system.inputs != system.outputs or system.order > _LIMIT:
        return np.zeros(0, complex)
    system = on_host(system)
    A, B, C, D = dense_matrices(system)
    E: Any = np.eye(A.shape[0]) if system.E is None else system.to_dense().E
    beta, gamma = (np.linalg.norm(A) / max(np.linalg.norm(X), np.finfo(float).tiny) for X in (B, C))
    M = np.block([[A, beta * B], [gamma * C, beta * gamma * D]])
    N = np.zeros_like(M)
    N[: A.shape[0], : A.shape[0]] = E
    values, left, right = eig(M, N, left=True, right=True)
    with np.errstate(all="ignore"):
        size = np.linalg.norm(A) / np.linalg.norm(E)
        slope = np.abs(np.sum(left.conj() * (N @ right), axis=0))
        noise = np.finfo(float).eps * (np.linalg.norm(M) + np.abs(values) * np.linalg.norm(N))
        noise = noise * np.linalg.norm(left, axis=0) * np.linalg.norm(right, axis=0)
        sharp = np.isfinite(values) & (noise <= _SHARP * np.maximum(np.abs(values), size) * slope)
    return values[sharp]
