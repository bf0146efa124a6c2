"""Small systems of every kind to reduce, and others with the same map."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from scipy import sparse

from ssm_gramians import Diagonal, StateSpace

from .._arrays import Array

if TYPE_CHECKING:
    from jaxtyping import Complex

Kind = Literal["dense", "complex", "diagonal", "paired", "sparse"]
KINDS: tuple[Kind, ...] = ("dense", "complex", "diagonal", "paired", "sparse")
DT = 0.5  # seconds, of discrete time


def stable_system(
    kind: Kind = "dense", dt: float = 0.0, *, order: int = 6, inputs: int = 2, outputs: int = 3, seed: int = 0
) -> StateSpace:
    """Return a random system whose Hankel singular values all count: each pole has its own place and decay.

    Parameters
    ----------
    kind
        "dense" and "sparse" are real; "complex" is dense; a "paired" one has order // 2 slots.
    dt
        0 for continuous time.
    order, inputs, outputs
        The sizes.
    seed
        Of the random numbers.
    """
    rng = np.random.default_rng(seed)
    real = kind in ("dense", "sparse")

    def normal(*shape: int) -> Array:
        X = rng.standard_normal(shape)
        return X if real else X + 1j * rng.standard_normal(shape)

    A: Any
    states = order // 2 if kind == "paired" else order
    D = rng.standard_normal((outputs, inputs)) + (0 if real or kind == "paired" else 1j)
    if kind in ("diagonal", "paired"):
        A = Diagonal(_poles(states, dt, pairs=False), paired=kind == "paired")
    else:
        T = np.eye(states) + 0.3 * normal(states, states)
        A = np.linalg.solve(T, _core(states, dt, real=real) @ T)
    A = sparse.csc_array(A) if kind == "sparse" else A
    return StateSpace(A, normal(states, inputs), normal(outputs, states), D, dt)


def like(system: StateSpace, convert: Callable[[Array], Array]) -> StateSpace:
    """Return the system with every array replaced by convert(array)."""

    def mapped(matrix):
        return matrix.map(convert) if hasattr(matrix, "map") else None if matrix is None else convert(matrix)

    A, B, C, D, E = (mapped(getattr(system, name)) for name in "ABCDE")
    return StateSpace(A, B, C, D, system.dt, E)


def transformed(system: StateSpace, seed: int = 1) -> StateSpace:
    """Return the same map of a dense system in other coordinates, T A T⁻¹."""
    n = system.order
    T = np.eye(n) + 0.4 * np.random.default_rng(seed).standard_normal((n, n)) / np.sqrt(n)
    back = np.linalg.inv(T)
    return replace(system, A=T @ system.A @ back, B=T @ system.B, C=system.C @ back)


def relative(system: StateSpace) -> StateSpace:
    """Return another system that every method takes if it takes this one: half of it, in other coordinates."""
    other = transformed(system)
    return replace(other, B=other.B / 2, D=other.D / 2)


def points(dt: float, count: int = 30) -> Complex[np.ndarray, " count"]:
    """Return points on the imaginary axis, or on the unit circle."""
    angles = np.linspace(-0.99 * np.pi, 0.99 * np.pi, count)
    return np.exp(1j * angles) if dt else 1j * np.tan(angles / 2)


def _core(states, dt, *, real):
    """Return A with the poles: blocks [[a, w], [-w, a]] where it is real."""
    if not real:
        return np.diag(_poles(states, dt, pairs=False))
    A = np.zeros((states, states))
    for row, pole in zip(range(0, states - 1, 2), _poles(states // 2, dt, pairs=True), strict=True):
        A[row : row + 2, row : row + 2] = [[pole.real, pole.imag], [-pole.imag, pole.real]]
    if states % 2:
        A[-1, -1] = 0.55 if dt else -0.6
    return A


def _poles(count, dt, *, pairs):
    decay = np.linspace(0.1, 0.6, count)
    turn = np.linspace(0.3, 2.5, count) * (1 if pairs else (-1.0) ** np.arange(count))
    return np.exp(-decay + 1j * turn) if dt else -decay + 1j * turn
