import numpy as np
import pytest
from scipy import linalg

from ssm_gramians import (
    BartelsStewart,
    ConvergenceError,
    Diagonal,
    DtypeError,
    Kronecker,
    Lyapunov,
    NonFiniteError,
    ShapeError,
    SingularEquationError,
    SquaredSmith,
    Status,
    Stein,
    Sylvester,
    UnsupportedError,
    solve,
    solve_continuous_lyapunov,
    solve_discrete_lyapunov,
    solve_sylvester,
)
from ssm_gramians.testing import as_numpy, assert_close


@pytest.fixture
def matrices(rng):
    A = rng.standard_normal((9, 9))
    return A / (1.1 * np.max(np.abs(np.linalg.eigvals(A)))), rng.standard_normal((9, 9)), rng.standard_normal((9, 9))


def test_signs_are_those_of_scipy(matrices):
    a, b, q = matrices
    assert_close(solve_continuous_lyapunov(a, q), linalg.solve_continuous_lyapunov(a, q), rtol=1e-10)
    assert_close(solve_discrete_lyapunov(a, q), linalg.solve_discrete_lyapunov(a, q), rtol=1e-12)
    assert_close(solve_sylvester(a, b, q), linalg.solve_sylvester(a, b, q), rtol=1e-10)


def test_signs_are_those_of_slycot(matrices):
    slycot = pytest.importorskip("slycot")
    a, _, q = matrices
    q = q + q.T
    X = slycot.sb03md57(a.copy(order="F"), C=-q.copy(order="F"), dico="D", trana="T")[2]
    assert_close(solve_discrete_lyapunov(a, q), X, rtol=1e-12)


def test_every_library_gets_its_own_kind_back(asarray, matrices):
    a, _, q = matrices
    X = solve_discrete_lyapunov(asarray(a), asarray(q))
    assert type(X) is type(asarray(a))
    assert_close(X, linalg.solve_discrete_lyapunov(a, q), rtol=1e-11)
    Y = solve_continuous_lyapunov(asarray(a - 2 * np.eye(9)), asarray(q))
    assert_close(Y, linalg.solve_continuous_lyapunov(a - 2 * np.eye(9), q), rtol=1e-11)


def test_scipy_failure_real_a_with_complex_q_is_right_here(matrices):
    a, b, q = matrices
    X = solve_discrete_lyapunov(a, q + 1j * b)
    assert np.linalg.norm(a @ X @ a.T - X + q + 1j * b) < 1e-12 * np.linalg.norm(X)


@pytest.mark.parametrize("solver", [None, BartelsStewart(), SquaredSmith(), Kronecker()])
def test_scipy_failure_eigenvalue_next_to_minus_one_is_right_here(solver):
    a, q = np.diag([-(1 - 1e-12), 0.5]), np.ones((2, 2))
    X = solve_discrete_lyapunov(a, q, solver=solver)
    assert np.linalg.norm(a @ X @ a.T - X + q) < 1e-15 * np.linalg.norm(X)


def test_an_unstable_equation_is_solved_directly_and_refused_iteratively():
    a, q = np.array([[0.5, 9.0], [0.0, 1.2]]), np.eye(2)
    X = solve_discrete_lyapunov(a, q)
    assert_close(a @ X @ a.T - X, -q, rtol=1e-12)
    with pytest.raises(ConvergenceError, match="stable"):
        solve_discrete_lyapunov(a, q, solver=SquaredSmith())


def test_solve_reports_what_the_friendly_functions_raise():
    equation = Stein(np.array([[0.5, 9.0], [0.0, 1.2]]), np.eye(2))
    assert solve(equation, SquaredSmith()).status is Status.DIVERGED
    assert solve(Stein(np.eye(1) * (1 - 1e-9), np.eye(1)), SquaredSmith(max_steps=3)).status is Status.STEPS_EXHAUSTED


def test_an_unexcited_unstable_mode_is_noticed():
    equation = Stein(np.diag([0.5, 1.2]), np.diag([1.0, 0.0]))
    assert solve(equation, SquaredSmith()).status is Status.DIVERGED


def test_one_diverging_system_does_not_spoil_the_batch():
    A = np.stack([np.diag([0.5, 0.4]), np.diag([0.5, 1.5])])
    solution = solve(Stein(A, np.eye(2)), SquaredSmith())
    assert solution.status is Status.DIVERGED
    assert_close(solution.value[0], np.diag([4 / 3, 1 / 0.84]), rtol=1e-14)


