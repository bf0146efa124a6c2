import numpy as np
import pytest
import torch
from scipy import linalg

from ssm_gramians import (
    DiagonalPlusLowRank,
    DtypeError,
    Kronecker,
    Lyapunov,
    ShapeError,
    StateSpace,
    Status,
    Stein,
    UnsupportedError,
    Woodbury,
    controllability_gramian,
    gramian_factors,
    solve,
)
from ssm_gramians.testing import as_numpy, assert_close, assert_same_kind, assert_untouched


def matrix(rng, *, batch=(), n=5, r=1, is_complex=True, discrete=False):
    def normal(*shape):
        values = rng.standard_normal((*batch, *shape))
        return values + 1j * rng.standard_normal(values.shape) if is_complex else values

    values = -rng.uniform(0.3, 1.0, (*batch, n))
    values = values * np.exp(1j * rng.uniform(-1.4, 1.4, (*batch, n))) if is_complex else values
    A = DiagonalPlusLowRank(0.7 * values if discrete else values, 0.2 * normal(n, r), 0.3 * normal(n, r))
    return A, normal(n, n)


def legs(n):
    """Return HiPPO-LegS with B, dense and as diagonal plus low rank, and the basis: the eigenvectors of A + P P^T."""
    k = np.arange(n)
    root, P, B = np.sqrt(2 * k + 1.0), np.sqrt(k + 0.5), np.sqrt(2 * k + 1.0)[:, None]
    A = -(np.tril(np.outer(root, root), -1) + np.diag(k + 1.0))
    skew = A + np.outer(P, P) + np.eye(n) / 2
    frequencies, V = np.linalg.eigh(-1j * skew)
    U = V.conj().T @ P[:, None]
    return A, B, DiagonalPlusLowRank(-0.5 + 1j * frequencies, U, U), V.conj().T @ B, V


@pytest.mark.parametrize("r", [0, 1, 3])
@pytest.mark.parametrize("batch", [(), (0,), (2,)])
def test_it_does_what_its_dense_matrix_does(asarray, rng, r, batch):
    A, X = matrix(rng, r=r, batch=batch)
    mine, X, dense = A.map(asarray), asarray(X), as_numpy(A.to_dense())
    shifted = dense + (0.3 + 0.1j) * np.eye(5)

    assert mine.shape == dense.shape
    assert mine.rank == r
    assert_close(mine.to_dense(), dense, rtol=1e-14)
    assert_close(mine.times(X), dense @ as_numpy(X), rtol=1e-14)
    assert_close(mine.adjoint().to_dense(), np.swapaxes(dense, -1, -2).conj(), rtol=1e-14)
    assert_close(mine.solve_shifted(0.3 + 0.1j, X), np.linalg.solve(shifted, as_numpy(X)), rtol=1e-12)


def test_many_shifts_at_once(asarray, rng):
    A, X = matrix(rng, r=2, batch=(3,))
    shifts = np.array([0.3 + 0.1j, 5.0 + 0j])

    got = as_numpy(A.map(asarray).solve_shifted(asarray(shifts), asarray(X)))

    assert got.shape == (3, 2, 5, 5)
    for k, shift in enumerate(shifts):
        assert_close(got[:, k], as_numpy(A.solve_shifted(complex(shift), X)), rtol=1e-14)


def test_a_real_shift_of_a_real_matrix_stays_real(rng):
    A, X = matrix(rng, is_complex=False)

    assert A.solve_shifted(0.5, X).dtype == np.float64
    assert A.solve_shifted(0.5 + 0j, X).dtype == np.float64
    assert_close(A.solve_shifted(0.5j, X), np.linalg.solve(A.to_dense() + 0.5j * np.eye(5), X), rtol=1e-12)


def test_its_poles_are_those_of_the_dense_matrix(rng):
    A, _ = matrix(rng)

    assert_close(np.sort_complex(A.poles()), np.sort_complex(np.linalg.eigvals(A.to_dense())), rtol=1e-13)


def test_inputs_that_do_not_fit_are_refused():
    with pytest.raises(ShapeError, match="want eigenvalues"):
        DiagonalPlusLowRank(np.ones(3), np.ones((3, 1)), np.ones((3, 2)))
    with pytest.raises(ShapeError, match="want eigenvalues"):
        DiagonalPlusLowRank(np.ones(3), np.ones((2, 1)), np.ones((2, 1)))
    with pytest.raises(DtypeError, match="precision"):
        DiagonalPlusLowRank(np.ones(3), np.ones((3, 1), np.float32), np.ones((3, 1)))


@pytest.mark.parametrize("kind", [Lyapunov, Stein])
@pytest.mark.parametrize("r", [0, 1, 2])
@pytest.mark.parametrize("is_complex", [True, False])
@pytest.mark.parametrize("hermitian", [True, False])
def test_woodbury_gives_what_the_definition_gives(asarray, rng, kind, r, is_complex, hermitian):
    A, Q = matrix(rng, r=r, is_complex=is_complex, discrete=kind is Stein)
    Q = Q @ Q.conj().T if hermitian else Q
    expected = solve(kind(A.to_dense(), Q), Kronecker()).unwrap()
    equation = kind(A.map(asarray), asarray(Q))

    with assert_untouched(*equation.arrays.values()):
        X = solve(equation, Woodbury()).unwrap()

    assert_same_kind(X, equation.Q)
    assert_close(X, expected, rtol=1e-12)


