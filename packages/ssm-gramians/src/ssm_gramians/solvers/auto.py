"""The choice of a solver, in one table."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

from .._equations import Equation, RightSide
from .._errors import UnsupportedError
from .._gram import Gram
from .._solution import Solution
from .._structure import kind_of
from ..backends import Backend
from ._adapt import apply, factorize, refusal
from ._base import Factorization, Solver
from .bartels_stewart import BartelsStewart
from .cauchy import Cauchy
from .closed_form import ClosedForm
from .extended_krylov import ExtendedKrylov
from .hammarling import Hammarling
from .kronecker import Kronecker
from .low_rank_adi import LowRankADI
from .smith import SquaredSmith
from .woodbury import Woodbury

_DIRECT = (BartelsStewart, Cauchy, ClosedForm, Hammarling)


@dataclass(frozen=True)
class Auto:
    """Take the first solver of a short list, and the next one only where that does not converge.

    =========================  ==============================  =====================================================
    A                          equation                        solvers, in order
    =========================  ==============================  =====================================================
    diagonal                   Lyapunov, Stein; Q dense        ClosedForm
    diagonal                   Lyapunov, Stein; Q a `Gram`     Cauchy: exact up to n = 2048, of low rank beyond
    dplr, rank 1 or 2          Lyapunov, Stein; Q dense        Woodbury, then as dense
    sparse, matrix-free        Lyapunov, Stein; Q a `Gram`     ExtendedKrylov, LowRankADI
    any                        Stein; Q dense                  SquaredSmith(max_steps=16), BartelsStewart, ...
    any                        Lyapunov; Q dense               BartelsStewart, ...
    any                        Stein; Q a `Gram`               SquaredSmith(max_steps=16), Hammarling, ...
    any                        Lyapunov; Q a `Gram`            Hammarling, ...
    any                        Sylvester                       BartelsStewart, Kronecker up to n = 32
    =========================  ==============================  =====================================================

    The first row that fits counts; the dots are SquaredSmith and, up to n = 32 where its matrix of order n^2 is at most
    8 MiB, Kronecker, for backends without Schur forms. A direct solver has the last word: what comes after it is
    dropped. Sixteen doublings are as far as products beat a Schur form: modes within about 1e-4 of the unit circle need
    more. `explain` tells what is chosen for an equation.
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
        served = [solver for solver, reason in zip(table, reasons, strict=True) if reason is None]
        last = next((k for k, solver in enumerate(served) if isinstance(solver, _DIRECT)), len(served))
        return tuple(served[: last + 1])

    def _table(self, equation: Equation, backend: Backend) -> tuple[Solver, ...]:
        kind, factored = kind_of(equation.A), isinstance(equation.Q, Gram)
        if equation.name == "sylvester":
            return (BartelsStewart(), *_small(equation))
        if kind == "diagonal" and "E" not in equation.matrices:
            return (_cauchy(equation.shape[0]) if factored else ClosedForm(),)
        if kind == "matrix_free" or (kind == "sparse" and factored):
            return ExtendedKrylov(), LowRankADI()
        special = (Woodbury(),) if kind == "dplr" and not factored and equation.A.rank <= 2 else ()
        return (*special, *_dense(equation, factored))

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
        return TriedInTurn(self, equation, backend)


def _dense(equation: Equation, factored: bool) -> tuple[Solver, ...]:
    direct: Solver = Hammarling() if factored else BartelsStewart()
    if equation.name == "stein":
        return SquaredSmith(max_steps=16), direct, SquaredSmith(), *_small(equation)
    return direct, SquaredSmith(), *_small(equation)


def _small(equation: Equation) -> tuple[Solver, ...]:
    return (Kronecker(),) if max(equation.shape) <= 32 else ()


def _cauchy(n: int) -> Cauchy:
    # Beyond it every column counts: a trace of 1e-30 leaves out Hankel singular values below 1e-15 of the largest.
    return Cauchy() if n <= 2048 else Cauchy(rtol=1e-30)


class TriedInTurn:
    """The factorisation of the first solver that converges; the work of the others is done only where it is needed."""

    def __init__(self, auto: Auto, equation: Equation, backend: Backend) -> None:
        self._auto, self._equation, self._backend = auto, equation, backend
        self._factored: dict[Solver, Factorization] = {}
        self._failed: set[Solver] = set()

    def solve(self, Q: RightSide) -> Solution:
        """Solve the equation with this right-hand side."""
        return self._first(Q, lambda factored: factored.solve(Q))

    def solve_adjoint(self, Q: RightSide) -> Solution:
        """Solve the adjoint equation with this right-hand side."""
        return self._first(Q, lambda factored: factored.solve_adjoint(Q))

    def _first(self, Q: RightSide, solved: Callable[[Factorization], Solution]) -> Solution:
        candidates = self._auto.candidates(self._equation.with_right_side(Q), self._backend)
        hopeful = [solver for solver in candidates[:-1] if solver not in self._failed]
        for solver in (*hopeful, candidates[-1]):
            if solver not in self._factored:
                self._factored[solver] = factorize(solver, self._equation, self._backend)
            solution = solved(self._factored[solver])
            if solution.converged:
                break
            self._failed.add(solver)
        return solution


def explanation(equation: Equation, solver: Solver, backend: Backend) -> str:
    """Return in words what `solve` would do with this equation."""
    size = " x ".join(str(n) for n in equation.shape)
    batch = next((tuple(M.shape[:-2]) for M in equation.matrices.values() if M.shape[:-2]), ())
    lines = [f"{equation.name}, {kind_of(equation.A)} A, X {size}, batch {batch}, backend {backend.name!r}"]
    solvers = solver.candidates(equation, backend) if isinstance(solver, Auto) else (solver,)
    for k, candidate in enumerate(solvers, start=1):
        found = f": {candidate.recognised(equation, backend)}" if hasattr(candidate, "recognised") else ""
        lines.append(f"{k}. {candidate}{found}")
    return "\n".join(lines)
