"""The conformance suites catch what they are there for: each break makes the test that names it fail."""

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import pytest
import torch
from torch.autograd.gradcheck import GradcheckError

from ssm_gramians import BartelsStewart, Gram, Kronecker, Solution, Status
from ssm_gramians.backends.scipy import ScipyBackend
from ssm_gramians.backends.torch import TorchBackend
from ssm_gramians.solvers import _adapt
from ssm_gramians.testing import BackendConformance, SolverConformance, problems


class Naive(ScipyBackend):
    """Loses every digit of 1 - |a|^2 at the unit circle."""

    def stein_quotient(self, G, a, b):
        return G / (1 - a[..., :, None] * b.conj()[..., None, :])


class Forgetful(ScipyBackend):
    """Drops a conjugate."""

    def lyapunov_quotient(self, G, a, b):
        return -G / (a[..., :, None] + b[..., None, :])


class Boastful(ScipyBackend):
    """Claims a kernel that it does not have."""

    provides = ScipyBackend.provides | {"diagonal_kernel"}


class Modest(ScipyBackend):
    """Hides what it has."""

    provides = ScipyBackend.provides - {"schur"}


class Unscaled(ScipyBackend):
    """Takes the root of the matrix as it is."""

    def factor(self, X):
        values, V = np.linalg.eigh(X)
        return V * np.sqrt(np.clip(values, 0, None))[..., None, :]


class Scribbling(ScipyBackend):
    """Works in place."""

    def stein_quotient(self, G, a, b):
        result = super().stein_quotient(G, a, b)
        G[...] = result
        return G


@pytest.mark.parametrize(
    ("broken", "test", "arguments"),
    [
        (Naive, "test_quotients_do_not_cancel_at_the_unit_circle", ()),
        (Forgetful, "test_quotients_match_their_definition", ("complex128",)),
        (Boastful, "test_what_it_provides_is_its_own_and_the_rest_is_refused", ("diagonal_kernel",)),
        (Modest, "test_what_it_provides_is_its_own_and_the_rest_is_refused", ("schur",)),
        (Unscaled, "test_a_factor_reproduces_every_scale", ("float64",)),
        (Scribbling, "test_quotients_match_their_definition", ("complex128",)),
    ],
)
def test_a_broken_backend_fails(broken, test, arguments):
    class Suite(BackendConformance):
        backend = broken()

        def asarray(self, array):
            return np.array(array)

    with np.errstate(all="ignore"), pytest.raises(AssertionError):
        getattr(Suite(), test)(*arguments)


@dataclass(frozen=True)
class Whole:
    """Takes everything itself and has every law: what the broken ones below are made of."""

    needs: ClassVar = frozenset({"array"})
    equations: ClassVar = frozenset({"lyapunov", "stein", "sylvester"})
    structures: ClassVar = frozenset({"dense"})
    right_sides: ClassVar = frozenset({"dense", "gram"})
    descriptor: ClassVar = True

    def inner(self, backend):
        return BartelsStewart() if "schur" in backend.provides else Kronecker()

    def solve(self, equation, backend):
        return _adapt.apply(self.inner(backend), equation, backend)

    def factor(self, equation, backend):
        return _adapt.factorize(self.inner(backend), equation, backend)


class WrongSign(Whole):
    def solve(self, equation, backend):
        solution = super().solve(equation, backend)
        return solution if isinstance(solution.value, Gram) else replace(solution, value=-solution.value)


class WrongTranspose(Whole):
    def solve(self, equation, backend):
        return super().solve(equation.adjoint(), backend)


class DropsE(Whole):
    def solve(self, equation, backend):
        return super().solve(replace(equation, E=None), backend)


class HalvesTheGram(Whole):
    def solve(self, equation, backend):
        solution = super().solve(equation, backend)
        return replace(solution, value=Gram(solution.value.Z / 2)) if isinstance(solution.value, Gram) else solution


class FillsTheGram(Whole):
    """Adds a little noise, which gives every X full rank."""

    def solve(self, equation, backend):
        solution = super().solve(equation, backend)
        if not isinstance(solution.value, Gram):
            return solution
        Z = solution.value.Z
        noise = 1e-5 * np.linalg.norm(Z) * np.eye(Z.shape[-2], dtype=Z.dtype)
        return replace(solution, value=Gram(np.concatenate((Z, noise), axis=-1)))


class ClipsTheGram(Whole):
    """Cuts negative eigenvalues off the answer for a growing system, and says nothing."""

    def solve(self, equation, backend):
        if not isinstance(equation.Q, Gram):
            return super().solve(equation, backend)
        solution = super().solve(equation.with_right_side(equation.Q.to_dense()), backend)
        return Solution(Gram(backend.factor(solution.value)), solution.status, equation)


class FlattersItself(Whole):
    class Flattered(Solution):
        residual = 0.0

    def solve(self, equation, backend):
        solution = super().solve(equation, backend)
        return self.Flattered(solution.value * (1 + 1e-13), solution.status, equation)


class Widening(Whole):
    def solve(self, equation, backend):
        solution = super().solve(equation, backend)
        if isinstance(solution.value, Gram):
            return solution
        return replace(solution, value=solution.value.astype(np.complex128))


