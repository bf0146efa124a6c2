"""Dense right-hand sides, E = I: most are made by choosing X and computing Q."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from .._diagonal import Diagonal
from .._equations import Equation, Lyapunov, Stein, Sylvester
from .._structure import map_arrays
from .problems import Problem


class Draw:
    """Seeded random matrices."""

    def __init__(self, seed: int) -> None:
        self._rng = np.random.default_rng(seed)

    def real(self, *shape: int) -> Any:
        """Return normal entries."""
        return self._rng.standard_normal(shape)

    def complex(self, *shape: int) -> Any:
        """Return complex normal entries."""
        return self.real(*shape) + 1j * self.real(*shape)


def stable_matrices(draw: Draw) -> dict[str, Any]:
    """Return matrices with all eigenvalues inside the unit circle, by what is hard about them."""
    rotation = 0.9 * np.array([[np.cos(1.0), -np.sin(1.0)], [np.sin(1.0), np.cos(1.0)]])
    real, cplx = draw.real(5, 5), draw.complex(4, 4)
    return {
        "one real state": np.array([[0.3]]),
        "one complex state": np.array([[0.3 + 0.6j]]),
        "a real pair of modes": rotation,
        "a general real matrix": real / (1.2 * np.linalg.norm(real, 2)),
        "a general complex matrix": cplx / (1.2 * np.linalg.norm(cplx, 2)),
        "a defective matrix": 0.5 * np.eye(4) + np.eye(4, k=1),
        "a triangular matrix": np.triu(draw.real(4, 4), 1) + np.diag([0.9, 0.5, -0.2, 0.1]),
        "real modes": Diagonal(np.array([0.9, -0.5, 0.1])),
        "complex modes": Diagonal(0.9 * np.exp(1j * np.arange(1.0, 4.0))),
        "paired modes": Diagonal(np.array([0.9, 0.8, 0.95]) * np.exp(1j * np.arange(0.0, 3.0)), paired=True),
        "modes by their logarithms": Diagonal.from_log(np.array([-1e-3, -0.2, -3.0]) + 1j * np.arange(3.0)),
    }


def dense_problems() -> Iterator[Problem]:
    """Yield Lyapunov, Stein and Sylvester equations."""
    draw = Draw(7)
    for name, A in stable_matrices(draw).items():
        X = (draw.complex if np.iscomplexobj(np.zeros(1, A.dtype)) else draw.real)(*A.shape)
        condition = 1e5 if "defective" in name else 1e3
        yield with_answer(Stein(A, 0 * X), X, name, condition)
        yield with_answer(Lyapunov(shifted(A), 0 * X), X, name, condition)
        if name == "a general real matrix":
            X = draw.complex(*A.shape)
            yield with_answer(Stein(A, 0 * X), X, "a real matrix with a complex right-hand side")
            yield with_answer(Lyapunov(shifted(A), 0 * X), X, "a real matrix with a complex right-hand side")
        if name == "a general complex matrix":
            for equation in (Stein(A, np.eye(4)), Lyapunov(shifted(A), np.eye(4))):
                name = "a complex matrix with a real right-hand side"
                yield Problem(name, equation, by_diagonalisation(equation, np.eye(4)), 1e4)
    yield from _edges(draw)
    yield from _sylvesters(draw)


def _edges(draw: Draw) -> Iterator[Problem]:
    growing, zero = np.array([[0.5, 9.0], [0.0, 1.5]]), np.zeros((2, 2))
    for kind in (Stein, Lyapunov):
        yield replace(with_answer(kind(growing, zero), draw.real(2, 2), "an unstable matrix", 1e4), stable=False)
    near = -(1 - 1e-12)  # the bilinear map turns it into a pole at -2e12
    edge = np.array([[1 / ((1 - near) * (1 + near)), 0.0], [0.0, 4 / 3]])
    yield Problem("a mode next to -1", Stein(np.diag([near, 0.5]), np.eye(2)), edge, 1e13)


def _sylvesters(draw: Draw) -> Iterator[Problem]:
    for name, (n, m) in {"a wide unknown": (2, 5), "a tall unknown": (5, 3), "one unknown": (1, 1)}.items():
        A, B = 3 * np.eye(n) + draw.real(n, n) / 4, 3 * np.eye(m) + draw.real(m, m) / 4
        yield with_answer(Sylvester(A, B, np.zeros((n, m))), draw.real(n, m), name)
        yield with_answer(Sylvester(A + 1j * A.T, B, np.zeros((n, m))), draw.complex(n, m), f"{name}, complex")


def shifted(A: Any) -> Any:
    """Return A - 2 I: stable in continuous time if A is in discrete time."""
    if isinstance(A, Diagonal):
        return map_arrays(Diagonal(A.eigenvalues, A.paired), lambda values: values - 2)
    return A - 2 * np.eye(A.shape[-1])


def with_answer(equation: Equation, X: Any, name: str, condition: float = 1e3) -> Problem:
    """Choose Q so that X solves the equation."""
    left, right, _ = equation.terms(X)
    return Problem(name, equation.with_right_side(-(left + right)), X, condition)


def by_diagonalisation(equation: Equation, Q: Any) -> Any:
    """Return the answer as the series or the integral gives it, from the eigenvalues of a small A that has them."""
    values, V = np.linalg.eig(np.asarray(equation.A))
    W = np.linalg.inv(V)
    product = values[:, None] * values.conj()[None, :]
    weights = 1 / (1 - product) if isinstance(equation, Stein) else -1 / (values[:, None] + values.conj()[None, :])
    X = V @ ((W @ Q @ W.conj().T) * weights) @ V.conj().T
    return X if np.iscomplexobj(equation.A) or np.iscomplexobj(Q) else X.real
