"""What some methods ask for: weights, states, a feedthrough."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from ssm_gramians import StateSpace
from ssm_gramians.testing import as_numpy

from ..norms import hinf_bracket
from .systems import Kind, like, stable_system


def with_feedthrough(kind: Kind, dt: float) -> StateSpace:
    """Return a square system in which D outweighs the rest."""
    full = stable_system(kind, dt, inputs=2, outputs=2)
    gain = hinf_bracket(full.to_dense(), rtol=1e-3).upper
    return replace(full, D=3 * gain * np.eye(2))


def weight(system: StateSpace, channels: int) -> StateSpace:
    """Return a stable weight of as many inputs as outputs."""
    A = np.diag(np.linspace(0.3, 0.6, channels)) if system.dt else -np.diag(np.linspace(0.5, 1.0, channels))
    return StateSpace(A, np.eye(channels), np.eye(channels), 0.2 * np.eye(channels), system.dt)


def states(system: StateSpace) -> Any:
    """E x(k+1) = A x + B u for the same noise u, whatever the coordinates."""
    dense = like(system.to_dense(), as_numpy)
    E = np.eye(system.order) if dense.E is None else dense.E
    u = np.random.default_rng(5).standard_normal((4, 80, system.inputs))
    x = np.zeros((4, 81, system.order), dtype=dense.A.dtype)
    if system.batch_shape or not all(np.isfinite(M).all() for M in (dense.A, dense.B)):
        return x[:, 1:]  # will be refused
    step = 0.0 if system.dt else 0.1  # of the trapezoidal rule
    AB = np.concatenate([dense.A if system.dt else E + step * dense.A, dense.B], axis=1)
    AB = np.linalg.lstsq(E - step * dense.A, AB)[0].T
    for k in range(80):
        x[:, k + 1] = np.concatenate([x[:, k], u[:, k]], axis=1) @ AB
    return x[:, 1:]