class InPlace(Whole):
    def solve(self, equation, backend):
        solution = super().solve(equation, backend)
        if not isinstance(equation.Q, Gram):
            equation.Q[...] = solution.value
        return solution


class FirstOnly(Whole):
    def solve(self, equation, backend):
        solution = super().solve(equation, backend)
        if isinstance(equation.Q, Gram) or equation.Q.ndim == 2:
            return solution
        return replace(solution, value=0.5 * solution.value)


class NeverEmpty(Whole):
    def solve(self, equation, backend):
        solution = super().solve(equation, backend)
        if 0 not in solution.value.shape:
            return solution
        return replace(solution, value=np.zeros((1, *solution.value.shape[1:])))


class Optimist(Whole):
    def solve(self, equation, backend):
        return Solution(super().solve(equation, backend).value, Status.CONVERGED, equation)


class Raising(Whole):
    def solve(self, equation, backend):
        super().solve(equation, backend).unwrap()
        return super().solve(equation, backend)


class Useless(Whole):
    equations: ClassVar = frozenset()


class Inventive(Whole):
    right_sides: ClassVar = frozenset({"dense", "sparse"})


class Padding(Whole):
    """Declares a structure in which none of its equations comes."""

    equations: ClassVar = frozenset({"sylvester"})
    structures: ClassVar = frozenset({"dense", "diagonal"})


class Stale(Whole):
    """A factorisation that gives its first answer again."""

    def factor(self, equation, backend):
        held = super().factor(equation, backend)
        answers = []

        class Held:
            solve_adjoint = staticmethod(held.solve_adjoint)

            def solve(self, Q):
                answers.append(held.solve(Q))
                return answers[0]

        return Held()


class SelfAdjoint(Whole):
    """A factorisation that takes every operator for its own adjoint."""

    def factor(self, equation, backend):
        held = super().factor(equation, backend)

        class Held:
            solve = solve_adjoint = staticmethod(held.solve)

        return Held()


def problem(text):
    (found,) = (candidate for candidate in problems() if str(candidate) == text)
    return found


BREAKS = [
    (WrongTranspose, "test_the_adjoint_equation_is_the_adjoint", ()),
    (WrongSign, "test_the_adjoint_equation_is_the_adjoint", ()),
    (DropsE, "test_known_answers", (problem("stein, dense: a real E"),)),
    (DropsE, "test_known_answers", (problem("sylvester, dense: E and F"),)),
    (HalvesTheGram, "test_known_answers", (problem("stein, gram: an E"),)),
    (FlattersItself, "test_known_answers", (problem("stein, dense: a general real matrix"),)),
    (FillsTheGram, "test_a_gram_has_the_rank_of_the_solution", ()),
    (ClipsTheGram, "test_a_growing_system_has_no_gram", ()),
    (Widening, "test_known_answers", (problem("stein, dense: a general real matrix"),)),
    (Widening, "test_single_precision_stays_single", ()),
    (InPlace, "test_inputs_are_untouched", ()),
    (InPlace, "test_read_only_inputs_are_enough", ()),
    (FirstOnly, "test_a_batch_equals_a_loop", ()),
    (FirstOnly, "test_one_matrix_serves_a_batch_of_right_hand_sides", ()),
    (NeverEmpty, "test_a_batch_of_nothing_is_nothing", ()),
    (Optimist, "test_a_singular_equation_has_a_status_and_does_not_raise", ()),
    (Raising, "test_a_singular_equation_has_a_status_and_does_not_raise", ()),
    (Useless, "test_declarations_decide_what_is_refused", ()),
    (Inventive, "test_the_declarations_use_known_words", ()),
    (Padding, "test_every_declaration_is_for_something", ()),
    (Stale, "test_a_factorisation_solves_for_many_right_hand_sides", ()),
    (SelfAdjoint, "test_a_factorisation_solves_for_many_right_hand_sides", ()),
]


def suite(under_test, on="scipy"):
    class Suite(SolverConformance):
        solver = under_test
        backend = on

        def asarray(self, array):
            return np.array(array) if on == "scipy" else torch.tensor(array)

    return Suite()


@pytest.mark.parametrize(("broken", "test", "arguments"), BREAKS)
def test_a_broken_solver_fails(broken, test, arguments):
    with pytest.raises((AssertionError, ArithmeticError, ValueError)):
        getattr(suite(broken()), test)(*arguments)


@pytest.mark.parametrize(("test", "arguments"), dict.fromkeys(row[1:] for row in BREAKS))
def test_a_whole_solver_passes_where_the_broken_ones_fail(test, arguments):
    getattr(suite(Whole()), test)(*arguments)


class Detached(TorchBackend):
    """Claims gradients, and cuts those with respect to the matrices."""

    def run(self, equation, solver):
        with torch.no_grad():
            solution = super().run(equation, solver)
        if isinstance(solution.value, Gram):
            return replace(solution, value=Gram(solution.value.Z + 0 * equation.Q.Z[..., :1]))
        return replace(solution, value=solution.value + 0 * equation.Q)


def test_a_backend_without_the_gradients_that_it_claims_fails():
    with pytest.raises(GradcheckError):
        suite(Whole(), on=Detached()).test_gradients_match_finite_differences()


def test_a_backend_with_gradients_passes_where_the_broken_one_fails():
    suite(Whole(), on="torch").test_gradients_match_finite_differences()
