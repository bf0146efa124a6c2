"""Bartels-Stewart: what it recognises, what it takes besides A, and the equations that are hard."""

import numpy as np
import pytest
import scipy.linalg

import ssm_gramians as sg
from ssm_gramians.backends.scipy import ScipyBackend
from ssm_gramians.solvers._triangular import Recursion
from ssm_gramians.testing import as_numpy, assert_close

EPS = np.finfo(float).eps


class Counting(ScipyBackend):
    """The SciPy backend, and how often it was asked for a Schur form."""

    def __init__(self):
        self.schur_forms = 0

    def schur(self, A):
        self.schur_forms += 1
        return super().schur(A)


def stable(rng, n, kind=float, margin=0.5):
    A = rng.standard_normal((n, n)).astype(kind) / np.sqrt(n)
    if kind is complex:
        A = A + 1j * rng.standard_normal((n, n)) / np.sqrt(n)
    return A - (max(np.linalg.eigvals(A).real) + margin) * np.eye(n)


def contracting(rng, n, kind=float, radius=0.9):
    A = stable(rng, n, kind)
    return A * radius / max(abs(np.linalg.eigvals(A)))


def positive(rng, n):
    B = rng.standard_normal((n, n))
    return B @ B.T


def residual(equation, X):
    return float(sg.Solution(X, sg.Status.CONVERGED, equation).residual)


def legs(n):
    k = np.arange(n)
    return -np.tril(np.sqrt(np.outer(2 * k + 1, 2 * k + 1)), -1) - np.diag(k + 1.0)


def in_blocks(rng):
    """Return a stable matrix of independent blocks of order 1, 2 and 40, in shuffled coordinates."""
    pair = np.array([[-1.0, 5.0], [-5.0, -1.0]])
    A = scipy.linalg.block_diag(-np.diag(rng.uniform(1, 9, 30)), *[pair * k for k in range(1, 31)], stable(rng, 40))
    order = rng.permutation(len(A))
    return A[np.ix_(order, order)]


def structured(rng):
    symmetric = -positive(rng, 70)
    V = scipy.linalg.qr(stable(rng, 70, complex))[0]
    return {
        "diagonal": -np.diag(rng.uniform(1, 9, 70)),
        "upper triangular": np.triu(rng.standard_normal((70, 70))) / 9 - 2 * np.eye(70),
        "lower triangular": legs(70),
        "Hermitian": symmetric,
        "block diagonal": in_blocks(rng),
        "normal": V @ np.diag(rng.uniform(-9, -1, 70) + 1j * rng.standard_normal(70)) @ V.conj().T,
        "dense": stable(rng, 70),
    }


STRUCTURES = sorted(structured(np.random.default_rng(0)))


@pytest.mark.parametrize("name", STRUCTURES)
def test_a_structure_is_recognised(name, rng):
    A = structured(rng)[name]

    assert sg.BartelsStewart().recognised(sg.Lyapunov(A), Counting()).startswith(name)


@pytest.mark.parametrize("name", STRUCTURES)
@pytest.mark.parametrize("kind", [sg.Lyapunov, sg.Stein])
def test_a_structure_is_exploited_rightly(name, kind, rng):
    A = structured(rng)[name]
    A = A if kind is sg.Lyapunov else A * 0.9 / np.abs(np.linalg.eigvals(A)).max()
    for Q in (positive(rng, len(A)), rng.standard_normal(A.shape)):
        factorization = sg.BartelsStewart().factor(kind(A), Counting())

        X, Y = factorization.solve(Q), factorization.solve_adjoint(Q)

        assert residual(kind(A, Q), X.value) < 1e-13
        assert residual(kind(A, Q).adjoint(), Y.value) < 1e-13


@pytest.mark.parametrize("name", sorted(set(STRUCTURES) - {"dense", "normal", "block diagonal"}))
def test_a_structure_saves_the_schur_form(name, rng):
    A, backend = structured(rng)[name], Counting()

    sg.solve(sg.Lyapunov(A, np.eye(len(A))), sg.BartelsStewart(), backend)

    assert backend.schur_forms == 0


