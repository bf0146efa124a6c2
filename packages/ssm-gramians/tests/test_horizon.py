import math

import mpmath
import numpy as np
import pytest
import torch
from scipy import linalg

from ssm_gramians import ConvergenceError, Diagonal, StateSpace, controllability_gramian, observability_gramian
from ssm_gramians._finite_horizon import continuous_horizon_factor, exponential_weighting
from ssm_gramians.solvers.closed_form import weigh_modes
from ssm_gramians.testing import as_numpy, assert_close, assert_same_kind


def gram(Z):
    Z = as_numpy(Z)
    return Z @ np.swapaxes(Z, -1, -2).conj()


def integral(A, B, horizon, *, average=False, panels=40):
    """Return the Gramian by Gauss' rule in panels, from SciPy's matrix exponential."""
    nodes, weights = np.polynomial.legendre.leggauss(12)
    step, total = horizon / panels, 0.0
    for panel in range(panels):
        for node, weight in zip((1 + nodes) / 2, weights / 2, strict=True):
            time = (panel + node) * step
            F = linalg.expm(A * time) @ B
            total = total + weight * step * (1 - time / horizon if average else 1) * F @ F.conj().T
    return total


SYSTEMS = {
    "one state": np.array([[-0.3]]),
    "unstable": np.array([[0.4, 1.0], [0.0, 0.2]]),
    "an integrator chain": np.eye(3, k=1),
    "an oscillator": np.array([[0.0, 2.0], [-2.0, 0.0]]),
    "a defective matrix": -0.5 * np.eye(4) + np.eye(4, k=1),
    "far from normal": -np.eye(3) + 30.0 * np.eye(3, k=1),
    "complex": np.array([[-0.1 + 2j, 1.0], [0.5j, -0.2 - 1j]]),
}


@pytest.mark.parametrize("name", SYSTEMS)
@pytest.mark.parametrize("average", [False, True])
def test_the_factor_is_that_of_the_integral(asarray, name, average):
    A = SYSTEMS[name]
    B = np.linspace(1.0, 2.0, 2 * len(A)).reshape(len(A), 2)

    Z = continuous_horizon_factor(asarray(A), asarray(B), 1.5, average=average)

    assert Z.shape[-1] <= len(A)
    assert_close(gram(Z), integral(A, B, 1.5, average=average), rtol=1e-13)


def test_a_long_horizon_is_the_infinite_one(rng):
    A, B = rng.standard_normal((6, 6)) - 4 * np.eye(6), rng.standard_normal((6, 2))

    Z = continuous_horizon_factor(A, B, 1e4)

    assert_close(gram(Z), linalg.solve_continuous_lyapunov(A, -B @ B.T), rtol=1e-12)


def test_a_short_horizon_keeps_its_digits(rng):
    A, B = rng.standard_normal((4, 4)), rng.standard_normal((4, 4))
    T = 1e-9  # as a difference of two infinite Gramians nine digits would be gone

    Z = continuous_horizon_factor(A, B, T)

    BB = B @ B.T
    assert_close(gram(Z), T * BB + T**2 / 2 * (A @ BB + BB @ A.T), rtol=1e-15)


def test_a_stiff_system_keeps_the_slow_mode():
    A, B = np.diag([-1e6, -1.0]), np.ones((2, 1))

    P = gram(continuous_horizon_factor(A, B, 2.0))

    assert abs(P[1, 1] / (-math.expm1(-4.0) / 2) - 1) < 1e-10
    assert abs(P[0, 0] / 5e-7 - 1) < 1e-10


def test_the_average_is_the_mean_over_the_horizons(rng):
    A, B = rng.standard_normal((3, 3)), rng.standard_normal((3, 1))
    nodes, weights = np.polynomial.legendre.leggauss(20)

    average = gram(continuous_horizon_factor(A, B, 2.0, average=True))

    horizons = 1 + nodes
    mean = sum(w / 2 * gram(continuous_horizon_factor(A, B, T)) for T, w in zip(horizons, weights, strict=True))
    assert_close(average, mean, rtol=1e-13)


@pytest.mark.parametrize("batch", [(0,), (1,), (2, 3)])
def test_a_batch_equals_a_loop(asarray, rng, batch):
    A, B = rng.standard_normal((*batch, 3, 3)), rng.standard_normal((*batch, 3, 2))

    Z = as_numpy(continuous_horizon_factor(asarray(A), asarray(B), 0.7))

    assert Z.shape[:-1] == (*batch, 3)
    for index in np.ndindex(batch):
        assert_close(gram(Z[index]), gram(continuous_horizon_factor(A[index], B[index], 0.7)), rtol=1e-13)


