"""Three inputs for which SciPy returns a wrong answer without a word: here the answer is right, or refused.

Each comes twice: what this package does, and what SciPy does, so that the claim can be checked.
"""

import warnings

import numpy as np
import pytest
import scipy.linalg

import ssm_gramians as sg

TO_THE_EDGE = 1e-12


def residual(a, q, x):
    terms = (a @ x @ a.conj().T, -x, q)
    return np.linalg.norm(sum(terms)) / sum(np.linalg.norm(term) for term in terms)


def mixed_kinds():
    rng = np.random.default_rng(1)
    a = rng.standard_normal((12, 12)) / 5
    Q = rng.standard_normal((12, 12)) + 1j * rng.standard_normal((12, 12))
    return a, Q


def mode_next_to_minus_one():
    rng = np.random.default_rng(2)
    V, _ = np.linalg.qr(rng.standard_normal((12, 12)))
    a = V @ np.diag([-(1 - TO_THE_EDGE), *np.linspace(-0.5, 0.9, 11)]) @ V.T
    return a, np.eye(12)


def growing_mode():
    return np.diag([1.2, *np.linspace(-0.5, 0.9, 11)]), np.ones((12, 12))


def scipy_answer(a, q):
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # in silence means: this raises nothing
        return scipy.linalg.solve_discrete_lyapunov(a, q)


def skip_if_repaired(is_wrong):
    if not is_wrong:
        pytest.skip(f"SciPy {scipy.__version__} has this one right")


SOLVERS = [None, sg.BartelsStewart(), sg.Kronecker(), sg.SquaredSmith()]


@pytest.mark.parametrize("solver", SOLVERS, ids=lambda solver: type(solver).__name__ if solver else "default")
def test_a_real_a_with_a_complex_q_is_right(solver):
    a, q = mixed_kinds()

    x = sg.solve_discrete_lyapunov(a, q, solver=solver)

    assert residual(a, q, x) < 1e-14


def test_scipy_is_wrong_for_a_real_a_with_a_complex_q():
    a, q = mixed_kinds()

    x = scipy_answer(a, q)

    skip_if_repaired(residual(a, q, x) > 1e-3)


@pytest.mark.parametrize("solver", SOLVERS, ids=lambda solver: type(solver).__name__ if solver else "default")
def test_a_mode_next_to_minus_one_is_right(solver):
    a, q = mode_next_to_minus_one()

    x = sg.solve_discrete_lyapunov(a, q, solver=solver)

    assert residual(a, q, x) < 1e-14


def test_scipy_is_wrong_next_to_minus_one():
    a, q = mode_next_to_minus_one()

    x = scipy_answer(a, q)

    skip_if_repaired(residual(a, q, x) > 1e-8)


@pytest.mark.parametrize("factors", [False, True])
def test_the_gramian_of_an_unstable_system_is_refused_by_name(factors):
    a, _ = growing_mode()
    system = sg.StateSpace(a, np.ones((12, 1)), np.ones((1, 12)), dt=1.0)

    with pytest.raises(sg.InstabilityError, match=r"1\.2") as caught:
        (sg.gramian_factors if factors else sg.controllability_gramian)(system)

    assert abs(caught.value.eigenvalue - 1.2) < 1e-12


def test_an_iteration_on_an_unstable_matrix_says_that_it_diverged():
    a, q = growing_mode()

    solution = sg.solve(sg.Stein(a, q), sg.SquaredSmith())

    assert solution.status is sg.Status.DIVERGED
    with pytest.raises(sg.ConvergenceError, match="stable"):
        solution.unwrap()


def test_the_equation_itself_has_a_solution_which_is_indefinite():
    a, q = growing_mode()

    x = sg.solve_discrete_lyapunov(a, q, solver=sg.BartelsStewart())

    assert residual(a, q, x) < 1e-14
    assert np.linalg.eigvalsh(x)[0] < 0  # right for the equation, and no Gramian: the reason for InstabilityError


def test_scipy_hands_out_an_indefinite_gramian():
    a, q = growing_mode()

    x = scipy_answer(a, q)

    skip_if_repaired(np.linalg.eigvalsh(x)[0] < 0)
