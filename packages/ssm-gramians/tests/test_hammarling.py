"""Factors of Gramians that never were Gramians."""

import mpmath
import numpy as np
import pytest
import scipy.linalg

import ssm_gramians as sg
from ssm_gramians.solvers._block_hammarling import block_gram
from ssm_gramians.testing import assert_close, assert_untouched

OWN = sg.Hammarling(native=False)
SCIPY = sg.get_backend("scipy")


def stable(rng, n, kind=float):
    A = rng.standard_normal((n, n)).astype(kind)
    A = A + 1j * rng.standard_normal((n, n)) if kind is complex else A
    return A / np.sqrt(n) - 2 * np.eye(n) * (1 + (kind is complex))


def contracting(rng, n, kind=float):
    A = stable(rng, n, kind) + 2 * np.eye(n)
    return 0.95 * A / max(abs(np.linalg.eigvals(A)))


def system(kind, rng, n, dtype=float):
    return stable(rng, n, dtype) if kind is sg.Lyapunov else contracting(rng, n, dtype)


def legs(n):
    k = np.arange(n)
    return -np.tril(np.sqrt(np.outer(2 * k + 1, 2 * k + 1)), -1) - np.diag(k + 1.0)


KINDS = pytest.mark.parametrize("kind", [sg.Lyapunov, sg.Stein])


@KINDS
@pytest.mark.parametrize("dtype", [float, complex])
@pytest.mark.parametrize("n", [1, 2, 3, 33, 70])
@pytest.mark.parametrize("leaf", [1, 3, 32])
def test_the_factor_belongs_to_the_gramian(kind, dtype, n, leaf, rng):
    A = system(kind, rng, n, dtype)
    for m in (1, 3, n + 2):
        B = rng.standard_normal((n, m)) + 0 * A[:, :1]

        solution = sg.solve(kind(A, sg.Gram(B)), sg.Hammarling(leaf=leaf, native=False))

        assert solution.converged
        assert solution.value.Z.dtype == A.dtype
        full = sg.solve(kind(A, B @ B.conj().T), sg.BartelsStewart()).value
        assert_close(solution.value.to_dense(), full, rtol=1e-12)


@KINDS
def test_complex_inputs_to_a_real_system_have_a_complex_factor(kind, rng):
    A, B = system(kind, rng, 12), rng.standard_normal((12, 2)) + 1j * rng.standard_normal((12, 2))

    Z = sg.solve(kind(A, sg.Gram(B)), OWN).value

    assert_close(Z.to_dense(), sg.solve(kind(A, B @ B.conj().T), sg.Kronecker()).value, rtol=1e-12)


@KINDS
def test_one_schur_form_serves_the_adjoint_too(kind, rng):
    A, C = system(kind, rng, 40), rng.standard_normal((2, 40))

    factorization = OWN.factor(kind(A), SCIPY)

    Q = factorization.solve_adjoint(sg.Gram(C.T)).value.to_dense()
    assert_close(Q, sg.solve(kind(A.T, C.T @ C), sg.BartelsStewart()).value, rtol=1e-12)


@KINDS
@pytest.mark.parametrize("structure", ["diagonal", "lower triangular", "block diagonal", "symmetric"])
def test_structures_have_factors(kind, structure, rng):
    n = 80
    order = rng.permutation(n)
    blocks = scipy.linalg.block_diag(*[stable(rng, k) for k in (1, 2, 3, 30, 44)])
    A = {
        "diagonal": -np.diag(rng.uniform(0.1, 0.9, n)),
        "lower triangular": np.tril(rng.standard_normal((n, n)), -1) / n - np.diag(rng.uniform(0.1, 0.9, n)),
        "block diagonal": blocks[np.ix_(order, order)],
        "symmetric": -(lambda M: M @ M.T / n + 0.1 * np.eye(n))(rng.standard_normal((n, n))),
    }[structure]
    A = A if kind is sg.Lyapunov else 0.9 * A / max(abs(np.linalg.eigvals(A)))
    for operator, equation in ((A, "solve"), (A.T, "solve_adjoint")):
        B = rng.standard_normal((n, 2))

        Z = getattr(OWN.factor(kind(A), SCIPY), equation)(sg.Gram(B)).value

        assert_close(Z.to_dense(), sg.solve(kind(operator, B @ B.T), sg.BartelsStewart()).value, rtol=1e-11)


