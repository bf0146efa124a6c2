"""The matrix sign iteration."""

import numpy as np
import pytest

from ssm_gramians import BartelsStewart, Gram, Lyapunov, SignIteration, Status, solve
from ssm_gramians.testing.asserts import as_numpy, assert_close


def stable(rng, *shape):
    A = rng.standard_normal(shape)
    growth = np.linalg.eigvals(A).real.max(-1)[..., None, None]
    return A - (growth + 0.1) * np.eye(shape[-1])


@pytest.mark.parametrize("kind", [np.float64, np.complex128])
@pytest.mark.parametrize("with_e", [False, True])
def test_it_agrees_with_a_direct_solver(rng, asarray, kind, with_e):
    A, Q = stable(rng, 2, 3, 6, 6).astype(kind), rng.standard_normal((2, 3, 6, 6)).astype(kind)
    E = (np.eye(6) + 0.3 * rng.standard_normal((6, 6))).astype(kind) if with_e else None
    A = A if E is None else E @ A
    equation = Lyapunov(A, Q, None if E is None else np.broadcast_to(E, A.shape).copy())

    moved = Lyapunov(asarray(A), asarray(Q), None if E is None else asarray(equation.E))
    solution = solve(moved, SignIteration())

    assert solution.converged
    assert_close(solution.value, solve(equation, BartelsStewart()).value, rtol=1e-10)
    assert np.all(as_numpy(solution.residual) < 1e-13)


@pytest.mark.parametrize("with_e", [False, True])
def test_a_factored_iteration_is_the_dense_one(rng, with_e):
    A, B = stable(rng, 20, 20), rng.standard_normal((20, 2))
    E = np.eye(20) + 0.1 * rng.standard_normal((20, 20)) if with_e else None
    A = A if E is None else E @ A

    solution = solve(Lyapunov(A, Gram(B), E), SignIteration())

    assert solution.converged
    assert solution.value.rank <= 20
    assert_close(solution.value.to_dense(), solve(Lyapunov(A, B @ B.T, E), BartelsStewart()).value, rtol=1e-10)


def test_scaling_brings_far_eigenvalues_near_in_a_few_steps():
    A = -np.diag(np.logspace(-4, 4, 9))

    solution = solve(Lyapunov(A, np.eye(9)), SignIteration())

    assert solution.converged
    assert solution.steps <= 16
    np.testing.assert_allclose(np.diag(solution.value), -0.5 / np.diag(A), rtol=1e-12)


@pytest.mark.parametrize("A", [np.diag([-1.0, 2.0]), np.array([[0.0, 1.0], [-1.0, 0.0]]), np.diag([-1.0, 0.0])])
def test_what_is_not_stable_is_refused(A):
    solution = solve(Lyapunov(A, np.eye(2)), SignIteration())

    assert solution.status in {Status.DIVERGED, Status.SINGULAR, Status.STEPS_EXHAUSTED}


def test_single_precision_stays_single(rng):
    A = stable(rng, 8, 8).astype(np.float32)

    solution = solve(Lyapunov(A, np.eye(8, dtype=np.float32)), SignIteration())

    assert solution.converged
    assert solution.value.dtype == np.float32
