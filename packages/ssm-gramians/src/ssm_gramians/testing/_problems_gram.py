"""Right-hand sides by their factors: the answers come from eigenvalues, which these small matrices have."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from scipy import sparse

from .._diagonal import Diagonal, stack_real
from .._equations import Lyapunov, Stein
from .._gram import Gram
from .._structure import to_dense
from ._problems_dense import Draw, by_diagonalisation, shifted
from ._problems_descriptor import heat_and_mass, near_identity
from .problems import Problem


def gram_problems() -> Iterator[Problem]:
    """Yield Lyapunov and Stein equations of stable systems, each in both kinds of time."""
    draw = Draw(9)
    A, H = draw.real(5, 5), draw.complex(4, 4)
    A, H = A / (1.2 * np.linalg.norm(A, 2)), H / (1.2 * np.linalg.norm(H, 2))
    blind = np.block([[A[:2, :2], A[:2, 2:4]], [np.zeros((2, 2)), A[2:4, 2:4]]])
    slots = np.array([0.9, 0.8, 0.95]) * np.exp(1j * np.arange(0.0, 3.0))
    cases: dict[str, tuple[Any, Any]] = {
        "one input": (A, draw.real(5, 1)),
        "more inputs than states": (A, draw.real(5, 7)),
        "a complex system": (H, draw.complex(4, 2)),
        "a real matrix with complex inputs": (A, draw.complex(5, 2)),
        "a complex matrix with real inputs": (H, draw.real(4, 2)),
        "states that no input reaches": (blind, np.vstack([draw.real(2, 2), np.zeros((2, 2))])),
        "real modes": (Diagonal(np.array([0.9, -0.5, 0.1])), draw.real(3, 1)),
        "complex modes": (Diagonal(slots), draw.complex(3, 2)),
        "paired modes": (Diagonal(slots, paired=True), stack_real(draw.complex(3, 1))),
    }
    for name, (M, B) in cases.items():
        rank = 2 if "no input" in name else None
        yield _problem(Stein(M, Gram(B)), name, rank)
        yield _problem(Lyapunov(shifted(M), Gram(B)), name, rank)
    E = near_identity(draw.real(5, 5))
    yield _problem(Stein(E @ A, Gram(draw.real(5, 2)), E), "an E")
    yield _problem(Lyapunov(E @ shifted(A), Gram(draw.real(5, 2)), E), "an E")
    yield from _sparse(draw)


def _sparse(draw: Draw) -> Iterator[Problem]:
    heat, mass = heat_and_mass(8)
    yield _problem(Lyapunov(heat, Gram(draw.real(8, 1))), "a sparse matrix")
    yield _problem(Lyapunov(heat, Gram(draw.real(8, 2)), mass), "a sparse matrix over a sparse E")
    yield _problem(Stein(sparse.csc_array(heat / 5), Gram(draw.real(8, 1))), "a sparse matrix")


def _problem(equation: Lyapunov | Stein, name: str, rank: int | None = None) -> Problem:
    """Solve by diagonalisation, after dividing by E."""
    assert isinstance(equation.Q, Gram)
    A, B = to_dense(equation.A), equation.Q.Z
    if equation.E is not None:
        A, B = (np.linalg.solve(np.asarray(to_dense(equation.E)), M) for M in (A, B))
    return Problem(name, equation, by_diagonalisation(type(equation)(A), B @ B.conj().T), 1e4, rank=rank)
