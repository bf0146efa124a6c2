import mpmath
import numpy as np
import pytest
import torch
from scipy import linalg

from ssm_gramians import (
    BartelsStewart,
    Diagonal,
    InstabilityError,
    Kronecker,
    NonFiniteError,
    SquaredSmith,
    StateSpace,
    controllability_gramian,
    get_backend,
    gramian_factors,
    observability_gramian,
)
from ssm_gramians.testing import as_numpy, assert_close

DTS = pytest.mark.parametrize("dt", [1.0, 0.0], ids=["discrete", "continuous"])


def modal(rng, *, dt=1.0, paired=True, batch=(), n=4, m=2, p=3):
    slots = rng.uniform(0.5, 0.99, (*batch, n)) * np.exp(1j * rng.uniform(0, np.pi, (*batch, n)))
    slots = slots if dt else slots - 1.2
    B, C = (rng.standard_normal((*batch, *s)) + 1j * rng.standard_normal((*batch, *s)) for s in ((n, m), (p, n)))
    return StateSpace(Diagonal(slots, paired), B, C, dt=dt)


def on(system, asarray):
    A = (
        Diagonal(asarray(system.A.eigenvalues), system.A.paired)
        if isinstance(system.A, Diagonal)
        else asarray(system.A)
    )
    return StateSpace(A, asarray(system.B), asarray(system.C), asarray(np.array(system.D)), system.dt)


def reference(A, B, dt):
    Q = B @ B.conj().T
    return linalg.solve_discrete_lyapunov(A, Q) if dt else linalg.solve_continuous_lyapunov(A, -Q)


@DTS
@pytest.mark.parametrize("paired", [True, False])
@pytest.mark.parametrize("dense", [True, False])
def test_gramians_solve_their_equations(asarray, rng, dt, paired, dense):
    system = modal(rng, dt=dt, paired=paired)
    real = system.to_dense()
    P, Q = reference(real.A, real.B, dt), reference(real.A.conj().T, real.C.conj().T, dt)
    mine = on(real if dense else system, asarray)

    got_P, got_Q = controllability_gramian(mine), observability_gramian(mine)
    Z_P, Z_Q = gramian_factors(mine)

    assert type(got_P) is type(mine.B)
    assert as_numpy(got_P).dtype == (np.float64 if paired else np.complex128)
    assert_close(got_P, P, rtol=1e-11)
    assert_close(got_Q, Q, rtol=1e-11)
    assert_close(got_P, as_numpy(got_P).conj().T, rtol=0)
    for Z, X in ((as_numpy(Z_P), P), (as_numpy(Z_Q), Q)):
        assert_close(Z @ Z.conj().T, X, rtol=1e-11)
        assert Z.shape[-1] <= real.order


@pytest.mark.parametrize("solver", [BartelsStewart(), SquaredSmith(), Kronecker()])
@DTS
def test_every_solver_gives_the_same_gramian(rng, solver, dt):
    system = modal(rng, dt=dt)
    assert_close(controllability_gramian(system, solver=solver), controllability_gramian(system), rtol=1e-11)
    Z, _ = gramian_factors(system, solver=solver)
    assert_close(Z @ Z.T, controllability_gramian(system), rtol=1e-11)


def test_the_numba_backend_gives_the_same_gramian(rng):
    system = modal(rng, batch=(5,))
    assert_close(controllability_gramian(system, backend="numba"), controllability_gramian(system), rtol=1e-14)


@pytest.mark.parametrize("horizon", [1, 2, 3, 7, 8, 100])
@pytest.mark.parametrize("average", [True, False])
@pytest.mark.parametrize("growing", [True, False])
def test_a_finite_horizon_is_the_finite_sum(asarray, rng, horizon, average, growing):
    system = modal(rng)
    if growing:
        slots = np.array([1.0, 1.03 * np.exp(0.5j), np.exp(1j), -1.0])
        system = StateSpace(Diagonal(slots, paired=True), system.B, system.C, dt=1.0)
    dense = system.to_dense()
    weights = 1 - np.arange(horizon) / horizon if average else np.ones(horizon)
    P = sum(w * _square(np.linalg.matrix_power(dense.A, k) @ dense.B) for k, w in enumerate(weights))
    Q = sum(w * _square(np.linalg.matrix_power(dense.A.T, k) @ dense.C.T) for k, w in enumerate(weights))

    for mine in (on(system, asarray), on(dense, asarray)):
        options = {"horizon": horizon, "average": average}
        assert_close(controllability_gramian(mine, **options), P, rtol=1e-12)
        assert_close(observability_gramian(mine, **options), Q, rtol=1e-12)
        for Z, X in zip(gramian_factors(mine, **options), (P, Q), strict=True):
            assert_close(as_numpy(Z) @ as_numpy(Z).T, X, rtol=1e-12)


