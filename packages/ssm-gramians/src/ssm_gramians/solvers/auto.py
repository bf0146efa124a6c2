"""The choice of a solver, in one table."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

from .._arrays import is_hermitian
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
from .rational_krylov import RationalKrylov
from .smith import SquaredSmith
from .woodbury import Woodbury

_DIRECT = (BartelsStewart, ClosedForm, Hammarling)
_MILD = 7.5  # doublings up to which products beat a Schur form; mild spectra take 5 to 8, stiff ones 9 and more
LARGE = 2048  # states up to which a factor of a diagonal system has a column for each


@dataclass(frozen=True)
class Auto:
    """Take the first solver of a short list, and the next one only where that does not converge.

    =========================  ==============================  =====================================================
    A                          equation                        solvers, in order
    =========================  ==============================  =====================================================
    diagonal                   Lyapunov, Stein; Q dense        ClosedForm
    diagonal, n <= 2048        Lyapunov, Stein; Q a `Gram`     Cauchy, or ClosedForm if that is slow: see below
    diagonal, n > 2048         Lyapunov, Stein; Q a `Gram`     Cauchy(rtol=1e-20), ClosedForm
    dplr, rank <= 2, n >= 32   Lyapunov, Stein; Q dense        Woodbury, then as any
    sparse, matrix-free        Lyapunov, Stein; Q a `Gram`     ExtendedKrylov, LowRankADI, RationalKrylov
    the same with E            Lyapunov, Stein; Q a `Gram`     LowRankADI, ExtendedKrylov, RationalKrylov
    dense, mild, n >= 64       Lyapunov                        SquaredSmith(max_steps=9), then as any
    any                        Stein; Q dense                  SquaredSmith(max_steps=16), BartelsStewart, ...
    any                        Lyapunov; Q dense               BartelsStewart, ...
    any                        Stein; Q a `Gram`               SquaredSmith(max_steps=16), Hammarling, ...
    any                        Lyapunov; Q a `Gram`            Hammarling, ...
    any                        Sylvester                       BartelsStewart, Kronecker up to n = 32
    =========================  ==============================  =====================================================

    The first row that fits counts; the dots are SquaredSmith and, up to n = 32 where its matrix of order n^2 is at most
    8 MiB, Kronecker, for backends without Schur forms. A direct solver has the last word: what comes after it is
    dropped. Sixteen doublings are as far as products beat a Schur form: modes within about 1e-4 of the unit circle need
    more. A spectrum is mild if one LU decomposition lets expect eight doublings at most.

    Cauchy is right in every digit and takes its time with several inputs m: it is chosen for m = 1, and up to
    n m = 2048 where the backend has a compiled loop, 128 else. `explain` tells what is chosen for an equation.
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

    def passed_over(self, equation: Equation, backend: Backend) -> tuple[str, ...]:
        """Return why each solver of the table that is not a candidate is none."""
        candidates, reasons = self.candidates(equation, backend), []
        for solver in self._table(equation, backend):
            if solver not in candidates:
                refused = refusal(equation, solver, backend)
                reasons.append(refused or f"{type(solver).__name__}, since a direct solver comes before it")
        return tuple(reasons)

    def _table(self, equation: Equation, backend: Backend) -> tuple[Solver, ...]:
        kind, factored = kind_of(equation.A), isinstance(equation.Q, Gram)
        if equation.name == "sylvester":
            return (BartelsStewart(), *_small(equation))
        if kind == "diagonal" and "E" not in equation.matrices:
            return _diagonal(equation, backend) if factored else (ClosedForm(),)
        if kind == "matrix_free" or (kind == "sparse" and factored):
            low_rank = (ExtendedKrylov(), LowRankADI())
            return (*(reversed(low_rank) if "E" in equation.matrices else low_rank), RationalKrylov())
        if kind == "dplr" and not factored and equation.A.rank <= 2 and equation.shape[0] >= 32:
            return Woodbury(), *_dense(equation, backend, factored)
        return _dense(equation, backend, factored)

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


def _dense(equation: Equation, backend: Backend, factored: bool) -> tuple[Solver, ...]:
    direct: Solver = Hammarling() if factored else BartelsStewart()
    if not direct.needs <= backend.provides:
        return direct, SquaredSmith(), *_small(equation)  # the first is passed over, and `explain` says why
    if equation.name == "stein":
        return SquaredSmith(max_steps=16), direct
    return (SquaredSmith(max_steps=9), direct) if _is_mild(equation, backend) else (direct,)


def _is_mild(equation: Equation, backend: Backend) -> bool:
    """Say whether a Lyapunov equation has a spectrum that squared Smith sums in few steps, at the price of one LU."""
    n, kind = equation.shape[0], kind_of(equation.A)
    if (
        kind != "dense"
        or "E" in equation.matrices
        or equation.A.ndim > 2
        or n < 64
        or "pattern" not in backend.provides
    ):
        return False
    pattern = backend.pattern(equation.A)
    plain = min(pattern.lower, pattern.upper) > 1 and not pattern.blocks
    return plain and not is_hermitian(equation.A) and backend.doublings_of(equation.A) <= _MILD


def _small(equation: Equation) -> tuple[Solver, ...]:
    return (Kronecker(),) if max(equation.shape) <= 32 else ()


def _diagonal(equation: Equation, backend: Backend) -> tuple[Solver, ...]:
    assert isinstance(equation.Q, Gram)
    n, inputs = equation.shape[0], equation.Q.rank
    if n > LARGE:
        return (Cauchy(rtol=1e-20), *((ClosedForm(),) if n <= 8 * LARGE else ()))
    affordable = 2048 if "cauchy_kernel" in backend.provides else 128
    return (Cauchy() if inputs == 1 or n * inputs <= affordable else ClosedForm(),)


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
    """Return in words what `solve` would do with this equation, and what it would pass over."""
    size = " x ".join(str(n) for n in equation.shape)
    batch = next((tuple(M.shape[:-2]) for M in equation.matrices.values() if M.shape[:-2]), ())
    lines = [f"{equation.name}, {kind_of(equation.A)} A, X {size}, batch {batch}, backend {backend.name!r}"]
    solvers = solver.candidates(equation, backend) if isinstance(solver, Auto) else (solver,)
    for k, candidate in enumerate(solvers, start=1):
        found = f": {candidate.recognised(equation, backend)}" if hasattr(candidate, "recognised") else ""
        lines.append(f"{k}. {candidate}{found}")
    if isinstance(solver, Auto):
        lines += [f"passed over: {reason}" for reason in solver.passed_over(equation, backend)]
    return "\n".join(lines)