@pytest.mark.parametrize("kind", [Lyapunov, Stein])
def test_woodbury_solves_the_adjoint_equation(rng, kind):
    A, Q = matrix(rng, r=2, discrete=kind is Stein)
    equation = kind(A, Q).adjoint()

    X = solve(equation, Woodbury()).unwrap()

    assert_close(X, solve(equation.to_dense(), Kronecker()).unwrap(), rtol=1e-12)


@pytest.mark.parametrize("kind", [Lyapunov, Stein])
@pytest.mark.parametrize("batch", [(0,), (1,), (2, 3)])
def test_woodbury_solves_a_batch_as_a_loop_would(asarray, rng, kind, batch):
    A, Q = matrix(rng, batch=batch, discrete=kind is Stein)

    X = as_numpy(solve(kind(A.map(asarray), asarray(Q)), Woodbury()).unwrap())

    assert X.shape == (*batch, 5, 5)
    for index in np.ndindex(batch):
        assert_close(X[index], solve(kind(A.map(lambda M, k=index: M[k]), Q[index]), Woodbury()).unwrap(), rtol=1e-12)


def test_woodbury_with_one_state():
    A = DiagonalPlusLowRank(np.array([-1.0]), np.array([[2.0]]), np.array([[0.5]]))

    assert_close(solve(Lyapunov(A, np.array([[4.0]])), Woodbury()).unwrap(), np.array([[1.0]]), rtol=1e-15)


def test_woodbury_stays_in_single_precision(asarray, rng):
    A, Q = matrix(rng)
    expected = solve(Lyapunov(A, Q), Woodbury()).unwrap()
    single = Lyapunov(A.map(lambda M: asarray(M.astype(np.complex64))), asarray(Q.astype(np.complex64)))

    X = solve(single, Woodbury()).unwrap()

    assert_same_kind(X, single.Q)
    assert_close(X, expected, rtol=1e-5)


def test_woodbury_says_when_the_diagonal_part_has_no_solution():
    A = DiagonalPlusLowRank(np.array([1j, -1.0]), np.ones((2, 1), complex), np.ones((2, 1), complex))

    assert solve(Lyapunov(A, np.eye(2)), Woodbury()).status is Status.SINGULAR


def test_woodbury_refuses_a_dense_matrix():
    with pytest.raises(UnsupportedError, match="dplr"):
        solve(Lyapunov(-np.eye(2), np.eye(2)), Woodbury())


@pytest.mark.parametrize("n", [1, 16, 64])
def test_hippo_legs_in_its_stable_basis(n):
    A, B, structured, modal_B, V = legs(n)
    exact = linalg.solve_continuous_lyapunov(A, -B @ B.T)

    solution = solve(Lyapunov(structured, modal_B @ modal_B.conj().T), Woodbury())

    assert solution.unwrap().dtype == np.complex128
    assert float(solution.residual) < 1e-15
    assert_close(V @ solution.value @ V.conj().T, exact, rtol=1e-12)


def test_a_correction_brings_the_digits_back():
    _, _, structured, B, _ = legs(64)
    equation = Lyapunov(structured, B @ B.conj().T)

    plain, corrected = (solve(equation, Woodbury(corrections=k)) for k in (0, 1))

    assert float(corrected.residual) < float(plain.residual) / 100


def test_the_response_of_a_system_is_that_of_the_dense_one(asarray, rng):
    _, _, A, B, _ = legs(8)
    B, C, points = asarray(B), asarray(rng.standard_normal((2, 8)) + 0j), asarray(np.array([0.5j, 2.0 + 1j]))
    system = StateSpace(A.map(asarray), B, C)

    assert_close(system.transfer_function(points), system.to_dense().transfer_function(points), rtol=1e-12)


def test_gradients_flow_through_woodbury(rng):
    A, Q = matrix(rng, n=3)
    tensors = [torch.tensor(M, requires_grad=True) for M in (*A.arrays, Q)]

    def solution(values, U, V, Q):
        return solve(Lyapunov(DiagonalPlusLowRank(values, U, V), Q), Woodbury()).value

    assert torch.autograd.gradcheck(solution, tensors)


def test_the_gramians_of_a_system_are_those_of_the_dense_one(rng):
    _, _, A, B, _ = legs(8)
    system = StateSpace(A, B, rng.standard_normal((2, 8)) + 0j)
    expected = controllability_gramian(system.to_dense())

    assert_close(controllability_gramian(system), expected, rtol=1e-12)
    assert_close(controllability_gramian(system, solver=Woodbury()), expected, rtol=1e-12)
    Z, _ = gramian_factors(system)
    assert_close(Z @ Z.conj().T, expected, rtol=1e-12)