@KINDS
@pytest.mark.parametrize("dtype", [float, complex])
def test_the_blocks_that_couple_are_what_they_are_called(kind, dtype, rng):
    T, _ = scipy.linalg.schur(system(kind, rng, 9, dtype))
    B = rng.standard_normal((9, 4)).astype(T.dtype)

    Z, V, M = SCIPY.triangular_gram(T, B, discrete=kind is sg.Stein)

    assert not np.tril(Z, -1).any()
    assert_close(Z @ V, B, rtol=1e-12)
    assert_close(Z @ M, T @ Z, rtol=1e-12)


def reference_hsv(A, b, c):
    """Return the Hankel singular values of a lower triangular system, at 120 digits."""
    n = len(A)
    with mpmath.workdps(120):
        L = mpmath.matrix(A.tolist())

        def gramian(L, b):
            X = mpmath.zeros(n)
            for i in range(n):
                for j in range(i + 1):
                    known = b[i] * b[j] + sum(L[i, k] * X[k, j] for k in range(i))
                    known += sum(X[i, k] * L[j, k] for k in range(j))
                    X[i, j] = X[j, i] = -known / (L[i, i] + L[j, j])
            return X

        b, c = ([mpmath.mpf(x) for x in v.tolist()] for v in (b, c))
        flipped = mpmath.matrix([[L[n - 1 - j, n - 1 - i] for j in range(n)] for i in range(n)])
        P, mirrored = gramian(L, b), gramian(flipped, c[::-1])
        Q = mpmath.matrix([[mirrored[n - 1 - i, n - 1 - j] for j in range(n)] for i in range(n)])
        values = mpmath.svd_r(mpmath.cholesky(Q).T * mpmath.cholesky(P), compute_uv=False)
        return np.array([float(value) for value in values])


def hsv(solver, A, b, c):
    factorization = sg.factor(sg.Lyapunov(A), solver)
    P, Q = factorization.solve(sg.Gram(b[:, None])).value, factorization.solve_adjoint(sg.Gram(c[:, None])).value
    return np.linalg.svd(Q.Z.T @ P.Z, compute_uv=False)


@pytest.mark.parametrize("leaf", [2, 32])
def test_small_hankel_singular_values_keep_their_digits(leaf, rng):
    A, b, c = legs(12), rng.standard_normal(12), rng.standard_normal(12)
    exact = reference_hsv(A, b, c)

    error = np.abs(hsv(sg.Hammarling(leaf=leaf, native=False), A, b, c) - exact)

    # below eps the absolute error counts: what a matrix of factors can hold
    assert np.all(error < 1e-11 * exact + 1e-15 * exact[0])


def test_a_factor_knows_more_than_the_factored_gramian(rng):
    A, b, c = legs(12), rng.standard_normal(12), rng.standard_normal(12)
    exact = reference_hsv(A, b, c)

    error, other = (np.abs(hsv(solver, A, b, c) / exact - 1).max() for solver in (OWN, sg.BartelsStewart()))

    assert error < other / 100


def test_a_long_chain_of_modes_underflows_to_nothing_and_not_to_nan():
    A = -np.diag(np.arange(1.0, 701.0))

    solution = sg.solve(sg.Lyapunov(A, sg.Gram(np.ones((700, 1)))), OWN)

    assert solution.converged
    assert solution.residual < 1e-14


