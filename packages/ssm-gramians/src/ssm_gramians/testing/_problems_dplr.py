"""A that is diagonal plus low rank."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from .._diagonal_plus_low_rank import DiagonalPlusLowRank
from .._equations import Lyapunov, Stein
from ._problems_dense import Draw, with_answer
from .problems import Problem


def dplr_problems() -> Iterator[Problem]:
    """Yield Lyapunov and Stein equations: real and complex, of rank 1 and 2, and HiPPO-LegS as S4 has it."""
    draw = Draw(19)
    slots = np.array([0.8, 0.5 + 0.4j, 0.5 - 0.4j, -0.6])
    for name, values, r in (("complex, rank 1", slots, 1), ("complex, rank 2", slots, 2), ("real", slots.real, 1)):
        make: Any = draw.complex if np.iscomplexobj(values) else draw.real
        U, V, X = 0.1 * make(4, r), 0.2 * make(4, r), make(4, 4)
        name = f"diagonal plus low rank, {name}"
        yield with_answer(Stein(DiagonalPlusLowRank(values, U, V), 0 * X), X, name)
        yield with_answer(Lyapunov(DiagonalPlusLowRank(values - 2, U, V), 0 * X), X, name)
    X = draw.complex(6, 6)
    yield with_answer(Lyapunov(_legs(6), 0 * X), X, "HiPPO-LegS, diagonal plus low rank", 1e4)


def _legs(n: int) -> DiagonalPlusLowRank:
    """Return HiPPO-LegS in the basis of its normal part."""
    k = np.arange(n)
    root, P = np.sqrt(2 * k + 1.0), np.sqrt(k + 0.5)
    A = -(np.tril(np.outer(root, root), -1) + np.diag(k + 1.0))
    frequencies, vectors = np.linalg.eigh(-1j * (A + np.outer(P, P) + np.eye(n) / 2))
    U = vectors.conj().T @ P[:, None]
    return DiagonalPlusLowRank(-0.5 + 1j * frequencies, U, U)
