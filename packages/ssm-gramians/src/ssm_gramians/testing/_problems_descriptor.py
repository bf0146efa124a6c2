"""Equations with E (and F), and with sparse matrices."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from scipy import sparse

from .._diagonal import Diagonal
from .._equations import Lyapunov, Stein, Sylvester
from ._problems_dense import Draw, shifted, with_answer
from .problems import Problem


def descriptor_problems() -> Iterator[Problem]:
    """Yield Lyapunov, Stein and Sylvester equations with E, dense and sparse."""
    draw = Draw(8)
    A = draw.real(5, 5) / 8
    E, H = near_identity(draw.real(5, 5)), near_identity(draw.complex(5, 5))
    cases = {
        "a real E": (A, E, draw.real(5, 5)),
        "a complex E": (A + 0.1j * A.T, H, draw.complex(5, 5)),
        "a complex E under a real A": (A, H, draw.complex(5, 5)),
        "real modes over an E": (Diagonal(np.array([0.6, -0.4, 0.1])), near_identity(draw.real(3, 3)), draw.real(3, 3)),
    }
    for name, (M, N, X) in cases.items():
        drift = shifted(M) if isinstance(M, Diagonal) else N @ shifted(M)
        yield with_answer(Stein(M, 0 * X, N), X, name)
        yield with_answer(Lyapunov(drift, 0 * X, N), X, name)
    yield from _sylvesters(draw)
    yield from _sparse(draw)


def near_identity(M: Any) -> Any:
    """Return a matrix whose condition number is at most 3."""
    return np.eye(len(M)) + M / (2 * np.linalg.norm(M, 2))


def _sylvesters(draw: Draw) -> Iterator[Problem]:
    A, B = 3 * np.eye(4) + draw.real(4, 4) / 4, 3 * np.eye(3) + draw.real(3, 3) / 4
    E, F = near_identity(draw.real(4, 4)), near_identity(draw.real(3, 3))
    X, zero = draw.real(4, 3), np.zeros((4, 3))
    yield with_answer(Sylvester(A, B, zero, E), X, "E on the left")
    yield with_answer(Sylvester(A, B, zero, F=F), X, "F on the right")
    yield with_answer(Sylvester(A, B, zero, E, F), X, "E and F")
    yield with_answer(Sylvester(A + 1j * A.T, B, zero, E, F), X + 1j * X[::-1], "E and F, complex")


def _sparse(draw: Draw) -> Iterator[Problem]:
    X = draw.real(6, 6)
    heat, mass = heat_and_mass(6)
    yield with_answer(Lyapunov(heat, 0 * X), X, "a sparse matrix")
    yield with_answer(Lyapunov(heat, 0 * X, mass), X, "a sparse matrix over a sparse E")
    yield with_answer(Stein(sparse.csc_array(heat / 5), 0 * X), X, "a sparse matrix")


def heat_and_mass(n: int) -> tuple[Any, Any]:
    """Return the second difference and the linear finite-element mass matrix of a rod, with a little transport."""
    ones = np.ones(n)
    heat = sparse.diags_array([ones[1:], -2 * ones, 0.8 * ones[1:]], offsets=[-1, 0, 1], format="csc")
    mass = sparse.diags_array([ones[1:] / 6, 2 * ones / 3, ones[1:] / 6], offsets=[-1, 0, 1], format="csc")
    return heat, mass
