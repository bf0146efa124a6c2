"""What a solver promises."""

# ruff: noqa: D102  (the name of a test is its documentation)

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from .._arrays import Array
from .._diagonal import Diagonal
from .._equations import Equation
from .._errors import UnsupportedError
from .._gram import Gram
from .._residual import relative_residual
from .._solve import factor
from .._structure import kind_of
from ..backends import get_backend
from ._answers import EPS, PROBLEMS, AnswerLaws
from .asserts import assert_close, assert_same_kind, assert_untouched
from .problems import Problem, array_of, convert, convert_right_side, dense_of

_EQUATIONS = frozenset({"lyapunov", "stein", "sylvester"})
_STRUCTURES = frozenset({"dense", "diagonal", "dplr", "matrix_free", "sparse"})
_RIGHT_SIDES = frozenset({"dense", "gram"})
_SINGLE = {"d": np.float32, "D": np.complex64}


class SolverConformance(AnswerLaws):
    """Inherit, set `solver` and `backend`, and say how a NumPy array becomes one of the backend's arrays.

    Set `iterative = True` if A must be stable, and `rtol` to the tolerance of an iteration that ends before rounding.
    """

    def test_the_declarations_use_known_words(self) -> None:
        solver = self.solver
        assert solver.equations <= _EQUATIONS
        assert solver.structures <= _STRUCTURES
        assert solver.right_sides <= _RIGHT_SIDES
        assert solver.right_sides, "a solver must take a right-hand side"
        assert isinstance(solver.descriptor, bool)

    def test_declarations_decide_what_is_refused(self) -> None:
        assert self.served(), "a solver must serve something"
        for problem in PROBLEMS:
            if self.possible(problem) and not self.serves(problem):
                with pytest.raises(UnsupportedError):
                    self.solve(problem.on(self.asarray))

    def test_every_declaration_is_for_something(self) -> None:
        for name in self.solver.equations:
            assert any(problem.equation.name == name for problem in self.served()), f"{name} is never served"
        kinds = {kind_of(problem.equation.A) for problem in PROBLEMS if self.possible(problem)}
        for kind in self.solver.structures & kinds:
            assert any(kind_of(problem.equation.A) == kind for problem in self.served()), f"{kind} is never served"

    def test_inputs_are_untouched(self) -> None:
        for problem in self.served(stable=True):
            equation = problem.on(self.asarray)
            with assert_untouched(*equation.arrays.values()):
                self.solve(equation)

    def test_read_only_inputs_are_enough(self) -> None:
        if not isinstance(self.asarray(np.zeros(1)), np.ndarray):
            pytest.skip("the arrays are never read-only")

        def frozen(array: Any) -> Array:
            made = np.array(self.asarray(array))
            made.flags.writeable = False
            return made

        for problem in self.served(stable=True):
            self.solve(convert(problem.equation, frozen))

    def test_single_precision_stays_single(self) -> None:
        def single(array: Any) -> Array:
            return self.asarray(array.astype(np.result_type(_SINGLE[array.dtype.char])))

        for problem in self.served(stable=True, most=1e4):  # beyond it, no digit is left
            answer = single(np.asarray(problem.answer))
            value = self.solve(convert(problem.equation, single)).value

            assert_same_kind(array_of(value), answer)
            assert_close(dense_of(value), answer, rtol=self.tolerance(problem, 1e-6))

    def test_a_batch_equals_a_loop(self) -> None:
        for problem in self._batched():
            single = dense_of(self.solve(problem.on(self.asarray)).value)

            batch = self.solve(
                convert(problem.equation, lambda array: self.asarray(np.stack([array] * 2).reshape(2, 1, *array.shape)))
            )

            assert batch.converged
            assert tuple(batch.residual.shape) == (2, 1)
            for row in range(2):
                assert_close(dense_of(batch.value)[row, 0, ...], single, rtol=self.tolerance(problem, 10 * EPS))

    def test_one_matrix_serves_a_batch_of_right_hand_sides(self) -> None:
        for problem in self._batched():
            Q = problem.equation.Q
            stacked = np.stack([array_of(Q), 2 * array_of(Q)])
            equation = problem.equation.with_right_side(Gram(stacked) if problem.is_gram else stacked)

            value = dense_of(self.solve(convert(equation, self.asarray)).value)

            factor_of_two = 4 if problem.is_gram else 2
            assert_close(value[1, ...], factor_of_two * problem.answer, rtol=self.tolerance(problem, 10 * EPS))

    def test_a_batch_of_nothing_is_nothing(self) -> None:
        for problem in self._batched():
            equation = convert(problem.equation, lambda array: self.asarray(np.empty((0, *array.shape), array.dtype)))
            value = self.solve(equation).value
            assert tuple(value.shape) == (0, *np.shape(problem.answer))

    def test_a_factorisation_solves_for_many_right_hand_sides(self) -> None:
        for problem in self.served(stable=True, most=1e5):
            operator = convert(problem.equation.with_right_side(None), self.asarray)
            Q, R = (convert_right_side(M, self.asarray) for M in (problem.equation.Q, self._other_right_side(problem)))
            held = factor(operator, self.solver, self.backend)

            with assert_untouched(*operator.arrays.values(), array_of(Q), array_of(R)):
                other, Y, X = held.solve(R), held.solve_adjoint(R), held.solve(Q)

            assert other.converged
            assert X.converged
            assert isinstance(X.value, Gram) == problem.is_gram
            assert_close(dense_of(X.value), problem.answer, rtol=self.tolerance(problem))
            assert float(relative_residual(operator.with_right_side(R), other.value)) < max(1e-12, 10 * self.rtol)
            self.assert_adjoint(problem, self._other_right_side(problem), Y.value)

    def test_gradients_match_finite_differences(self) -> None:
        if "autograd" not in get_backend(self.backend).provides:
            pytest.skip("the backend has no gradients")
        import torch

        for problem in self.served(stable=True, most=1e4)[::2]:  # each costs several solves
            equation = problem.on(self.asarray)

            modes = equation.A if isinstance(equation.A, Diagonal) else None
            logs = None if modes is None else modes.log_eigenvalues  # if known, they make the eigenvalues
            free = [M for M in equation.arrays.values() if modes is None or logs is None or M is not modes.eigenvalues]

            def run(*arrays: Any, equation: Equation = equation, free: Any = free, modes: Any = modes) -> Any:
                new = {id(old): array for old, array in zip(free, arrays, strict=True)}
                if len(free) < len(equation.arrays):
                    made = Diagonal.from_log(new[id(modes.log_eigenvalues)])
                    new[id(modes.eigenvalues)] = made.eigenvalues
                return dense_of(self.solve(convert(equation, lambda old: new[id(old)])).value)

            inputs = tuple(array.clone().requires_grad_() for array in free)
            assert torch.autograd.gradcheck(run, inputs, atol=1e-5, rtol=1e-3, fast_mode=True), problem

    def _batched(self) -> list[Problem]:
        return [problem for problem in self.served(stable=True) if problem.batches]
