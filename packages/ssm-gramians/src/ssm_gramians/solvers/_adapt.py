"""What stands between an equation and a solver that takes a narrower one."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from .._arrays import Array, adjoint, namespace, promote
from .._equations import Equation, Sylvester, dense_right_side
from .._errors import SingularEquationError
from .._gram import Gram
from .._solution import Solution, Status, judge, singular_solution
from .._structure import kind_of
from ..backends import Backend
from ._base import Factorization, Solver


def refusal(equation: Equation, solver: Solver, backend: Backend) -> str | None:
    """Return why the solver cannot serve here, from the declarations alone; None if it can."""
    name, kind = type(solver).__name__, kind_of(equation.A)
    if equation.name not in solver.equations:
        return f"{name} solves {', '.join(sorted(solver.equations))}, not {equation.name}"
    written_out = kind != "matrix_free" and "dense" in solver.structures
    if kind not in solver.structures and not written_out:
        return f"{name} needs A to be {' or '.join(sorted(solver.structures))}, not {kind}"
    if "dense" not in solver.right_sides and not isinstance(equation.Q, Gram | None):
        return f"{name} needs the right-hand side as its factor, Gram(B), not a dense matrix"
    if _has_mass(equation) and not solver.descriptor and not written_out:
        return f"{name} does not take an E with {kind} A"
    missing = solver.needs - backend.provides
    if missing:
        return f"{name} needs {', '.join(sorted(missing))}, which backend {backend.name!r} does not provide"
    return None


def apply(solver: Solver, equation: Equation, backend: Backend) -> Solution:
    """Solve with a solver that may take less than the equation holds, and give the solution the form it should have."""
    try:
        narrow = narrowed(equation, solver, backend)
    except SingularEquationError:
        return singular_solution(equation)
    return widened(equation, solver.solve(narrow, backend), backend)


def narrowed(equation: Equation, solver: Solver, backend: Backend) -> Equation:
    """Return the equation as the solver takes it: A written out, divided by E, Q written out, as far as needed.

    Raises
    ------
    SingularEquationError
        If E must go and is singular.
    """
    divide = _has_mass(equation) and not solver.descriptor
    if kind_of(equation.A) not in solver.structures or divide:
        equation = equation.to_dense()
    if divide:
        equation = _divided(equation, backend)
    if isinstance(equation.Q, Gram) and "gram" not in solver.right_sides:
        equation = equation.with_right_side(equation.Q.to_dense())
    return equation


def widened(equation: Equation, solution: Solution, backend: Backend) -> Solution:
    """Return the solution as that of the equation that was asked, in the form of its right-hand side."""
    if isinstance(equation.Q, Gram) and not isinstance(solution.value, Gram):
        solution = _factored(solution, backend)
    if solution.converged and _has_mass(equation) and not _has_mass(solution.equation):
        return judge(equation, solution.value, steps=solution.steps)
    return solution if solution.equation is equation else replace(solution, equation=equation)


def _factored(solution: Solution, backend: Backend) -> Solution:
    """Return the solution as a `Gram`; an X that is not positive semidefinite has none, and A a mode that grows."""
    X = solution.value
    assert not isinstance(X, Gram)
    if not solution.converged:
        return replace(solution, value=Gram(X * float("nan")))
    Z = backend.factor(X)
    xp = namespace(X)
    limit = 1000 * X.shape[-1] * backend.eps(X)  # a factor of a semidefinite X leaves out no more than rounding
    semidefinite = bool(xp.all(backend.norm(Z @ adjoint(Z) - X) <= limit * backend.norm(X)))
    return replace(solution, value=Gram(Z), status=Status.CONVERGED if semidefinite else Status.DIVERGED)


class Adapted:
    """A factorisation for the equation as it was asked, on top of one for the equation as the solver takes it."""

    def __init__(self, equation: Equation, inner: Factorization, solver: Solver, backend: Backend) -> None:
        self._equation, self._inner, self._solver, self._backend = equation, inner, solver, backend

    def solve(self, Q: Array | Gram) -> Solution:
        """Solve the equation with this right-hand side."""
        return widened(self._equation.with_right_side(Q), self._inner.solve(self._narrow(Q)), self._backend)

    def solve_adjoint(self, Q: Array | Gram) -> Solution:
        """Solve the adjoint equation with this right-hand side."""
        equation = self._equation.adjoint().with_right_side(Q)
        return widened(equation, self._inner.solve_adjoint(self._narrow(Q)), self._backend)

    def _narrow(self, Q: Array | Gram) -> Array | Gram:
        return dense_right_side(Q) if "gram" not in self._solver.right_sides else Q


class SolvedAgain:
    """A factorisation that holds nothing: for solvers without work to reuse."""

    def __init__(self, equation: Equation, solver: Solver, backend: Backend) -> None:
        self._equation, self._solver, self._backend = equation, solver, backend

    def solve(self, Q: Array | Gram) -> Solution:
        """Solve the equation with this right-hand side."""
        return apply(self._solver, self._equation.with_right_side(Q), self._backend)

    def solve_adjoint(self, Q: Array | Gram) -> Solution:
        """Solve the adjoint equation with this right-hand side."""
        return apply(self._solver, self._equation.adjoint().with_right_side(Q), self._backend)


def factorize(solver: Solver, equation: Equation, backend: Backend) -> Factorization:
    """Return what the solver can reuse, or something that solves anew each time."""
    divide = _has_mass(equation) and not solver.descriptor
    if divide or not hasattr(solver, "factor"):
        return SolvedAgain(equation, solver, backend)
    operator = narrowed(equation.with_right_side(None), solver, backend)
    return Adapted(equation.with_right_side(None), solver.factor(operator, backend), solver, backend)


def _divided(equation: Equation, backend: Backend) -> Equation:
    r"""Return the equation with E = I (and F = I): $A \leftarrow E^{-1} A$, $Q \leftarrow E^{-1} Q E^{-H}$."""
    E, F, Q = equation.matrices.get("E"), equation.matrices.get("F"), equation.Q
    kind: Any = type(equation)
    if isinstance(equation, Sylvester):
        left = (lambda M: M) if E is None else (lambda M: backend.solve(*promote(E, M)))
        right = (lambda M: M) if F is None else (lambda M: adjoint(backend.solve(*promote(adjoint(F), adjoint(M)))))
        return Sylvester(left(equation.A), right(equation.B), None if Q is None else right(left(Q)))
    A = backend.solve(*promote(E, equation.A))
    if isinstance(Q, Gram):
        return kind(A, Gram(backend.solve(*promote(E, Q.Z))))
    if Q is None:
        return kind(A)
    half = backend.solve(*promote(E, Q))
    return kind(A, adjoint(backend.solve(*promote(E, adjoint(half)))))


def _has_mass(equation: Equation) -> bool:
    """Say whether a matrix stands where most equations have the identity."""
    return not {"E", "F"}.isdisjoint(equation.matrices)
