"""Squared Smith on hard cases: dense and factored, one system and a batch, on every kind of array."""

import numpy as np
import pytest
import torch

from ssm_gramians import Gram, Lyapunov, SquaredSmith, Status, Stein, factor, solve
from ssm_gramians.backends._mild_spectrum import doublings_of
from ssm_gramians.solvers.cayley import cayley
from ssm_gramians.testing.asserts import as_numpy, assert_close

BACKENDS = ("scipy", "numba")


def with_radius(A, radius):
    """Scale a batch of matrices to a spectral radius."""
    return A * (radius / np.abs(np.linalg.eigvals(A)).max(-1))[..., None, None]


def series(A, Q, terms):
    """Sum by the definition."""
    X, power = np.zeros_like(Q), np.eye(A.shape[-1])
    for _ in range(terms):
        X, power = X + power @ Q @ power.conj().T, power @ A
    return X


@pytest.mark.parametrize("kind", ["float32", "float64", "complex64", "complex128"])
@pytest.mark.parametrize("n", [1, 2, 5, 8, 13, 33])
@pytest.mark.parametrize("hermitian", [True, False])
def test_the_compiled_loop_agrees_with_matrix_products(rng, kind, n, hermitian):
    A = with_radius(rng.standard_normal((3, n, n)) + 1j * rng.standard_normal((3, n, n)), 0.8)
    A = (A if "complex" in kind else with_radius(A.real, 0.8)).astype(kind)
    Q = A @ A.conj().mT if hermitian else A
    Q = (Q + Q.conj().mT) / 2 if hermitian else Q

    compiled, products = (solve(Stein(A, Q), SquaredSmith(), name) for name in ("numba", "scipy"))

    assert compiled.converged
    assert compiled.value.dtype == A.dtype
    assert_close(compiled.value, products.value, rtol=200 * n * float(np.finfo(kind).eps))
    assert np.all(np.abs(compiled.residual - products.residual) < 50 * n * np.finfo(kind).eps)
    if hermitian:
        assert np.array_equal(compiled.value, compiled.value.conj().mT)


@pytest.mark.parametrize("backend", BACKENDS)
def test_one_unstable_system_spoils_the_status_but_not_the_others(rng, backend):
    A = with_radius(rng.standard_normal((2, 3, 6, 6)), 0.9)
    A[1, 2] *= 1.5
    Q = np.broadcast_to(np.eye(6), A.shape)

    solution = solve(Stein(A, Q), SquaredSmith(), backend)

    assert solution.status is Status.DIVERGED
    assert solution.steps <= 9
    assert_close(solution.value[0, 1], series(A[0, 1], np.eye(6), 400), rtol=1e-13)
    assert solution.residual[1, 2] > 1e-3


@pytest.mark.parametrize("backend", BACKENDS)
def test_systems_that_finish_at_different_steps_are_all_right(rng, backend):
    radii = np.array([0.999, 0.1, 0.5, 0.0, 0.99, 0.9])
    A = with_radius(rng.standard_normal((6, 7, 7)), radii)
    Q = np.stack([M @ M.T for M in rng.standard_normal((6, 7, 7))])

    solution = solve(Stein(A, Q), SquaredSmith(), backend)

    assert solution.converged
    assert np.all(solution.residual < 1e-14)
    for k in range(6):
        assert_close(solution.value[k], solve(Stein(A[k], Q[k]), SquaredSmith(), backend).value, rtol=1e-12)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("gap", [1e-4, 1e-8, 1e-12])
def test_an_eigenvalue_next_to_the_circle_takes_its_doublings(backend, gap):
    A, Q = np.diag([-(1 - gap), 0.5]), np.ones((2, 2))

    solution = solve(Stein(A, Q), SquaredSmith(), backend)

    exact = Q / (1 - np.diag(A)[:, None] * np.diag(A))
    assert solution.converged
    assert solution.steps <= np.log2(18 / gap) + 2
    np.testing.assert_allclose(solution.value, exact, rtol=1e-3 * 1e-13 / gap + 1e-14)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_power_that_grows_before_it_decays_is_no_divergence(backend):
    A = np.diag(np.full(7, 30.0), k=1) + 0.1 * np.eye(8)

    solution = solve(Stein(A, np.eye(8)), SquaredSmith(), backend)

    assert solution.status is not Status.DIVERGED
    assert solution.residual < 1e-13


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_defective_matrix_is_no_obstacle(backend):
    A, Q = 0.5 * np.eye(6) + np.eye(6, k=1), np.eye(6)

    solution = solve(Stein(A, Q), SquaredSmith(), backend)

    assert solution.converged
    assert_close(solution.value, series(A, Q, 200), rtol=1e-13)


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_circle_itself_exhausts_the_steps(backend):
    turn = np.array([[0.6, -0.8], [0.8, 0.6]])

    solution = solve(Stein(turn, np.eye(2)), SquaredSmith(max_steps=20), backend)

    assert solution.status is Status.STEPS_EXHAUSTED
    assert solution.steps == 20


def test_a_system_that_overflows_has_diverged_without_a_warning():
    A = np.full((1, 2, 2), 1e200)

    assert solve(Stein(A, A), SquaredSmith(), "scipy").status is Status.DIVERGED
    assert solve(Stein(A, A), SquaredSmith(), "numba").status is Status.DIVERGED