def test_lightly_damped_pairs_under_strong_coupling_stay_real(rng):
    T = np.triu(1e3 * rng.standard_normal((60, 60)), 1)
    for k, w in enumerate(np.logspace(0, 4, 30)):
        T[2 * k : 2 * k + 2, 2 * k : 2 * k + 2] = [[-0.01, w], [-w / 8, -0.01]]
    B = rng.standard_normal((60, 1))

    Z = block_gram(T, B, False, SCIPY, 32)

    X = Z @ Z.T
    size = 2 * np.linalg.norm(T) * np.linalg.norm(X)
    assert np.linalg.norm(T @ X + X @ T.T + B @ B.T) < 1e-14 * size


@KINDS
def test_what_no_input_reaches_is_zero(kind, rng):
    A = system(kind, rng, 8)
    A[5:, :5] = 0

    Z = sg.solve(kind(A, sg.Gram(np.eye(8)[:, :2])), OWN).value.Z

    assert np.linalg.norm(Z[5:]) < 1e-15
    assert np.linalg.matrix_rank(Z) == 5


@KINDS
@pytest.mark.parametrize("native", [True, False])
def test_an_unstable_system_is_refused_by_its_status(kind, native, rng):
    for name in {"scipy", "slycot"} & set(sg.available_backends()):
        A = rng.standard_normal((6, 6)) + 2 * np.eye(6)

        solution = sg.solve(kind(A, sg.Gram(np.ones((6, 1)))), sg.Hammarling(native=native), name)

        assert solution.status is sg.Status.DIVERGED
        assert np.isnan(solution.value.Z).all()


@KINDS
@pytest.mark.parametrize("dtype", [np.float32, np.complex64])
def test_single_precision_stays(kind, dtype, rng):
    A = system(kind, rng, 40, complex if dtype is np.complex64 else float).astype(dtype)

    solution = sg.solve(kind(A, sg.Gram(np.ones((40, 1), dtype))), OWN)

    assert solution.value.Z.dtype == dtype
    assert solution.residual < 1e-5


class TestSlycot:
    """The same by SLICOT."""

    @pytest.fixture(autouse=True)
    def installed(self):
        pytest.importorskip("slycot")

    @KINDS
    @pytest.mark.parametrize("m", [1, 3, 15])
    def test_it_agrees_with_ours_and_touches_nothing(self, kind, m, rng):
        A, B = system(kind, rng, 12), rng.standard_normal((12, m))

        with assert_untouched(A, B):
            theirs = sg.solve(kind(A, sg.Gram(B)), sg.Hammarling(), "slycot").value

        assert_close(theirs.to_dense(), sg.solve(kind(A, sg.Gram(B)), OWN).value.to_dense(), rtol=1e-12)

    @pytest.mark.parametrize("dtype", [np.float32, np.complex64, np.complex128])
    def test_what_slicot_cannot_do_is_done_here(self, dtype, rng):
        A = stable(rng, 8, complex if np.issubdtype(dtype, np.complexfloating) else float).astype(dtype)
        equation = sg.Lyapunov(A, sg.Gram(np.ones((8, 1), dtype)))

        theirs, ours = sg.solve(equation, sg.Hammarling(), "slycot"), sg.solve(equation, OWN, "scipy")

        assert theirs.value.Z.dtype == dtype
        np.testing.assert_array_equal(theirs.value.Z, ours.value.Z)

    def test_the_generalised_equation_agrees_with_sg03ad(self, rng):
        import slycot

        n, A = 12, stable(rng, 12)
        E = np.eye(n) + contracting(rng, n) / 3
        Q = np.eye(n) + np.ones((n, n))
        for kind, letter, M in ((sg.Lyapunov, "C", A), (sg.Stein, "D", contracting(rng, n) / 2)):
            eye = np.eye(n, order="F")
            right = np.array(-Q, order="F")
            F = [np.array(K, order="F") for K in (M, E)]
            out = slycot.sg03ad(letter, "X", "N", "T", "U", n, *F, eye.copy(), eye.copy(), right, ldwork=1000)

            assert_close(sg.solve(kind(M, Q, E), sg.BartelsStewart()).value, out[4] / out[5], rtol=1e-11)
