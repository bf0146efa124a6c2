"""The conformance suites catch what they are there for: each break makes the test that names it fail."""

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import pytest

from ssm_gramians import BartelsStewart, Solution, Status
from ssm_gramians.backends.scipy import ScipyBackend
from ssm_gramians.testing import BackendConformance, SolverConformance


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
class _Broken:
    needs: ClassVar = BartelsStewart.needs
    equations: ClassVar = BartelsStewart.equations
    structures: ClassVar = BartelsStewart.structures
    right_sides: ClassVar[frozenset[str]] = frozenset({"dense"})
    descriptor: ClassVar[bool] = False

    def solve(self, equation, backend):
        return BartelsStewart().solve(equation, backend)


class WrongSign(_Broken):
    def solve(self, equation, backend):
        solution = super().solve(equation, backend)
        return replace(solution, value=-solution.value)


class WrongTranspose(_Broken):
    def solve(self, equation, backend):
        return super().solve(equation.adjoint(), backend)


class Widening(_Broken):
    def solve(self, equation, backend):
        solution = super().solve(equation, backend)
        return replace(solution, value=solution.value.astype(np.complex128))


class InPlace(_Broken):
    def solve(self, equation, backend):
        solution = super().solve(equation, backend)
        equation.Q[...] = solution.value
        return solution


class FirstOnly(_Broken):
    def solve(self, equation, backend):
        solution = super().solve(equation, backend)
        return (
            replace(solution, value=np.broadcast_to(0.5 * solution.value, solution.value.shape).copy())
            if equation.Q.ndim > 2
            else solution
        )


class Optimist(_Broken):
    def solve(self, equation, backend):
        return Solution(super().solve(equation, backend).value, Status.CONVERGED, equation)


class Raising(_Broken):
    def solve(self, equation, backend):
        super().solve(equation, backend).unwrap()
        return super().solve(equation, backend)


class Useless(_Broken):
    equations: ClassVar = frozenset()


@pytest.mark.parametrize(
    ("broken", "test", "arguments"),
    [
        (WrongTranspose, "test_the_adjoint_equation_is_the_adjoint", ()),
        (WrongSign, "test_the_adjoint_equation_is_the_adjoint", ()),
        (Widening, "test_library_device_and_precision_stay", (True,)),
        (InPlace, "test_inputs_are_untouched", ()),
        (FirstOnly, "test_a_batch_equals_a_loop", ()),
        (Optimist, "test_a_singular_equation_has_a_status_and_does_not_raise", ()),
        (Raising, "test_a_singular_equation_has_a_status_and_does_not_raise", ()),
        (Useless, "test_declarations_decide_what_is_refused", ()),
    ],
)
def test_a_broken_solver_fails(broken, test, arguments):
    class Suite(SolverConformance):
        solver = broken()
        backend = "scipy"

        def asarray(self, array):
            return np.array(array)

    with pytest.raises((AssertionError, ArithmeticError)):
        getattr(Suite(), test)(*arguments)


def test_a_whole_solver_passes_where_the_broken_ones_fail():
    class Suite(SolverConformance):
        solver = _Broken()
        backend = "scipy"

        def asarray(self, array):
            return np.array(array)

    suite = Suite()
    suite.test_the_adjoint_equation_is_the_adjoint()
    suite.test_library_device_and_precision_stay(True)
    suite.test_inputs_are_untouched()
    suite.test_a_batch_equals_a_loop()
    suite.test_a_singular_equation_has_a_status_and_does_not_raise()