@pytest.mark.parametrize("name", ["stein", "lyapunov"])
@pytest.mark.parametrize("columns", [1, 3, 12, 20])
def test_a_factored_sum_is_the_dense_one(rng, asarray, name, columns):
    A = with_radius(rng.standard_normal((2, 12, 12)), 0.9)
    A, kind = (A, Stein) if name == "stein" else (A - 2 * np.eye(12), Lyapunov)
    B = rng.standard_normal((2, 12, columns))

    thin = solve(kind(asarray(A), Gram(asarray(B))), SquaredSmith())
    dense = solve(kind(A, B @ B.mT), SquaredSmith())

    assert thin.converged
    assert thin.value.rank <= 12
    assert_close(thin.value.to_dense(), dense.value, rtol=1e-12)
    assert np.all(as_numpy(thin.residual) < 1e-14)


def test_a_factor_has_no_more_columns_than_the_rank(rng):
    left = rng.standard_normal((40, 4))
    A, B = 0.1 * left @ left.T / np.linalg.norm(left, 2) ** 2, left[:, :2]

    solution = solve(Stein(A, Gram(B)), SquaredSmith())

    assert solution.converged
    assert solution.value.rank <= 4


def test_rows_of_any_scale_keep_their_digits_without_truncation():
    scale = np.logspace(0, -30, 6)
    A, B = np.diag(np.linspace(0.1, 0.9, 6)), scale[:, None] * np.ones((6, 1))

    Z = solve(Stein(A, Gram(B)), SquaredSmith(truncate=0.0)).value.Z

    exact = scale[:, None] * scale / (1 - np.outer(np.diag(A), np.diag(A)))
    np.testing.assert_allclose(Z @ Z.T, exact, rtol=1e-12)


@pytest.mark.parametrize("A", [np.array([[1.2]]), np.array([[0.5, 1.0], [0.0, 1.01]])])
def test_a_factored_sum_of_an_unstable_system_is_refused(A):
    solution = solve(Stein(A, Gram(np.ones((len(A), 1)))), SquaredSmith())

    assert solution.status is Status.DIVERGED


def test_a_slow_decay_is_foreseen_before_anything_is_squared(rng):
    A = np.diag(np.linspace(0.1, 0.9999, 64))

    solution = solve(Stein(A, Gram(np.ones((64, 1)))), SquaredSmith(max_steps=10))

    assert solution.status is Status.STEPS_EXHAUSTED
    assert solution.steps < 10


@pytest.mark.parametrize("kind", [Stein, Lyapunov])
def test_a_dense_equation_that_would_take_too_long_is_given_up_at_once(asarray, kind):
    A = np.broadcast_to(np.diag([0.5, 0.9999]) - (0 if kind is Stein else np.diag([1e3, 1.0])), (2, 2, 2)).copy()

    work = factor(kind(asarray(A)), SquaredSmith(max_steps=6))

    for solution in (
        solve(kind(asarray(A), asarray(np.eye(2))), SquaredSmith(max_steps=6)),
        work.solve(asarray(np.eye(2))),
    ):
        assert solution.status is Status.STEPS_EXHAUSTED
        assert solution.steps == 0
        assert tuple(solution.value.shape) == (2, 2, 2)


@pytest.mark.parametrize("name", ["stein", "lyapunov"])
def test_a_factorisation_shares_its_powers_between_an_equation_and_its_adjoint(rng, asarray, name):
    A = with_radius(rng.standard_normal((2, 5, 5)) + 1j * rng.standard_normal((2, 5, 5)), 0.9)
    A, kind = (A, Stein) if name == "stein" else (A - 2 * np.eye(5), Lyapunov)
    Q = A @ A.conj().mT

    held = factor(kind(asarray(A)), SquaredSmith())

    for solution, matrix in ((held.solve(asarray(Q)), A), (held.solve_adjoint(asarray(Q)), A.conj().mT)):
        assert solution.converged
        assert_close(solution.value, solve(kind(matrix, Q), SquaredSmith()).value, rtol=1e-12)
    assert held.solve_adjoint(Gram(asarray(Q))).converged


def test_gradients_reach_both_inputs_of_a_factored_sum():
    A = torch.tensor([[0.5, 0.2], [-0.1, 0.3]], dtype=torch.float64, requires_grad=True)
    B = torch.tensor([[1.0], [2.0]], dtype=torch.float64, requires_grad=True)

    assert torch.autograd.gradcheck(
        lambda A, B: solve(Stein(A, Gram(B)), SquaredSmith()).value.to_dense(), (A, B), atol=1e-6
    )


def test_a_cayley_transform_maps_the_left_half_plane_into_the_disc(rng, asarray):
    A = rng.standard_normal((3, 6, 6)) - 4 * np.eye(6)
    from ssm_gramians import get_backend

    M, inverse, scale = (as_numpy(part) for part in cayley(asarray(A), get_backend(asarray(A))))

    assert np.all(np.abs(np.linalg.eigvals(M)) < 1)
    p = scale / 2
    assert_close((p * np.eye(6) - A) @ inverse, np.broadcast_to(np.eye(6), A.shape), rtol=1e-13)
    assert_close(M, (p * np.eye(6) + A) @ inverse, rtol=1e-13)


def test_the_doublings_of_a_mild_spectrum_are_foreseen_and_a_stiff_one_is_known(rng):
    mild = rng.standard_normal((100, 100)) / 10 - 1.5 * np.eye(100)
    stiff = -np.diag(np.logspace(-3, 3, 100))

    foreseen, taken = doublings_of(mild), solve(Lyapunov(mild, np.eye(100)), SquaredSmith()).steps

    assert abs(foreseen - taken) <= 1
    assert doublings_of(stiff) > 8
    assert doublings_of(-mild) == np.inf
