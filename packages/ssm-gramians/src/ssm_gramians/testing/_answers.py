"""The laws of a solver that are about the answer: the first half of `SolverConformance`."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from .._arrays import Array
from .._diagonal import Diagonal
from .._equations import Equation, Lyapunov, Stein, Sylvester
from .._gram import Gram
from .._residual import relative_residual
from .._solution import Status
from .._solve import solve, why_not
from ..backends import Backend, get_backend
from ..solvers import Solver
from .asserts import as_numpy, assert_close, assert_same_kind
from .problems import Problem, array_of, convert, dense_of, problems

PROBLEMS = problems()
EPS = float(np.finfo(float).eps)


class AnswerLaws:
    """Inherit `SolverConformance` instead, which has these laws and the others."""

    solver: Solver
    backend: str | Backend
    iterative = False  # True: A must be stable
    rtol = 0.0  # what the solver iterates to, where that is not rounding

    def asarray(self, array: Any) -> Array:
        """Return the NumPy array as an array of this backend."""
        raise NotImplementedError

    def solve(self, equation: Equation) -> Any:
        """Solve with what is under test."""
        return solve(equation, self.solver, self.backend)

    def serves(self, problem: Problem) -> bool:
        """Say whether the declarations promise this problem."""
        return self.possible(problem) and why_not(problem.equation, self.solver, get_backend(self.backend)) is None

    def possible(self, problem: Problem) -> bool:
        """Say whether the problem can be written in this backend's arrays."""
        return not problem.numpy_only or isinstance(self.asarray(np.zeros(1)), np.ndarray)

    def served(self, *, stable: bool = False, most: float = np.inf) -> list[Problem]:
        """Return the problems that the declarations say can be solved, up to a condition."""
        wanted = [problem for problem in PROBLEMS if (problem.stable or not stable) and problem.condition <= most]
        return [problem for problem in wanted if self.serves(problem)]

    def tolerance(self, problem: Problem, unit: float = EPS) -> float:
        """Return the relative error that the answer may have."""
        return problem.condition * max(unit, self.rtol)

    @pytest.mark.parametrize("problem", PROBLEMS, ids=str)
    def test_known_answers(self, problem: Problem) -> None:
        if not self.serves(problem) or (self.iterative and not problem.stable):
            pytest.skip("not served, by the declarations")
        equation = problem.on(self.asarray)

        solution = self.solve(equation)

        assert solution.converged, solution.status
        assert isinstance(solution.value, Gram) == problem.is_gram
        assert_same_kind(array_of(solution.value), self.asarray(np.asarray(problem.answer)))
        assert_close(dense_of(solution.value), problem.answer, rtol=self.tolerance(problem))
        assert np.all(as_numpy(solution.residual) < max(1e-12, 10 * self.rtol))
        honest = as_numpy(relative_residual(equation, dense_of(solution.value)))
        assert np.all(np.abs(as_numpy(solution.residual) - honest) < 1e-14 + 1e-3 * honest)

    def test_a_gram_has_the_rank_of_the_solution(self) -> None:
        for problem in self.served(stable=True):
            if problem.is_gram:
                Z = as_numpy(self.solve(problem.on(self.asarray)).value.Z)
                sizes = np.linalg.svd(Z, compute_uv=False)
                assert np.sum(sizes > 1e-6 * sizes[0]) == self._rank(problem)

    def test_the_adjoint_equation_is_the_adjoint(self) -> None:
        for problem in self.served(stable=True, most=1e5):
            R = self._other_right_side(problem)
            equation = problem.equation.adjoint().with_right_side(R)

            Y = self.solve(convert(equation, self.asarray)).value

            self.assert_adjoint(problem, R, Y)

    def test_a_singular_equation_has_a_status_and_does_not_raise(self) -> None:
        one, zero = np.ones((1, 1)), np.zeros((1, 1))
        singular = (
            Stein(one, one),
            Lyapunov(zero, one),
            Lyapunov(-one, one, zero),
            Stein(one, one, one),
            Sylvester(one, -one, one),
            Stein(Diagonal(one[0]), one),
            Lyapunov(Diagonal(zero[0]), one),
            Stein(one, Gram(one)),
            Lyapunov(zero, Gram(one)),
            Stein(Diagonal(one[0]), Gram(one)),
            Lyapunov(Diagonal(zero[0]), Gram(one)),
        )
        self._assert_refused_by_status(singular)

    def test_a_growing_system_has_no_gram(self) -> None:
        A, B = np.array([[1.5, 0.2], [0.0, 0.5]]), Gram(np.ones((2, 1)))
        modes = Diagonal(np.array([1.5, 0.5]))
        self._assert_refused_by_status((Stein(A, B), Lyapunov(A, B), Stein(modes, B), Lyapunov(modes, B)))

    def assert_adjoint(self, problem: Problem, R: Any, Y: Any) -> None:
        """Fail unless the answer Y to the right-hand side R of the adjoint has <Y, Q> = <R, X>."""
        Y, Q, R = (as_numpy(dense_of(M)) for M in (Y, problem.equation.Q, R))
        left, right = np.vdot(Y, Q), np.vdot(R, problem.answer)
        assert abs(left - right) <= self.tolerance(problem, 10 * EPS) * np.linalg.norm(Y) * np.linalg.norm(Q)

    def _other_right_side(self, problem: Problem) -> Any:
        """Return another right-hand side of the same form, shape and dtype."""
        old = array_of(problem.equation.Q)
        new = np.random.default_rng(3).standard_normal(old.shape) + 0 * old
        return Gram(new) if problem.is_gram else new

    def _rank(self, problem: Problem) -> int:
        if problem.rank is not None:
            return problem.rank
        sizes = np.linalg.eigvalsh(problem.answer)
        return int(np.sum(sizes > 1e-12 * sizes[-1]))

    def _assert_refused_by_status(self, equations: tuple[Equation, ...]) -> None:
        for equation in equations:
            if why_not(equation, self.solver, get_backend(self.backend)) is None:
                solution = self.solve(convert(equation, self.asarray))
                assert not solution.converged, equation
                assert isinstance(solution.status, Status)