def test_single_precision_stays_single(asarray, rng):
    A, B = rng.standard_normal((4, 4)).astype(np.float32), rng.standard_normal((4, 1)).astype(np.float32)

    Z = continuous_horizon_factor(asarray(A), asarray(B), 1.0)

    assert_same_kind(Z, asarray(B))
    assert_close(gram(Z), integral(A.astype(float), B.astype(float), 1.0), rtol=1e-5)


@pytest.mark.filterwarnings("ignore:overflow", "ignore:invalid value")
def test_a_mode_beyond_the_range_of_numbers_is_refused():
    with pytest.raises(ConvergenceError, match="shorter horizon"):
        continuous_horizon_factor(np.array([[1.0]]), np.ones((1, 1)), 1e4)


@pytest.mark.parametrize("paired", [False, True])
@pytest.mark.parametrize("average", [False, True])
@pytest.mark.parametrize("T", [1e-6, 0.9, 50.0])
def test_modes_give_the_same_as_the_dense_matrix(asarray, rng, paired, average, T):
    A = Diagonal(np.array([-0.1 + 2j, 0.02j, -3.0 + 0j, 0.01 - 1j]), paired)
    B = rng.standard_normal((*A.shape[:-1], 2))
    B = B if paired else B + 1j * rng.standard_normal(B.shape)

    P = weigh_modes(A.map(asarray), asarray(B @ B.conj().T), exponential_weighting(T, average=average))

    assert_close(P, gram(continuous_horizon_factor(A.to_dense(), B, T, average=average)), rtol=2e-13)


@pytest.mark.parametrize("average", [False, True])
def test_every_entry_of_a_modal_gramian_is_right(average):
    slots = np.array([1e-9j, -1e-12 + 1e-9j, -0.3 + 4j, 0.05 + 4j, -200.0 + 0j])
    T = 3.0

    P = weigh_modes(Diagonal(slots), np.ones((5, 5), complex), exponential_weighting(T, average=average))

    with mpmath.workdps(50):
        for i, j in np.ndindex(5, 5):
            z = (mpmath.mpc(complex(slots[i])) + mpmath.conj(mpmath.mpc(complex(slots[j])))) * T
            exact = mpmath.mpf(T) if z == 0 else T * mpmath.expm1(z) / z
            exact = exact if not average else T / 2.0 if z == 0 else T * (mpmath.expm1(z) - z) / z**2
            assert abs(mpmath.mpc(complex(P[i, j])) / exact - 1) < 1e-14


@pytest.mark.parametrize("average", [False, True])
def test_gradients_flow_through_factors(average):
    generator = torch.Generator().manual_seed(3)
    A, B = (torch.randn(3, 3, dtype=torch.float64, generator=generator).requires_grad_() for _ in range(2))

    def gramian(A, B):
        Z = continuous_horizon_factor(A, B, 1.5, average=average)
        return Z @ Z.mT

    assert torch.autograd.gradcheck(gramian, (A, B))


@pytest.mark.parametrize("average", [False, True])
def test_gradients_flow_through_modes_that_do_not_decay(average):
    slots = torch.tensor([0j, 1j, -1.0 + 0j], dtype=torch.complex128).requires_grad_()
    Q = torch.ones(3, 3, dtype=torch.complex128)

    def gramian(slots):
        return weigh_modes(Diagonal(slots), Q, exponential_weighting(1.5, average=average))

    assert torch.autograd.gradcheck(gramian, (slots,))


@pytest.mark.parametrize("average", [False, True])
@pytest.mark.parametrize("dense", [False, True])
def test_systems_take_horizons_in_seconds(asarray, rng, average, dense):
    B, C = (rng.standard_normal(s) + 1j * rng.standard_normal(s) for s in ((2, 1), (1, 2)))
    system = StateSpace(Diagonal(np.array([0.1 + 2j, -0.5 + 0j]), True), B, C)
    real = system.to_dense()
    source = real if dense else system
    A = source.A.map(asarray) if isinstance(source.A, Diagonal) else asarray(source.A)
    mine = StateSpace(A, asarray(source.B), asarray(source.C))

    P = controllability_gramian(mine, horizon=1.5, average=average)
    Q = observability_gramian(mine, horizon=1.5, average=average)

    assert_close(P, integral(real.A, real.B, 1.5, average=average), rtol=1e-13)
    assert_close(Q, integral(real.A.T, real.C.T, 1.5, average=average), rtol=1e-13)
