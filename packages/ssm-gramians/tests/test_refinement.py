"""Mixed precision: single-precision solves, double-precision answers."""

import numpy as np
import pytest

from ssm_gramians import Lyapunov, Refined, SquaredSmith, Status, Stein, factor, solve
from ssm_gramians.testing.asserts import as_numpy, assert_close


def with_radius(A, radius):
    return A * (radius / np.abs(np.linalg.eigvals(A)).max(-1))[..., None, None]


@pytest.mark.parametrize("radius", [0.5, 0.99, 0.9999])
def test_two_corrections_give_the_digits_of_double_precision(rng, asarray, radius):
    A = with_radius(rng.standard_normal((4, 24, 24)), radius)
    Q = np.broadcast_to(np.eye(24), A.shape).copy()

    solution = solve(Stein(asarray(A), asarray(Q)), Refined())

    assert solution.converged
    assert solution.steps <= 3
    assert np.all(as_numpy(solution.residual) < 1e-14)
    assert_close(solution.value, solve(Stein(A, Q), SquaredSmith()).value, rtol=1e-14 / (1 - radius))


def test_where_single_precision_does_not_contract_double_takes_over():
    A, Q = np.diag([1 - 1e-9, 0.5]), np.eye(2)

    solution = solve(Stein(A, Q), Refined())

    assert solution.converged
    np.testing.assert_allclose(np.diag(solution.value), 1 / (1 - np.diag(A) ** 2), rtol=1e-6)
    assert solution.residual < 1e-15


def test_entries_beyond_single_precision_are_solved_in_double():
    A = np.array([[-1e60]])

    np.testing.assert_allclose(solve(Lyapunov(A, np.ones((1, 1))), Refined()).value, [[5e-61]], rtol=1e-14)


def test_right_hand_sides_of_any_scale_are_refined(rng):
    A = with_radius(rng.standard_normal((5, 5)), 0.9)
    small, plain = (solve(Stein(A, size * np.eye(5)), Refined()) for size in (1e-100, 1.0))

    assert small.converged
    assert_close(small.value * 1e100, plain.value, rtol=1e-13)


def test_an_unstable_system_is_refused():
    assert solve(Stein(np.diag([1.1, 0.2]), np.eye(2)), Refined()).status is Status.DIVERGED


def test_the_adjoint_shares_the_factorisation(rng):
    A = with_radius(rng.standard_normal((6, 6)) + 1j * rng.standard_normal((6, 6)), 0.9)

    held = factor(Stein(A), Refined())

    assert_close(
        held.solve_adjoint(np.eye(6) + 0j).value,
        solve(Stein(A.conj().T, np.eye(6) + 0j), SquaredSmith()).value,
        rtol=1e-13,
    )