def test_blocks_have_small_schur_forms_of_their_own(rng):
    A, backend = in_blocks(rng), Counting()

    said = sg.BartelsStewart().recognised(sg.Lyapunov(A), backend)

    assert "diagonal 30" in said
    assert "dense 40" in said


def test_one_schur_form_serves_both_gramians(rng):
    A, backend = stable(rng, 30), Counting()

    factorization = sg.BartelsStewart().factor(sg.Lyapunov(A), backend)
    factorization.solve(np.eye(30))
    factorization.solve_adjoint(np.eye(30))

    assert backend.schur_forms == 1


@pytest.mark.parametrize("pairs", [True, False], ids=["pairs", "real modes"])
def test_a_quasi_triangular_matrix_is_taken_with_pairs_only(pairs, rng):
    block = np.array([[-1.0, 2.0], [-2.0 if pairs else 0.1, -1.0]])
    A = np.triu(rng.standard_normal((6, 6)), 2) + scipy.linalg.block_diag(block, block, block)
    A[1, 2] = A[3, 4] = 1.0

    assert sg.BartelsStewart().recognised(sg.Lyapunov(A), Counting()) == ("upper triangular" if pairs else "dense")
    assert sg.solve(sg.Lyapunov(A, np.eye(6)), sg.BartelsStewart()).residual < 1e-14


@pytest.mark.parametrize("n", [1, 2, 5, 49, 120])
@pytest.mark.parametrize("kind", [float, complex])
def test_a_hermitian_right_side_is_half_the_work_and_the_same_answer(n, kind, rng):
    for equation in (sg.Lyapunov(stable(rng, n, kind)), sg.Stein(contracting(rng, n, kind))):
        factorization = sg.BartelsStewart(leaf=8).factor(equation, get_backend())
        Q = positive(rng, n)
        broken = Q + 1e-300 * np.triu(np.ones((n, n)), 1) + np.spacing(np.abs(Q)) * np.triu(np.ones((n, n)), 1)

        half, whole = factorization.solve(Q).value, factorization.solve(broken).value

        assert_close(half, whole, rtol=1e-12)


def get_backend():
    return sg.get_backend("scipy")


def oracle(equation):
    return sg.solve(equation, sg.Kronecker()).value


@pytest.mark.parametrize("leaf", [2, 48])
@pytest.mark.parametrize("kind", [float, complex])
def test_a_pencil_agrees_with_the_definition(kind, leaf, rng):
    n, m = 9, 5
    E, F = np.eye(n) + contracting(rng, n, kind) / 2, np.eye(m) + contracting(rng, m, kind) / 2
    A, B, C = stable(rng, n, kind, 2.0), stable(rng, m, kind, 2.0), contracting(rng, n, kind, 0.4)
    G, R = rng.standard_normal((n, n)) + 0 * A, rng.standard_normal((n, m)) + 0 * A[:, :m]
    for equation in (
        sg.Lyapunov(A, positive(rng, n), E),
        sg.Lyapunov(A, G, E),
        sg.Stein(C, positive(rng, n), E),
        sg.Stein(C, G, E),
        sg.Sylvester(A, B, R, E, F),
        sg.Sylvester(A, B, R, E),
        sg.Sylvester(A, B, R, None, F),
        sg.Lyapunov(np.triu(A) - 2 * np.eye(n), G, np.triu(E)),
        sg.Lyapunov(np.tril(A) - 2 * np.eye(n), G, np.tril(E)),
    ):
        solution = sg.solve(equation, sg.BartelsStewart(leaf=leaf))

        assert solution.converged
        assert_close(solution.value, oracle(equation), rtol=1e-11)


