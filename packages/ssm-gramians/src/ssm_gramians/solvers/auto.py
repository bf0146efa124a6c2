"""The choice of a solver, in one table."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import ClassVar

from .._equations import Equation
from .._solution import Solution
from .._structure import Diagonal
from ..backends import Backend
from ._base import Solver
from .bartels_stewart import BartelsStewart
from .closed_form import ClosedForm
from .kronecker import Kronecker
from .smith import SquaredSmith


@dataclass(frozen=True)
class Auto:
    """Take the first solver of a short list, and the next one only where that does not converge.

    ========  =================================  ===============================
    A         condition                          solvers, in order
    ========  =================================  ===============================
    diagonal  Lyapunov or Stein                  ClosedForm
    dense     Stein, batch >= 4, n <= 64         SquaredSmith, BartelsStewart
    dense     the backend has a Schur form       BartelsStewart
    dense     Lyapunov or Stein, n <= 32         SquaredSmith, Kronecker
    dense     Lyapunov or Stein                  SquaredSmith
    dense     Sylvester                          Kronecker
    ========  =================================  ===============================

    Rows are tried from the top; a row is skipped if the backend lacks what its first solver needs, and a solver is
    left out if the backend lacks what it needs. Sizes are those at which the measured times cross.
    """

    needs: ClassVar[frozenset[str]] = frozenset({"array"})
    equations: ClassVar[frozenset[str]] = frozenset({"lyapunov", "stein", "sylvester"})
    structures: ClassVar[frozenset[str]] = frozenset({"dense", "diagonal"})

    def candidates(self, equation: Equation, backend: Backend) -> tuple[Solver, ...]:
        """Return the solvers that would be tried, in order."""
        n = equation.A.shape[-1]
        direct = backend.provides >= BartelsStewart.needs
        ladder: tuple[Solver, ...]
        if isinstance(equation.A, Diagonal) and equation.name in ClosedForm.equations:
            ladder = (ClosedForm(),)
        elif equation.name == "stein" and prod(equation.A.shape[:-2]) >= 4 and n <= 64 and direct:
            ladder = (SquaredSmith(), BartelsStewart())
        elif direct:
            ladder = (BartelsStewart(),)
        elif equation.name == "sylvester":
            ladder = (Kronecker(),)
        else:
            ladder = (SquaredSmith(), Kronecker()) if n <= 32 else (SquaredSmith(),)
        return ladder

    def solve(self, equation: Equation, backend: Backend) -> Solution:
        """Solve with the first candidate that converges; else return what the last one found."""
        candidates = self.candidates(equation, backend)
        for solver in candidates[:-1]:
            problem = equation if isinstance(solver, ClosedForm) else equation.to_dense()
            solution = solver.solve(problem, backend)
            if solution.converged:
                return solution
        last = candidates[-1]
        return last.solve(equation if isinstance(last, ClosedForm) else equation.to_dense(), backend)
