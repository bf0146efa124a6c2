"""What the low-rank solvers share: batches, empty right-hand sides, and factors kept for the adjoint equation."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from .._arrays import Array
from .._equations import Equation
from .._errors import SingularEquationError
from .._gram import Gram
from .._pencil import Pencil
from .._solution import Solution, Status
from .._structure import map_arrays

WORST = (Status.CONVERGED, Status.INACCURATE, Status.STEPS_EXHAUSTED, Status.DIVERGED, Status.SINGULAR)


class Outcome(NamedTuple):
    """A factor Z of one system, the status and the steps."""

    Z: Array
    status: Status
    steps: int


Iteration = Callable[[Pencil, Array], Outcome]


class LowRankFactorization:
    """The factors of all shifts met so far, for the equation and its adjoint."""

    def __init__(self, equation: Equation, iterate: Iteration) -> None:
        self._equation, self._iterate = equation, iterate
        self._pencils: dict[tuple[int, ...], Pencil] = {}

    def solve(self, Q: Gram) -> Solution:
        """Solve the equation with this right-hand side."""
        return self._solve(self._equation.with_right_side(Q), adjoint=False)

    def solve_adjoint(self, Q: Gram) -> Solution:
        """Solve the adjoint equation with this right-hand side."""
        return self._solve(self._equation.adjoint().with_right_side(Q), adjoint=True)

    def _solve(self, equation: Equation, *, adjoint: bool) -> Solution:
        assert isinstance(equation.Q, Gram)
        B = np.asarray(equation.Q.Z)
        shapes = [tuple(M.shape[:-2]) for M in equation.matrices.values()] + [B.shape[:-2]]
        batch = max(shapes, key=len)
        found = [self._solve_one(equation, batch, index, adjoint) for index in np.ndindex(batch)]
        dtype = np.result_type(B.dtype, *(M.dtype for M in equation.matrices.values()))
        Z = np.zeros((*batch, B.shape[-2], max((one.Z.shape[-1] for one in found), default=1)), dtype=dtype)
        for index, one in zip(np.ndindex(batch), found, strict=True):
            Z[(*index, slice(None), slice(one.Z.shape[-1]))] = one.Z
        status = max((one.status for one in found), key=WORST.index, default=Status.CONVERGED)
        return Solution(Gram(Z), status, equation, max((one.steps for one in found), default=0))

    def _solve_one(self, equation: Equation, batch: tuple[int, ...], index: tuple[int, ...], adjoint: bool) -> Outcome:
        assert isinstance(equation.Q, Gram)
        B = np.asarray(equation.Q.Z)
        B = B[index] if B.ndim > 2 else B
        if not B.any():
            return Outcome(np.zeros((B.shape[0], 1)), Status.CONVERGED, 0)
        try:
            pencil = self._pencil(index)
            pencil = pencil.adjoint() if adjoint else pencil
            return self._iterate(pencil, pencil.right_side(B))
        except SingularEquationError:
            return Outcome(np.full(B.shape, np.nan), Status.SINGULAR, 0)

    def _pencil(self, index: tuple[int, ...]) -> Pencil:
        if index not in self._pencils:
            one = {
                name: map_arrays(M, lambda array: array[index]) if len(M.shape) > 2 else M
                for name, M in self._equation.matrices.items()
            }
            self._pencils[index] = Pencil.of(type(self._equation)(**one))
        return self._pencils[index]
