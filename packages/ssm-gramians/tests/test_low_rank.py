"""Large sparse A: thin factors, held against dense solves of the same equation."""

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy import sparse

from ssm_gramians import (
    ExtendedKrylov,
    FixedShifts,
    Gram,
    LowRankADI,
    Lyapunov,
    MatrixFree,
    PenzlShifts,
    ProjectionShifts,
    RationalKrylov,
    ShapeError,
    SingularEquationError,
    Status,
    Stein,
    UnsupportedError,
    _matrix_pair,
    factor,
    solve,
)

SOLVERS = {
    "extended": ExtendedKrylov(),
    "rational": RationalKrylov(),
    "adi": LowRankADI(),
    "adi projection": LowRankADI(ProjectionShifts()),
    "adi penzl": LowRankADI(PenzlShifts()),
}


def heat(k):
    """The five-point Laplacian on a k x k grid."""
    T = sparse.diags_array([np.ones(k - 1), -2 * np.ones(k), np.ones(k - 1)], offsets=[-1, 0, 1]) * (k + 1) ** 2
    eye = sparse.eye_array(k)
    return sparse.csc_array(sparse.kron(T, eye) + sparse.kron(eye, T))


def transport(k, speed=50.0):
    """Heat that is carried along: nonsymmetric, with complex eigenvalues."""
    D = sparse.diags_array([-np.ones(k - 1), np.ones(k - 1)], offsets=[-1, 1]) * (k + 1) / 2
    eye = sparse.eye_array(k)
    return sparse.csc_array(heat(k) - speed * sparse.kron(D, eye) - 2 * speed * sparse.kron(eye, D))


def mass(k):
    """The mass matrix of bilinear elements on the same grid."""
    M = sparse.diags_array([np.ones(k - 1), 4 * np.ones(k), np.ones(k - 1)], offsets=[-1, 0, 1]) / 6
    return sparse.csc_array(sparse.kron(M, M))


H, C, M = heat(11), transport(11), mass(11)
N = H.shape[0]
EYE = sparse.eye_array(N, format="csc")
PAIRS = {
    "heat": (Lyapunov, H, None),
    "heat over a mass matrix": (Lyapunov, H, M),
    "transport": (Lyapunov, C, None),
    "transport over a mass matrix": (Lyapunov, C, M),
    "a complex matrix": (Lyapunov, sparse.csc_array(C + 0.3j * H), None),
    "explicit steps of heat": (Stein, sparse.csc_array(EYE + 1e-3 * H), None),
    "implicit steps of heat": (Stein, EYE, sparse.csc_array(EYE - 1e-2 * H)),
    "trapezoidal steps of transport": (Stein, sparse.csc_array(EYE + 5e-3 * C), sparse.csc_array(EYE - 5e-3 * C)),
}


def inputs(n, m, *, is_complex=False, seed=0):
    rng = np.random.default_rng(seed)
    return rng.standard_normal((n, m)) + (1j * rng.standard_normal((n, m)) if is_complex else 0)


def residual(equation, Z):
    """The norm of the dense residual relative to that of the right-hand side."""
    terms = equation.terms(Z @ Z.conj().T)
    return np.linalg.norm(sum(terms)) / np.linalg.norm(terms[-1])


@pytest.mark.parametrize("solver", SOLVERS.values(), ids=SOLVERS)
@pytest.mark.parametrize("kind", PAIRS)
@pytest.mark.parametrize("m", [1, 5])
def test_the_residual_is_what_was_asked_for(solver, kind, m):
    equation, A, E = PAIRS[kind]
    problem = equation(A, Gram(inputs(N, m)), E)

    solution = solve(problem, solver)

    assert solution.converged
    assert residual(problem, solution.value.Z) <= 1.2e-10
    assert np.iscomplexobj(solution.value.Z) == (kind == "a complex matrix")
    assert solution.value.rank <= 30 * m


@pytest.mark.parametrize("solver", [ExtendedKrylov(rtol=1e-12), RationalKrylov(rtol=1e-12), LowRankADI(rtol=1e-12)])
@pytest.mark.parametrize("kind", PAIRS)
def test_the_factor_is_that_of_the_dense_solution(solver, kind):
    equation, A, E = PAIRS[kind]
    B = inputs(N, 2, is_complex=True)
    problem = equation(A, Gram(B), E)

    Z = solve(problem, solver).unwrap().Z

    X = solve(replace(problem.to_dense(), Q=B @ B.conj().T)).unwrap()
    assert np.linalg.norm(Z @ Z.conj().T - X) <= 1e-9 * np.linalg.norm(X)


