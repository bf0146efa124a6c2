import numpy as np
import pytest
import torch
from scipy import sparse

from ssm_gramians import (
    BartelsStewart,
    Diagonal,
    Gram,
    Kronecker,
    Lyapunov,
    Sparse,
    Stein,
    Sylvester,
    diagnose,
    hankel_floor,
    solve,
)
from ssm_gramians._slowest_pole import slowest_pole
from ssm_gramians.testing import as_numpy, assert_close
from ssm_gramians.testing.problems import convert

EPS = np.finfo(float).eps


def smallest_singular_value(equation):
    """Return sep from the Kronecker matrix of the operator, column by column."""
    n, m = equation.shape
    dense = equation.to_dense().with_right_side(np.zeros((n, m)))
    columns = [sum(dense.terms(unit.reshape(n, m))).ravel() for unit in np.eye(n * m)]
    return np.linalg.svd(np.array(columns), compute_uv=False)[-1]


def stable(rng, n=5, *, discrete=False):
    A = rng.standard_normal((n, n))
    return A / (1.1 * np.linalg.norm(A, 2)) if discrete else A - 4 * np.eye(n)


@pytest.mark.parametrize("name", ["lyapunov", "stein", "sylvester", "descriptor", "modes", "complex", "one state"])
def test_the_separation_is_that_of_the_kronecker_matrix(asarray, rng, name):
    A, Q = stable(rng), np.eye(5)
    equation = {
        "lyapunov": Lyapunov(A, Q),
        "stein": Stein(stable(rng, discrete=True), Q),
        "sylvester": Sylvester(A, A[:3, :3], np.ones((5, 3))),
        "descriptor": Lyapunov(A, Q, np.eye(5) + rng.standard_normal((5, 5)) / 8),
        "modes": Stein(Diagonal(np.array([0.9, 0.8j, -0.3 + 0j, 0.5, 0.1j])), Q),
        "complex": Lyapunov(A + 1j * stable(rng) / 4, Q),
        "one state": Lyapunov(np.array([[-0.5]]), np.array([[1.0]])),
    }[name]
    mine = convert(equation, asarray)

    sep = float(diagnose(mine, solve(mine, Kronecker() if name == "sylvester" else None)).separation)

    exact = smallest_singular_value(equation)
    assert exact * (1 - 1e-12) <= sep <= 1.3 * exact


@pytest.mark.parametrize("distance", [1.0, 1e-4, 1e-8])
@pytest.mark.parametrize("discrete", [False, True])
def test_the_error_estimate_bounds_the_error(rng, distance, discrete):
    T = rng.standard_normal((4, 4))
    values = np.array([1 - distance, 0.5, -0.3, 0.1]) if discrete else np.array([-distance, -1.0, -2.0, -3.0])
    A = T @ np.diag(values) @ np.linalg.inv(T)
    G = np.linalg.inv(T) @ np.linalg.inv(T).T
    exact_modes = G / (1 - np.outer(values, values)) if discrete else -G / np.add.outer(values, values)
    equation = Stein(A, np.eye(4)) if discrete else Lyapunov(A, np.eye(4))

    solution = solve(equation, BartelsStewart())
    found = diagnose(equation, solution)

    error = np.linalg.norm(solution.value - T @ exact_modes @ T.T) / np.linalg.norm(T @ exact_modes @ T.T)
    assert error <= 10 * float(found.error)  # the reference itself has the conditioning of T
    assert float(found.error) < 1e-12 / distance


def test_a_wrong_solution_is_found_out(rng):
    A = stable(rng)
    equation = Lyapunov(A, np.eye(5))
    X = solve(equation).value
    wrong = X + 1e-3 * np.linalg.norm(X) * np.diag([1.0, 0, 0, 0, 0])

    found = diagnose(equation, wrong)

    assert 1e-3 * np.linalg.norm(X) / np.linalg.norm(wrong) <= float(found.error) < 1
    assert any("half of the digits" in text for text in found.concerns)


def test_nothing_speaks_against_a_good_solution(rng):
    equation = Lyapunov(stable(rng), np.eye(5))

    found = diagnose(equation, solve(equation))

    assert found.concerns == ()
    assert float(found.error) < 1e-13
    assert float(found.growth) == pytest.approx(max(np.linalg.eigvals(equation.A).real))


def test_a_growing_mode_is_named():
    equation = Stein(np.diag([0.5, -1.25]), np.eye(2))

    found = diagnose(equation, solve(equation, BartelsStewart()))

    assert complex(found.slowest) == -1.25
    assert float(found.growth) == 0.25
    assert any("does not decay" in text for text in found.concerns)
    assert any("indefinite" in text for text in found.concerns)


def test_a_nearly_unstable_mode_is_told(rng):
    T = rng.standard_normal((3, 3))
    equation = Lyapunov(T @ np.diag([-1e-12, -1.0, -2.0]) @ np.linalg.inv(T), np.eye(3))

    found = diagnose(equation, solve(equation, BartelsStewart()))

    assert any("nearly unstable" in text for text in found.concerns)


def test_slow_modes_in_closed_form_are_no_concern():
    equation = Lyapunov(Diagonal(np.array([-1e-12, -1.0])), np.eye(2))

    assert diagnose(equation, solve(equation)).concerns == ()


def test_a_singular_equation_has_no_error_bound():
    equation = Lyapunov(np.diag([1.0, -1.0]), np.eye(2))

    found = diagnose(equation, np.eye(2))

    assert float(found.separation) == 0
    assert float(found.error) == np.inf