@pytest.mark.parametrize("kind", [float, complex])
def test_a_pencil_has_an_adjoint(kind, rng):
    A, E = stable(rng, 60, kind, 2.0), np.eye(60) + contracting(rng, 60, kind) / 2
    Q, R = rng.standard_normal((2, 60, 60))
    factorization = sg.BartelsStewart().factor(sg.Lyapunov(A, E=E), get_backend())

    X, Y = factorization.solve(Q).value, factorization.solve_adjoint(R).value

    assert abs(np.vdot(Y, Q) - np.vdot(R, X)) < 1e-11 * abs(np.vdot(R, X)) + 1e-10


def test_an_ill_conditioned_e_leaves_a_residual_of_rounding_size(rng):
    U, V = (scipy.linalg.qr(rng.standard_normal((20, 20)))[0] for _ in range(2))
    E = U @ np.diag(np.logspace(0, -9, 20)) @ V
    A = U @ stable(rng, 20, margin=2.0) @ V
    equation = sg.Lyapunov(A, positive(rng, 20), E)

    X = sg.solve(equation, sg.BartelsStewart()).value

    size = 2 * np.linalg.norm(A) * np.linalg.norm(X) * np.linalg.norm(E)
    assert np.linalg.norm(sum(equation.terms(X))) < 1e-14 * size


@pytest.mark.parametrize("kind", [sg.Lyapunov, sg.Stein])
def test_a_singular_pencil_has_a_status(kind):
    A, E = np.diag([0.0, -0.5, -0.2]), np.diag([0.0, 1.0, 1.0])

    solution = sg.solve(kind(A, np.eye(3), E), sg.BartelsStewart())

    assert solution.status in {sg.Status.SINGULAR, sg.Status.INACCURATE}


def test_a_singular_e_has_a_status_where_it_must(rng):
    A, E = stable(rng, 5), np.diag([1.0, 1, 1, 1, 0])

    assert not sg.solve(sg.Lyapunov(A, np.eye(5), E), sg.BartelsStewart()).converged


def test_a_singular_e_is_no_trouble_to_a_stein_equation(rng):
    A, E = np.eye(5) / 3 + contracting(rng, 5) / 9, np.diag([1.0, 1, 1, 1, 0])

    solution = sg.solve(equation := sg.Stein(A, np.eye(5), E), sg.BartelsStewart())

    assert solution.converged
    assert_close(solution.value, oracle(equation), rtol=1e-12)


@pytest.mark.parametrize("modes", [[-(1 - 1e-12)], [1 - 1e-12], [-(1 - 1e-12), 1 - 1e-12], [0.5, -0.5, 1 - 1e-9, 0.0]])
def test_modes_next_to_the_unit_circle_leave_no_residual(modes, rng):
    A = np.triu(rng.standard_normal((90, 90)), 1) / 90
    A[np.diag_indices(90)] = [*modes, *rng.uniform(-0.9, 0.9, 90 - len(modes))]
    U = scipy.linalg.qr(rng.standard_normal((90, 90)))[0]

    solution = sg.solve(sg.Stein(U @ A @ U.T, positive(rng, 90)), sg.BartelsStewart())

    assert solution.residual < 1e-14


def test_a_leaf_without_a_good_shift_is_solved_by_columns(rng):
    values = np.array([0.0, 1, -1, 0.5, -0.5, 2, -2, 1e-13, 1 - 1e-13, 0.5 + 1e-13]) * (1 - 1e-7)
    S = np.diag(values) + np.triu(rng.standard_normal((10, 10)), 1)
    Q = rng.standard_normal((10, 10))

    X = get_backend().triangular_stein(S, np.diag(0.3 * values), Q)

    assert residual(sg.Sylvester(S, -np.eye(10), Q, None, np.diag(0.3 * values)), X) < 1e-14


def grcar(n):
    A = -np.eye(n, k=-1)
    for k in range(4):
        A += np.eye(n, k=k)
    return A