@pytest.mark.parametrize("solver", SOLVERS.values(), ids=SOLVERS)
@pytest.mark.parametrize("kind", PAIRS)
def test_one_factorisation_serves_the_adjoint_equation(solver, kind):
    equation, A, E = PAIRS[kind]
    B, D = inputs(N, 1), inputs(N, 2, seed=1)

    kept = factor(equation(A, None, E), solver)
    P, Q = kept.solve(Gram(B)).unwrap(), kept.solve_adjoint(Gram(D)).unwrap()

    adjoint = equation(A, Gram(D), E).adjoint()
    assert residual(adjoint, Q.Z) <= 1.2e-10
    left, right = np.linalg.norm(P.Z.conj().T @ D), np.linalg.norm(Q.Z.conj().T @ B)
    assert abs(left - right) <= 1e-6 * left  # trace(P D D^H) = trace(Q B B^H)


@pytest.mark.parametrize("solver", SOLVERS.values(), ids=SOLVERS)
@pytest.mark.parametrize("kind", ["heat over a mass matrix", "transport", "implicit steps of heat"])
def test_callbacks_do_as_well_as_the_matrix(solver, kind):
    equation, A, E = PAIRS[kind]
    held = EYE if E is None else E

    def shifted(s, X):
        return sparse.linalg.spsolve(sparse.csc_array(A + s * held), X).reshape(X.shape)

    def shifted_adjoint(s, X):
        return sparse.linalg.spsolve(sparse.csc_array(A.T + s * held.T), X).reshape(X.shape)

    free = MatrixFree(N, lambda X: A @ X, shifted, lambda X: A.T @ X, shifted_adjoint, hermitian=kind != "transport")
    Q = Gram(inputs(N, 2))

    for problem in (equation(free, Q, E), equation(free, Q, E).adjoint()):
        Z = solve(problem, solver).unwrap().Z
        assert residual(problem, Z) <= 1.2e-10


def test_a_missing_callback_is_named():
    only_products = MatrixFree(N, lambda X: H @ X)
    only_solves = MatrixFree(N, solve=lambda s, X: np.linalg.solve(H.toarray() + s * np.eye(N), X))
    wrong_shape = MatrixFree(N, lambda X: X[0], lambda s, X: X)
    Q = Gram(inputs(N, 1))

    with pytest.raises(UnsupportedError, match="solve="):
        solve(Lyapunov(only_products, Q), ExtendedKrylov())
    with pytest.raises(UnsupportedError, match="product="):
        solve(Lyapunov(only_solves, Q), ExtendedKrylov())
    with pytest.raises(UnsupportedError, match="adjoint_solve="):
        solve(Lyapunov(only_solves, Q).adjoint(), ExtendedKrylov())
    with pytest.raises(ShapeError, match="product returned"):
        solve(Lyapunov(wrong_shape, Q), ExtendedKrylov())


@pytest.mark.parametrize("solver", SOLVERS.values(), ids=SOLVERS)
def test_an_unstable_mode_is_never_answered(solver):
    lifted = sparse.csc_array(H + 100 * EYE)  # the slowest modes grow
    swinging = sparse.csc_array(C + 1500 * EYE)

    for A in (lifted, swinging):
        solution = solve(Lyapunov(A, Gram(inputs(N, 2))), solver)
        assert solution.status in {Status.DIVERGED, Status.SINGULAR}
    assert not solve(Stein(sparse.csc_array(1.5 * EYE + 1e-3 * H), Gram(inputs(N, 1))), solver).converged


@pytest.mark.parametrize("solver", SOLVERS.values(), ids=SOLVERS)
def test_a_singular_E_is_told(solver):
    E = sparse.diags_array(np.r_[0.0, np.ones(N - 1)], format="csc")

    assert solve(Lyapunov(H, Gram(inputs(N, 1)), E), solver).status is Status.SINGULAR


@pytest.mark.parametrize("solver", SOLVERS.values(), ids=SOLVERS)
def test_a_singular_A_is_not_answered(solver):
    ring = sparse.csc_array(sparse.eye_array(50, k=1) + sparse.eye_array(50, k=-49) - sparse.eye_array(50))

    solution = solve(Lyapunov(ring, Gram(inputs(50, 1))), solver)

    assert not solution.converged
    with pytest.raises((SingularEquationError, ArithmeticError)):
        solution.unwrap()


@pytest.mark.parametrize("solver", [ExtendedKrylov(max_steps=3), RationalKrylov(max_steps=3), LowRankADI(max_steps=3)])
def test_too_few_steps_are_told_with_their_residual(solver):
    solution = solve(Lyapunov(H, Gram(inputs(N, 1))), solver)

    assert solution.status is Status.STEPS_EXHAUSTED
    assert solution.steps == 3
    assert 1e-9 < solution.residual < 1