def _square(M):
    return M @ M.conj().T


def test_the_average_is_the_mean_over_all_horizons(rng):
    system = modal(rng)
    mean = np.mean([controllability_gramian(system, horizon=k) for k in range(1, 12)], axis=0)
    assert_close(controllability_gramian(system, horizon=11, average=True), mean, rtol=1e-14)


def test_a_long_horizon_is_right_to_twelve_digits():
    slots = np.array([1 - 1e-9, np.exp(0.3j) * (1 - 1e-5), 0.5])
    ones = np.ones((3, 1), complex)
    got = controllability_gramian(StateSpace(Diagonal(slots), ones, ones.T, dt=1.0), horizon=784)

    with mpmath.workdps(40):
        for i in range(3):
            for j in range(3):
                ratio = mpmath.mpc(complex(slots[i])) * mpmath.conj(mpmath.mpc(complex(slots[j])))
                exact = (1 - ratio**784) / (1 - ratio)
                assert abs(mpmath.mpc(complex(got[i, j])) / exact - 1) < 1e-12


def test_an_endless_horizon_is_the_infinite_one(rng):
    system = modal(rng)
    assert_close(controllability_gramian(system, horizon=10**5), controllability_gramian(system), rtol=1e-12)


def hankel_reference(system):
    """Return the Hankel singular values of a paired discrete system, in 50 digits."""
    with mpmath.workdps(50):
        poles = [mpmath.mpc(complex(z)) for z in system.A.poles()]
        n = len(poles)
        B = mpmath.matrix(np.concatenate([system.B, system.B.conj()]).tolist())
        C = mpmath.matrix(np.concatenate([system.C, system.C.conj()], axis=1).T.conj().tolist())
        P, Q = B * B.H, C * C.H
        for i in range(n):
            for j in range(n):
                P[i, j] /= 1 - poles[i] * mpmath.conj(poles[j])
                Q[i, j] /= 1 - mpmath.conj(poles[i]) * poles[j]
        L = mpmath.cholesky(P)
        values = mpmath.eighe(L.H * Q * L, eigvals_only=True)
        return [mpmath.sqrt(values[k]) for k in reversed(range(n))]


@pytest.fixture(scope="module")
def graded():
    """Return a system with Hankel singular values over six decades, and these to 50 digits."""
    rng = np.random.default_rng(5)
    n = 8
    slots = rng.uniform(0.8, 0.999, n) * np.exp(0.6j * rng.uniform(0, 1, n))
    B, C = (rng.standard_normal(s) + 1j * rng.standard_normal(s) for s in ((n, 1), (1, n)))
    system = StateSpace(Diagonal(slots, paired=True), B * np.sqrt(1 - abs(slots) ** 2)[:, None], C, dt=1.0)
    return system, hankel_reference(system)


@pytest.mark.parametrize("make", [np.asarray, torch.tensor], ids=["numpy", "torch"])
@pytest.mark.parametrize(
    ("dense", "solver", "rtol"), [(False, None, 1e-10), (True, None, 1e-12), (False, SquaredSmith(), 1e-12)]
)
def test_all_hankel_singular_values_are_right(graded, make, dense, solver, rtol):
    system, exact = graded
    assert exact[-1] < 3e-6 * exact[0]

    mine = on(system.to_dense() if dense else system, make)
    Z_P, Z_Q = (as_numpy(Z) for Z in gramian_factors(mine, solver=solver))
    values = np.linalg.svd(Z_Q.T @ Z_P, compute_uv=False)

    assert max(abs(float(value / true - 1)) for value, true in zip(values, exact, strict=True)) < rtol


def test_factors_are_in_double_precision_and_gramians_in_their_own(rng):
    system = modal(rng)
    single = StateSpace(
        Diagonal(system.A.eigenvalues.astype(np.complex64), paired=True),
        system.B.astype(np.complex64),
        system.C.astype(np.complex64),
        dt=1.0,
    )
    assert controllability_gramian(single).dtype == np.float32
    assert_close(controllability_gramian(single), controllability_gramian(system), rtol=1e-4)
    assert all(Z.dtype == np.float64 for Z in gramian_factors(single))


