"""Equations whose answers are known by construction."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np

from .._arrays import Array
from .._equations import Equation, Lyapunov, Stein, Sylvester
from .._structure import Diagonal


@dataclass(frozen=True, eq=False)
class Problem:
    """An equation in NumPy arrays with its answer.

    Parameters
    ----------
    name
        What is hard about it.
    equation
        With NumPy arrays, in double precision.
    answer
        X.
    condition
        The error of a backward-stable solve in units of eps, an upper estimate.
    stable
        Whether A is stable: iterative solvers may refuse the others.
    """

    name: str
    equation: Equation
    answer: Any
    condition: float = 1e3
    stable: bool = True

    def on(self, asarray: Callable[[Array], Array]) -> Equation:
        """Return the equation with its arrays made by `asarray`."""
        return convert(self.equation, asarray)


def convert(equation: Equation, asarray: Callable[[Array], Array]) -> Equation:
    """Return the equation with every array replaced by `asarray(array)`."""

    def move(M: Any) -> Any:
        return Diagonal(asarray(M.eigenvalues), M.paired) if isinstance(M, Diagonal) else asarray(M)

    moved = {field.name: move(getattr(equation, field.name)) for field in fields(equation)}
    return type(equation)(**moved)


def problems() -> tuple[Problem, ...]:
    """Return the problem set, small enough that the O(n^6) oracle solves all of it."""
    rng = np.random.default_rng(7)

    def normal(*shape: int) -> Any:
        return rng.standard_normal(shape)

    def complex_normal(*shape: int) -> Any:
        return normal(*shape) + 1j * normal(*shape)

    rotation = 0.9 * np.array([[np.cos(1.0), -np.sin(1.0)], [np.sin(1.0), np.cos(1.0)]])
    jordan = 0.5 * np.eye(4) + np.eye(4, k=1)
    real, cplx = normal(5, 5), complex_normal(4, 4)
    real, cplx = real / (1.2 * np.linalg.norm(real, 2)), cplx / (1.2 * np.linalg.norm(cplx, 2))
    growing = np.array([[0.5, 9.0], [0.0, 1.5]])
    stable = {
        "one real state": (np.array([[0.3]]), normal(1, 1)),
        "one complex state": (np.array([[0.3 + 0.6j]]), complex_normal(1, 1)),
        "a real pair of modes": (rotation, normal(2, 2)),
        "a general real matrix": (real, normal(5, 5)),
        "a general complex matrix": (cplx, complex_normal(4, 4)),
        "a real matrix with a complex right-hand side": (real, complex_normal(5, 5)),
        "a complex matrix with a real right-hand side": (cplx, None),
        "a defective matrix": (jordan, normal(4, 4)),
        "real modes": (Diagonal(np.array([0.9, -0.5, 0.1])), normal(3, 3)),
        "complex modes": (Diagonal(0.9 * np.exp(1j * np.arange(1.0, 4.0))), complex_normal(3, 3)),
        "paired modes": (Diagonal(np.array([0.9, 0.8, 0.95]) * np.exp(1j * np.arange(0.0, 3.0)), True), normal(6, 6)),
    }
    found = []
    for name, (A, X) in stable.items():
        drift = _shifted(A)
        if X is None:
            found += [_with_right_side(Stein(A, np.eye(4)), name), _with_right_side(Lyapunov(drift, np.eye(4)), name)]
            continue
        condition = 1e5 if "defective" in name else 1e3
        found.append(_with_answer(Stein(A, np.zeros_like(X)), X, name, condition))
        found.append(_with_answer(Lyapunov(drift, np.zeros_like(X)), X, name, condition))
    found.append(_with_answer(Stein(growing, np.zeros((2, 2))), normal(2, 2), "an unstable matrix", 1e4, stable=False))
    found.append(
        _with_answer(Lyapunov(growing, np.zeros((2, 2))), normal(2, 2), "an unstable matrix", 1e4, stable=False)
    )
    near = -(1 - 1e-12)  # the bilinear map turns it into a pole at -2e12
    edge = np.array([[1 / ((1 - near) * (1 + near)), 0.0], [0.0, 4 / 3]])
    found.append(Problem("a mode next to -1", Stein(np.diag([near, 0.5]), np.eye(2)), edge, 1e13))
    for name, (n, m) in {"a wide unknown": (2, 5), "a tall unknown": (5, 3), "one unknown": (1, 1)}.items():
        A, B = 3 * np.eye(n) + normal(n, n) / 4, 3 * np.eye(m) + normal(m, m) / 4
        found.append(_with_answer(Sylvester(A, B, np.zeros((n, m))), normal(n, m), name))
        found.append(
            _with_answer(Sylvester(A + 1j * A.T, B, np.zeros((n, m))), complex_normal(n, m), f"{name}, complex")
        )
    return tuple(found)


def _shifted(A: Any) -> Any:
    """Return A - 2 I: stable in continuous time if A is in discrete time."""
    return Diagonal(A.eigenvalues - 2, A.paired) if isinstance(A, Diagonal) else A - 2 * np.eye(A.shape[-1])


def _with_answer(equation: Equation, X: Any, name: str, condition: float = 1e3, *, stable: bool = True) -> Problem:
    """Choose Q so that X solves the equation."""
    left, right, _ = equation.terms(X)
    return Problem(name, replace(equation, Q=-(left + right)), X, condition, stable)


def _with_right_side(equation: Equation, name: str) -> Problem:
    """Take the answer from the series or the integral, by diagonalisation."""
    values, V = np.linalg.eig(np.asarray(equation.A))
    W = np.linalg.inv(V)
    product = values[:, None] * values.conj()[None, :]
    weights = 1 / (1 - product) if isinstance(equation, Stein) else -1 / (values[:, None] + values.conj()[None, :])
    return Problem(name, equation, V @ ((W @ equation.Q @ W.conj().T) * weights) @ V.conj().T, 1e4)