@pytest.mark.parametrize("solver", SOLVERS.values(), ids=SOLVERS)
def test_odd_right_hand_sides(solver):
    zero = solve(Lyapunov(H, Gram(np.zeros((N, 3)))), solver)
    twice = solve(Lyapunov(H, Gram(np.repeat(inputs(N, 1), 2, axis=1))), solver)
    wide = solve(Lyapunov(heat(3), Gram(inputs(9, 14))), solver)
    one_state = solve(Lyapunov(sparse.csc_array([[-2.0]]), Gram(np.array([[2.0]]))), solver)

    assert zero.converged
    assert not zero.value.Z.any()
    assert all(solution.converged for solution in (twice, wide, one_state))
    assert residual(twice.equation, twice.value.Z) <= 1.2e-10
    assert residual(wide.equation, wide.value.Z) <= 1.2e-10
    assert abs(one_state.value.to_dense() - 1) <= 1e-9


@pytest.mark.parametrize("solver", SOLVERS.values(), ids=SOLVERS)
def test_a_batch_of_right_hand_sides_is_a_loop(solver):
    B = np.stack([inputs(N, 2, seed=k) for k in range(3)])

    batch = solve(Lyapunov(H, Gram(B)), solver)

    assert batch.converged
    assert batch.value.Z.shape[:2] == (3, N)
    for k in range(3):
        assert residual(Lyapunov(H, Gram(B[k])), batch.value.Z[k]) <= 1.2e-10


def test_single_precision_stays_single():
    problem = Lyapunov(H.astype(np.float32), Gram(inputs(N, 1).astype(np.float32)))

    solution = solve(problem, ExtendedKrylov())

    assert solution.converged
    assert solution.value.dtype == np.float32
    assert solution.residual < 1e-5


def test_inputs_stay_as_they_were():
    B = inputs(N, 2)
    before = B.copy(), C.data.copy(), M.data.copy()

    for solver in SOLVERS.values():
        solve(Lyapunov(C, Gram(B), M), solver)

    for array, copy in zip((B, C.data, M.data), before, strict=True):
        assert np.array_equal(array, copy)


def test_a_pivot_that_is_zero_gets_full_pivoting():
    rng = np.random.default_rng(2)
    rotation = sparse.csc_array(sparse.kron(sparse.diags_array(rng.uniform(1, 9, 40)), np.array([[0, 1], [-1, 0]])))
    damped = sparse.csc_array(rotation - sparse.diags_array(np.tile([0.0, 1.0], 40)))  # half of the diagonal is zero

    for solver in SOLVERS.values():
        solution = solve(Lyapunov(damped, Gram(inputs(80, 1))), replace(solver, rtol=1e-8))
        assert not solution.converged or residual(solution.equation, solution.value.Z) <= 1.2e-8


def test_cycles_and_the_adjoint_reuse_factors(monkeypatch):
    made = []
    original = _matrix_pair.factorize
    monkeypatch.setattr(
        _matrix_pair, "factorize", lambda *args, **options: made.append(1) or original(*args, **options)
    )

    kept = factor(Lyapunov(C), LowRankADI(FixedShifts((-300.0, -900.0, -3000.0))))
    first = kept.solve(Gram(inputs(N, 1)))
    count = len(made)
    second = kept.solve_adjoint(Gram(inputs(N, 2)))

    assert first.converged
    assert second.converged
    assert first.steps > 3
    assert count == len(made) == 3


RAIL = Path(os.environ.get("SSM_ZOO_DATA", "nowhere")) / "rail"


@pytest.mark.skipif(not RAIL.is_dir(), reason="SSM_ZOO_DATA has no rail data")
@pytest.mark.parametrize("solver", [ExtendedKrylov(), RationalKrylov(), LowRankADI()])
@pytest.mark.parametrize("n", [109, 371])
def test_the_steel_rail(solver, n):
    with np.load(RAIL / f"rail_{n}.npz") as file:
        data = dict(file)
    E, A = (
        sparse.csc_array((data[f"{x}_data"], data[f"{x}_indices"], data[f"{x}_indptr"]), shape=data[f"{x}_shape"])
        for x in "EA"
    )
    problem = Lyapunov(A, Gram(data["B"]), E)

    Z = solve(problem, solver).unwrap().Z

    assert residual(problem, Z) <= 1.2e-10
    observed = Lyapunov(A, Gram(np.ascontiguousarray(data["C"].T)), E).adjoint()
    assert residual(observed, solve(observed, solver).unwrap().Z) <= 1.2e-10


@pytest.mark.parametrize("solver", [ExtendedKrylov(), RationalKrylov(), LowRankADI()])
def test_lightly_damped_modes_take_the_whole_space(solver):
    rng = np.random.default_rng(4)
    blocks = [np.array([[-0.05 * k, k], [-k, -0.05 * k]]) * (1 + k / 9) for k in range(1, 21)]
    A = sparse.csc_array(sparse.block_diag(blocks) + 5 * sparse.triu(sparse.random_array((40, 40), rng=rng), 2))
    problem = Lyapunov(A, Gram(rng.standard_normal((40, 1))))

    solution = solve(problem, solver)

    assert solution.converged
    assert residual(problem, solution.value.Z) <= 2e-10