@pytest.mark.parametrize("batch", [(0,), (1,), (2, 3)])
def test_a_batch_is_diagnosed_system_by_system(asarray, rng, batch):
    A = rng.standard_normal((*batch, 3, 3)) - 4 * np.eye(3)
    mine = Lyapunov(asarray(A), asarray(np.eye(3)))

    found = diagnose(mine, solve(mine))

    assert found.error.shape == batch
    assert "relative residual" in str(found)
    for index in np.ndindex(batch):
        one = Lyapunov(A[index], np.eye(3))
        assert_close(as_numpy(found.separation)[index][None], diagnose(one, solve(one)).separation[None], rtol=1e-3)


def test_single_precision_is_judged_by_its_own_eps(rng):
    A = stable(rng).astype(np.float32)
    equation = Lyapunov(A, np.eye(5, dtype=np.float32))

    found = diagnose(equation, solve(equation))

    assert found.eps == np.finfo(np.float32).eps
    assert 1e-8 < float(found.error) < 1e-4
    assert found.concerns == ()


def test_the_summary_names_what_matters():
    equation = Stein(np.diag([0.5, -1.25]), np.eye(2))

    text = str(diagnose(equation, solve(equation, BartelsStewart())))

    assert text.splitlines()[0] == "stein equation of order 2, full solution"
    for word in (
        "relative residual",
        "spectral radius - 1  2.500e-01",
        "separation",
        "digits",
        "! a mode does not decay",
    ):
        assert word in text


def test_a_factor_is_diagnosed_as_one(rng):
    A, B = stable(rng), rng.standard_normal((5, 5))
    P = solve(Lyapunov(A, B @ B.T)).value

    found = diagnose(Lyapunov(A, Gram(B)), Gram(np.linalg.cholesky(P)))

    assert found.factored
    assert found.lowest is None
    assert float(found.size) == pytest.approx(np.linalg.norm(P))


def hankel_values(A, B, C, factor_of):
    P, Q = solve(Lyapunov(A, B @ B.T)).value, solve(Lyapunov(A.T, C.T @ C)).value
    return np.linalg.svd(factor_of(Q).T @ factor_of(P), compute_uv=False)


def test_hankel_values_from_gramians_are_noise_below_their_floor():
    poles = -np.linspace(1, 4, 12)  # the values fall by 20 orders of magnitude
    equation, dual = (Lyapunov(np.diag(poles), np.ones((12, 12))) for _ in range(2))
    P = solve(equation).value

    floor = float(hankel_floor(diagnose(equation, P), diagnose(dual, P)))

    exact = np.linalg.svd(_cauchy_cholesky(poles).T @ _cauchy_cholesky(poles), compute_uv=False)
    values, vectors = np.linalg.eigh(P)
    root = vectors * np.sqrt(np.maximum(values, 0))
    computed = np.linalg.svd(root.T @ root, compute_uv=False)
    assert np.all(abs(computed - exact) <= floor)
    assert exact[-1] < 1e-3 * floor < exact[0]


def _cauchy_cholesky(poles):
    """Return the Cholesky factor of -1 / (p_i + p_j), every entry to full relative accuracy."""
    n, generator, L = len(poles), np.ones(len(poles)), np.zeros((len(poles), len(poles)))
    for k in range(n):
        L[k:, k] = generator[k:] * np.sqrt(-2 * poles[k]) / -(poles[k:] + poles[k])
        generator[k:] = generator[k:] * (poles[k:] - poles[k]) / (poles[k:] + poles[k])
    return L


def test_floors_are_ordered_by_what_the_methods_can(rng):
    equation = Lyapunov(stable(rng), np.eye(5))
    found = diagnose(equation, solve(equation))

    gramians, factors, cauchy = (float(hankel_floor(found, found, method=m)) for m in ("gramians", "factors", "cauchy"))

    assert gramians > factors > cauchy == 0
    assert factors == pytest.approx(2 * float(found.error) * float(found.size))
    assert float(hankel_floor(found, found)) == gramians


def laplacian(n):
    return sparse.diags_array([np.ones(n - 1), -2 * np.ones(n), np.ones(n - 1)], offsets=[-1, 0, 1]).tocsc()


@pytest.mark.parametrize("n", [50, 600])
def test_the_slowest_pole_of_a_sparse_matrix(n):
    pole = complex(slowest_pole(Sparse(laplacian(n)), None, discrete=False))

    assert pole == pytest.approx(-4 * np.sin(np.pi / (2 * n + 2)) ** 2, rel=1e-8)


def test_an_unstable_mode_far_from_zero_is_found_in_a_sparse_matrix():
    A = laplacian(600).tolil()
    A[300, 300] = 50.0

    assert slowest_pole(Sparse(A.tocsc()), None, discrete=False).real > 49


def test_the_slowest_pole_of_a_sparse_pencil(rng):
    A, E = laplacian(600), sparse.diags_array(rng.uniform(1.0, 2.0, 600)).tocsc()

    pole = complex(slowest_pole(Sparse(A), Sparse(E), discrete=False))

    assert pole.real == pytest.approx(max(np.linalg.eigvals(np.linalg.solve(E.toarray(), A.toarray())).real), rel=1e-6)


def test_an_unstable_mode_is_found_in_a_sparse_matrix_in_discrete_time():
    A = (laplacian(600) / 5).tolil()
    A[300, 300] = -1.5

    assert abs(complex(slowest_pole(Sparse(A.tocsc()), None, discrete=True))) > 1.5


def test_a_tensor_with_a_gradient_is_diagnosed_as_its_numbers(rng):
    A = torch.tensor(stable(rng), requires_grad=True)
    equation = Lyapunov(A, torch.eye(5, dtype=torch.float64))

    found = diagnose(equation, solve(equation))

    assert not found.error.requires_grad
    assert "14 digits" in str(found)