@pytest.mark.parametrize(
    ("call", "arguments"),
    [
        (solve_discrete_lyapunov, (np.eye(2), np.eye(2))),
        (solve_continuous_lyapunov, (np.diag([1.0, -1.0]), np.eye(2))),
        (solve_sylvester, (np.eye(2), -np.eye(2), np.eye(2))),
        (solve_discrete_lyapunov, (Diagonal(np.ones(2)), np.eye(2))),
        (solve_continuous_lyapunov, (Diagonal(np.array([1.0, -1.0])), np.ones((2, 2)))),
    ],
)
def test_a_singular_equation_raises(call, arguments):
    with pytest.raises(SingularEquationError):
        call(*arguments)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((np.eye(2), np.eye(3)), ShapeError, r"want Q \(\.\.\., 2, 2\)"),
        ((np.ones((2, 3)), np.eye(2)), ShapeError, "square"),
        ((np.ones((4, 2, 2)), np.ones((3, 2, 2))), ShapeError, "batch"),
        ((np.eye(2), np.eye(2, dtype=np.float32)), DtypeError, "one precision"),
        ((np.eye(2, dtype=int), np.eye(2, dtype=int)), DtypeError, "floating"),
        (([[1.0]], [[1.0]]), DtypeError, "list"),
        ((np.full((2, 2), np.nan), np.eye(2)), NonFiniteError, "A has"),
        ((np.eye(2), np.full((2, 2), np.inf)), NonFiniteError, "Q has"),
    ],
)
def test_bad_input_is_named(arguments, error, message):
    with pytest.raises(error, match=message):
        solve_discrete_lyapunov(*arguments)


def test_a_solver_that_does_not_fit_is_named():
    from ssm_gramians import ClosedForm

    with pytest.raises(UnsupportedError, match="diagonal, not dense"):
        solve_discrete_lyapunov(np.eye(2) / 2, np.eye(2), solver=ClosedForm())
    with pytest.raises(UnsupportedError, match="not sylvester"):
        solve_sylvester(np.eye(2), np.eye(2), np.eye(2), solver=SquaredSmith())


@pytest.mark.parametrize("n", [63, 64, 65, 130, 200])
@pytest.mark.parametrize("kind", ["real", "complex"])
def test_split_triangular_solves_join(rng, n, kind):
    A = rng.standard_normal((n, n)) + (1j * rng.standard_normal((n, n)) if kind == "complex" else 0)
    A = A / (1.05 * np.max(np.abs(np.linalg.eigvals(A))))
    Q = rng.standard_normal((n, n))

    X, Y = solve_discrete_lyapunov(A, Q), solve_continuous_lyapunov(A - np.eye(n), Q)

    assert X.dtype == A.dtype
    assert_close(X - A @ X @ A.conj().T, Q, rtol=1e-11)
    drift = A - np.eye(n)
    assert_close(drift @ Y + Y @ drift.conj().T, Q, rtol=1e-10)


def test_auto_follows_its_table():
    from ssm_gramians import Auto, Cauchy, ClosedForm, Gram, Hammarling, get_backend

    scipy = get_backend("scipy")
    small = Stein(np.zeros((8, 8)), np.zeros((8, 8)))
    assert Auto().candidates(small, scipy) == (SquaredSmith(max_steps=16), BartelsStewart())
    assert Auto().candidates(Lyapunov(-np.eye(8), np.eye(8)), scipy) == (BartelsStewart(),)
    assert Auto().candidates(Sylvester(np.eye(8), np.eye(8), np.eye(8)), get_backend("array")) == (Kronecker(),)
    assert Auto().candidates(Stein(Diagonal(np.zeros(8)), np.zeros((8, 8))), scipy) == (ClosedForm(),)
    assert Auto().candidates(small, get_backend("array")) == (SquaredSmith(), Kronecker())
    factored = small.with_right_side(Gram(np.zeros((8, 1))))
    assert Auto().candidates(factored, scipy) == (SquaredSmith(max_steps=16), Hammarling())
    assert Auto().candidates(Stein(Diagonal(np.zeros(8)), Gram(np.zeros((8, 1)))), scipy) == (Cauchy(),)
    assert Auto().candidates(Stein(Diagonal(np.zeros(99)), Gram(np.zeros((99, 9)))), scipy) == (ClosedForm(),)


def test_auto_falls_back_where_squared_smith_fails(rng):
    A = np.stack([np.diag([0.5, 1.5])] * 4)
    X = solve_discrete_lyapunov(A, rng.standard_normal((4, 2, 2)))
    assert np.isfinite(as_numpy(X)).all()


def test_a_mode_next_to_the_circle_goes_to_the_schur_form(rng):
    V = np.linalg.qr(rng.standard_normal((5, 5)))[0]
    A = V @ np.diag([1 - 1e-9, 0.5, 0.4, -0.3, 0.1]) @ V.T
    solution = solve(Stein(A, np.eye(5)))
    assert solution.converged
    assert solution.steps == 0


def test_a_loose_tolerance_is_honoured():
    equation = Stein(np.diag([0.9, 0.5]), np.eye(2))
    loose, tight = solve(equation, SquaredSmith(rtol=1e-3)), solve(equation, SquaredSmith())
    assert loose.converged
    assert loose.steps < tight.steps
