"""What a solver promises."""

# ruff: noqa: D102  (the name of a test is its documentation)

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from .._arrays import Array
from .._diagonal import Diagonal
from .._equations import Equation, Lyapunov, Stein, Sylvester
from .._errors import UnsupportedError
from .._residual import relative_residual
from .._solution import Status
from .._solve import solve, why_not
from ..backends import Backend, get_backend
from ..solvers import Solver
from .asserts import as_numpy, assert_close, assert_same_kind, assert_untouched
from .problems import Problem, convert, problems

_PROBLEMS = problems()


class SolverConformance:
    """Inherit, set `solver` and `backend`, and say how a NumPy array becomes one of the backend's arrays."""

    solver: Solver
    backend: str | Backend
    iterative = False  # True: A must be stable

    def asarray(self, array: Any) -> Array:
        """Return the NumPy array as an array of this backend."""
        raise NotImplementedError

    def solve(self, equation: Equation) -> Any:
        """Solve with what is under test."""
        return solve(equation, self.solver, self.backend)

    def served(self, *, stable: bool = False) -> list[Problem]:
        """Return the problems that the declarations say can be solved."""
        backend = get_backend(self.backend)
        return [
            problem
            for problem in _PROBLEMS
            if why_not(problem.equation, self.solver, backend) is None and (problem.stable or not stable)
        ]

    @pytest.mark.parametrize("problem", _PROBLEMS, ids=lambda problem: f"{problem.equation.name}: {problem.name}")
    def test_known_answers(self, problem: Problem) -> None:
        if problem not in self.served(stable=self.iterative):
            pytest.skip("not served, by the declarations")
        equation = problem.on(self.asarray)

        solution = self.solve(equation)

        assert solution.converged, solution.status
        assert_close(solution.value, problem.answer, rtol=problem.condition * np.finfo(float).eps)
        assert np.all(as_numpy(solution.residual) < 1e-12)
        honest = as_numpy(relative_residual(equation, solution.value))
        assert np.all(np.abs(as_numpy(solution.residual) - honest) < 1e-14)

    def test_declarations_decide_what_is_refused(self) -> None:
        refused = [problem for problem in _PROBLEMS if problem not in self.served()]
        assert self.served(), "a solver must serve something"
        for problem in refused:
            with pytest.raises(UnsupportedError):
                self.solve(problem.on(self.asarray))

    def test_inputs_are_untouched(self) -> None:
        for problem in self.served(stable=True):
            equation = problem.on(self.asarray)
            arrays = [equation.A.eigenvalues if isinstance(equation.A, Diagonal) else equation.A, equation.Q]
            with assert_untouched(*arrays):
                self.solve(equation)

    @pytest.mark.parametrize("single", [False, True], ids=["double", "single"])
    def test_library_device_and_precision_stay(self, single: bool) -> None:
        for problem in self.served(stable=True):
            if problem.condition > 1e5:
                continue  # no digit would be left in single precision

            def cast(array: Any) -> Array:
                return self.asarray(array.astype(np.result_type(_SINGLE[array.dtype.char])) if single else array)

            equation = convert(problem.equation, cast)
            answer = cast(np.asarray(problem.answer))
            solution = self.solve(equation)

            assert_same_kind(solution.value, answer)
            if single:
                assert_close(solution.value, answer, rtol=problem.condition * 1e-6)

    def test_a_batch_equals_a_loop(self) -> None:
        for problem in self.served(stable=True):
            single = self.solve(problem.on(self.asarray)).value

            batch = self.solve(
                convert(problem.equation, lambda array: self.asarray(np.stack([array] * 6).reshape(2, 3, *array.shape)))
            )

            assert batch.converged
            assert tuple(batch.residual.shape) == (2, 3)
            for row in range(2):
                for column in range(3):
                    assert_close(batch.value[row, column, ...], single, rtol=problem.condition * 1e-15)

    def test_one_matrix_serves_a_batch_of_right_hand_sides(self) -> None:
        for problem in self.served(stable=True):
            if isinstance(problem.equation, Sylvester):
                continue
            equation = problem.on(self.asarray)
            stacked = self.asarray(np.stack([problem.equation.Q, 2 * problem.equation.Q]))

            value = self.solve(replace(equation, Q=stacked)).value

            assert_close(value[1, ...], 2 * problem.answer, rtol=problem.condition * 1e-15)

    def test_a_batch_of_nothing_is_nothing(self) -> None:
        for problem in self.served(stable=True):
            equation = convert(problem.equation, lambda array: self.asarray(np.empty((0, *array.shape), array.dtype)))
            value = self.solve(equation).value
            assert tuple(value.shape) == (0, *np.shape(problem.answer))

    def test_the_adjoint_equation_is_the_adjoint(self) -> None:
        rng = np.random.default_rng(3)
        for problem in self.served(stable=True):
            if problem.condition > 1e5:
                continue
            equation = problem.equation.adjoint()
            R = rng.standard_normal(np.shape(problem.answer)) + 0 * equation.Q

            Y = as_numpy(self.solve(convert(replace(equation, Q=R), self.asarray)).value)

            left, right = np.vdot(Y, problem.equation.Q), np.vdot(R, problem.answer)
            size = np.linalg.norm(Y) * np.linalg.norm(problem.equation.Q)
            assert abs(left - right) <= problem.condition * 1e-15 * size

    def test_a_singular_equation_has_a_status_and_does_not_raise(self) -> None:
        one, zero = np.ones((1, 1)), np.zeros((1, 1))
        singular = (
            Stein(one, one),
            Lyapunov(zero, one),
            Sylvester(one, -one, one),
            Stein(Diagonal(one[0]), one),
            Lyapunov(Diagonal(zero[0]), one),
        )
        for equation in singular:
            if why_not(equation, self.solver, get_backend(self.backend)) is None:
                solution = self.solve(convert(equation, self.asarray))
                assert not solution.converged
                assert isinstance(solution.status, Status)

    def test_gradients_match_finite_differences(self) -> None:
        if "autograd" not in get_backend(self.backend).provides:
            pytest.skip("the backend has no gradients")
        import torch

        for problem in self.served(stable=True):
            if problem.condition > 1e5:
                continue
            equation = problem.on(self.asarray)

            def run(A: Any, Q: Any, equation: Any = equation) -> Any:
                structure = Diagonal(A, equation.A.paired) if isinstance(equation.A, Diagonal) else A
                return self.solve(replace(equation, A=structure, Q=Q)).value

            A = equation.A.eigenvalues if isinstance(equation.A, Diagonal) else equation.A
            inputs = tuple(M.clone().requires_grad_() for M in (A, equation.Q))
            assert torch.autograd.gradcheck(run, inputs, atol=1e-5, rtol=1e-3, fast_mode=True)


_SINGLE = {"d": np.float32, "D": np.complex64}
