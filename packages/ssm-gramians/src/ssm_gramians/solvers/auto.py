"""The choice of a solver, in one table."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

from .._equations import Equation, RightSide
from .._errors import UnsupportedError
from .._solution import Solution
from .._structure import kind_of
from ..backends import Backend
from ._adapt import apply, factorize, refusal
from ._base import Factorization, Solver
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
    structures: ClassVar[frozenset[str]] = frozenset({"dense", "diagonal", "dplr", "matrix_free", "sparse"})
    right_sides: ClassVar[frozenset[str]] = frozenset({"dense", "gram"})
    descriptor: ClassVar[bool] = True

    def candidates(self, equation: Equation, backend: Backend) -> tuple[Solver, ...]:
        """Return the solvers that would be tried, in order."""
        table = self._table(equation, backend)
        reasons = [refusal(equation, solver, backend) for solver in table]
        if None not in reasons:
            msg = "; ".join(reason for reason in reasons if reason)
            raise UnsupportedError(msg)
        return tuple(solver for solver, reason in zip(table, reasons, strict=True) if reason is None)

    def _table(self, equation: Equation, backend: Backend) -> tuple[Solver, ...]:
        if equation.name == "sylvester":
            return BartelsStewart(), Kronecker()
        if kind_of(equation.A) == "diagonal" and "E" not in equation.matrices:
            return (ClosedForm(),)
        direct: tuple[Solver, ...] = (BartelsStewart(),) if BartelsStewart.needs <= backend.provides else ()
        if direct and equation.name == "stein":
            return SquaredSmith(max_steps=16), *direct
        return direct or ((SquaredSmith(), Kronecker()) if equation.A.shape[-1] <= 32 else (SquaredSmith(),))

    def solve(self, equation: Equation, backend: Backend) -> Solution:
        """Solve with the first candidate that converges; else return what the last one found."""
        candidates = self.candidates(equation, backend)
        for solver in candidates[:-1]:
            solution = apply(solver, equation, backend)
            if solution.converged:
                return solution
        return apply(candidates[-1], equation, backend)

    def factor(self, equation: Equation, backend: Backend) -> Factorization:
        """Return a factorisation that tries the candidates in turn, each of them factored at most once."""
        return TriedInTurn(self.candidates(equation, backend), equation, backend)


class TriedInTurn:
    """The factorisation of the first solver that converges; the work of the others is done only where it is needed."""

    def __init__(self, candidates: tuple[Solver, ...], equation: Equation, backend: Backend) -> None:
        self._candidates, self._equation, self._backend = candidates, equation, backend
        self._factored: dict[Solver, Factorization] = {}

    def solve(self, Q: RightSide) -> Solution:
        """Solve the equation with this right-hand side."""
        return self._first(lambda factored: factored.solve(Q))

    def solve_adjoint(self, Q: RightSide) -> Solution:
        """Solve the adjoint equation with this right-hand side."""
        return self._first(lambda factored: factored.solve_adjoint(Q))

    def _first(self, solved: Callable[[Factorization], Solution]) -> Solution:
        for solver in self._candidates:
            if solver not in self._factored:
                self._factored[solver] = factorize(solver, self._equation, self._backend)
            solution = solved(self._factored[solver])
            if solution.converged:
                self._candidates = self._candidates[self._candidates.index(solver) :]  # what failed once is not tried
                break
        return solution


def explanation(equation: Equation, solver: Solver, backend: Backend) -> str:
    """Return in words what `solve` would do with this equation."""
    size = " x ".join(str(n) for n in equation.shape)
    batch = next((tuple(M.shape[:-2]) for M in equation.matrices.values() if M.shape[:-2]), ())
    lines = [f"{equation.name}, {kind_of(equation.A)} A, X {size}, batch {batch}, backend {backend.name!r}"]
    solvers = solver.candidates(equation, backend) if isinstance(solver, Auto) else (solver,)
    lines += [f"{k}. {candidate}" for k, candidate in enumerate(solvers, start=1)]
    return "\n".join(lines)