@pytest.mark.parametrize(
    "A",
    [
        -1e-9 * np.eye(60),
        grcar(60) - 3.5 * np.eye(60),
        -np.eye(40) + np.eye(40, k=1),
        np.diag(-np.logspace(-5, 5, 30)) @ (np.eye(30) + np.eye(30, k=3)),
        stable(np.random.default_rng(4), 50, margin=1e-5),
        stable(np.random.default_rng(5), 50, complex, margin=1e-5),
    ],
    ids=["near-unstable diagonal", "non-normal", "defective", "stiff", "near-unstable", "near-unstable complex"],
)
def test_hard_equations_leave_no_residual(A, rng):
    equation = sg.Lyapunov(A, positive(rng, len(A)))

    solution = sg.solve(equation, sg.BartelsStewart())

    assert solution.converged
    size = 2 * np.linalg.norm(A) * np.linalg.norm(solution.value) + np.linalg.norm(equation.Q)
    assert np.linalg.norm(sum(equation.terms(solution.value))) < 1e-14 * size


@pytest.mark.parametrize("kind", [np.float32, np.complex64])
def test_single_precision_is_kept_and_used(kind, rng):
    A = stable(rng, 60, complex if kind is np.complex64 else float).astype(kind)
    for equation in (sg.Lyapunov(A, np.eye(60, dtype=kind)), sg.Stein(A / 9, np.eye(60, dtype=kind))):
        solution = sg.solve(equation, sg.BartelsStewart())

        assert solution.value.dtype == kind
        assert solution.residual < 1e-5


def test_an_unstable_equation_is_solved_as_it_stands(rng):
    A = stable(rng, 20, margin=-0.7)

    solution = sg.solve(equation := sg.Lyapunov(A, np.eye(20)), sg.BartelsStewart())

    assert residual(equation, solution.value) < 1e-13


@pytest.mark.parametrize("kind", [sg.Lyapunov, sg.Stein])
@pytest.mark.parametrize("with_e", [False, True], ids=["plain", "pencil"])
def test_the_condition_is_that_of_the_kronecker_matrix(kind, with_e, rng):
    n = 6
    A = stable(rng, n) if kind is sg.Lyapunov else contracting(rng, n)
    E = np.eye(n) + contracting(rng, n) / 4 if with_e else None
    held = np.eye(n) if E is None else E
    matrix = np.kron(A, held) + np.kron(held, A) if kind is sg.Lyapunov else np.kron(A, A) - np.kron(held, held)

    estimate = float(sg.BartelsStewart().factor(kind(A, E=E), get_backend()).condition())

    norm = np.linalg.norm
    size = 2 * norm(A) * norm(held) if kind is sg.Lyapunov else norm(A) ** 2 + norm(held) ** 2
    # the 2-norm of an identity that is not written out counts as 1
    size = size if with_e else (2 * norm(A) if kind is sg.Lyapunov else norm(A) ** 2 + 1)
    exact = size / np.linalg.svd(matrix, compute_uv=False)[-1]
    assert exact / 2 < estimate < 1.01 * exact


def test_the_condition_of_a_singular_equation_is_infinite():
    assert np.isinf(sg.BartelsStewart().factor(sg.Lyapunov(np.diag([1.0, -1.0])), get_backend()).condition())


def test_batches_of_nothing_and_of_one(rng):
    A = stable(rng, 4)
    for shape in ((0,), (1,), (2, 0)):
        batch = np.broadcast_to(A, (*shape, 4, 4))
        value = sg.solve(sg.Lyapunov(batch, batch), sg.BartelsStewart()).value
        assert value.shape == (*shape, 4, 4)


def test_the_recursion_meets_rectangles_of_every_shape(rng):
    for n, m in ((1, 100), (100, 1), (7, 90), (90, 7)):
        S, T = (np.triu(rng.standard_normal((k, k))) / k - 2 * np.eye(k) for k in (n, m))
        Q = rng.standard_normal((n, m))
        X = Q.copy()

        Recursion(1, get_backend(), 8).solve((S, None), (None, T), X)

        assert_close(as_numpy(S @ X + X @ T.T), -Q, rtol=1e-12)
