"""The choice of a solver, in one table."""

from __future__ import annotations

from dataclasses import dataclass
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

    ========  ===============================  ===============================================
    A         equation and backend             solvers, in order
    ========  ===============================  ===============================================
    diagonal  Lyapunov or Stein                ClosedForm
    dense     Stein, backend has Schur forms   SquaredSmith(max_steps=16), BartelsStewart
    dense     any, backend has Schur forms     BartelsStewart
    dense     Sylvester                        Kronecker
    dense     Lyapunov or Stein, n <= 32       SquaredSmith, Kronecker
    dense     Lyapunov or Stein                SquaredSmith
    ========  ===============================  ===============================================

    The first row that fits counts. Sixteen doublings are as far as products beat a Schur form: modes within about 1e-4
    of the unit circle need more. Up to n = 32 the Kronecker matrix, of order n^2, is at most 8 MiB.
    """

    needs: ClassVar[frozenset[str]] = frozenset({"array"})
    equations: ClassVar[frozenset[str]] = frozenset({"lyapunov", "stein", "sylvester"})
    structures: ClassVar[frozenset[str]] = frozenset({"dense", "diagonal"})

    def candidates(self, equation: Equation, backend: Backend) -> tuple[Solver, ...]:
        """Return the solvers that would be tried, in order."""
        direct = backend.provides >= BartelsStewart.needs
        if isinstance(equation.A, Diagonal) and equation.name in ClosedForm.equations:
            return (ClosedForm(),)
        if direct:
            return (SquaredSmith(max_steps=16), BartelsStewart()) if equation.name == "stein" else (BartelsStewart(),)
        if equation.name == "sylvester":
            return (Kronecker(),)
        return (SquaredSmith(), Kronecker()) if equation.A.shape[-1] <= 32 else (SquaredSmith(),)

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