@pytest.mark.parametrize("batch", [(0,), (1,), (2, 3)])
@pytest.mark.parametrize("dense", [True, False])
def test_a_batch_equals_a_loop(asarray, rng, batch, dense):
    system = modal(rng, batch=batch)
    system = system.to_dense() if dense else system

    P = as_numpy(controllability_gramian(on(system, asarray)))
    Z = as_numpy(gramian_factors(on(system, asarray))[1])

    assert P.shape == (*batch, 8, 8)
    assert Z.shape[:-1] == (*batch, 8)
    for index in np.ndindex(batch):
        A = Diagonal(system.A.eigenvalues[index], True) if not dense else system.A[index]
        one = StateSpace(A, system.B[index], system.C[index], dt=1.0)
        assert_close(P[index], controllability_gramian(one), rtol=1e-11)
        assert_close(Z[index] @ Z[index].T, observability_gramian(one), rtol=1e-11)


def test_a_real_pole_in_a_slot_leaves_a_dead_state(asarray):
    system = StateSpace(
        Diagonal(asarray(np.array([0.5 + 0j])), True),
        asarray(np.ones((1, 1), complex)),
        asarray(np.ones((1, 1), complex)),
        dt=1.0,
    )
    assert_close(controllability_gramian(system), np.diag([4 / 3, 0.0]), rtol=1e-15)
    Z_P, Z_Q = gramian_factors(system)
    assert_close(as_numpy(Z_P) @ as_numpy(Z_P).T, np.diag([4 / 3, 0.0]), rtol=1e-15)
    assert_close(as_numpy(Z_Q) @ as_numpy(Z_Q).T, np.diag([16 / 3, 0.0]), rtol=1e-15)


def test_a_redundant_state_adds_nothing_to_the_factor():
    slots = np.array([0.5, 0.5, 0.2])
    ones = np.ones((3, 1))
    Z, _ = gramian_factors(StateSpace(Diagonal(slots), ones, ones.T, dt=1.0))
    assert np.linalg.matrix_rank(Z) == 2


@pytest.mark.parametrize(
    ("A", "dt", "worst"),
    [
        (np.array([[0.5, 9.0], [0.0, 1.2]]), 1.0, 1.2),
        (np.diag([0.5, -1.0]), 1.0, -1.0),
        (np.diag([-1.0, 0.25]), 0.0, 0.25),
        (np.zeros((2, 2)), 0.0, 0.0),
        (Diagonal(np.array([0.5, 1.2])), 1.0, 1.2),
        (Diagonal(np.array([-1.0, 1e-3])), 0.0, 1e-3),
    ],
)
def test_an_unstable_system_is_refused_with_its_eigenvalue(asarray, A, dt, worst):
    system = on(StateSpace(A, np.ones((2, 1)), np.ones((1, 2)), dt=dt), asarray)
    for call in (controllability_gramian, observability_gramian, gramian_factors):
        with pytest.raises(InstabilityError) as caught:
            call(system)
        named = isinstance(A, Diagonal) or "eigenvalues" in get_backend(system.B).provides
        assert caught.value.eigenvalue == (pytest.approx(worst) if named else None)


def test_nan_is_refused():
    system = StateSpace(Diagonal(np.array([0.5, np.nan])), np.ones((2, 1)), np.ones((1, 2)), dt=1.0)
    with pytest.raises(NonFiniteError, match="A has"):
        controllability_gramian(system)
    broken = StateSpace(np.eye(2) / 2, np.ones((2, 1)), np.array([[np.inf, 1.0]]), dt=1.0)
    with pytest.raises(NonFiniteError, match="C has"):
        gramian_factors(broken)


def test_bad_horizons_are_named(rng):
    with pytest.raises(ValueError, match="at least 1"):
        controllability_gramian(modal(rng), horizon=0)
    with pytest.raises(ValueError, match="whole number"):
        controllability_gramian(modal(rng), horizon=2.5)
    with pytest.raises(ValueError, match="needs a horizon"):
        controllability_gramian(modal(rng), average=True)
    with pytest.raises(ValueError, match="positive number of seconds"):
        controllability_gramian(modal(rng, dt=0.0), horizon=-3.0)
    with pytest.raises(ValueError, match="want one of them"):
        controllability_gramian(modal(rng), horizon=3, band=(0.0, 1.0))


@pytest.mark.parametrize("horizon", [None, 6])
def test_gradients_flow_through_a_paired_gramian(rng, horizon):
    system = modal(rng, n=3)
    inputs = [torch.tensor(M).requires_grad_() for M in (system.A.eigenvalues, system.B)]

    def gramian(slots, B):
        return controllability_gramian(
            StateSpace(Diagonal(slots, True), B, torch.tensor(system.C), dt=1.0), horizon=horizon
        )

    assert torch.autograd.gradcheck(gramian, inputs)


def test_systems_are_untouched(rng):
    system = modal(rng)
    for array in (system.A.eigenvalues, system.B, system.C):
        array.flags.writeable = False
    gramian_factors(system)
    gramian_factors(system, horizon=5)
    gramian_factors(system.to_dense())
