import math

import mpmath
import numpy as np
import pytest
import torch

from ssm_gramians import (
    ConvergenceError,
    Diagonal,
    InstabilityError,
    StateSpace,
    controllability_gramian,
    observability_gramian,
)
from ssm_gramians._band import bands_of
from ssm_gramians._band_gramian import band_gramian, nearest_semidefinite
from ssm_gramians._band_weights import band_weighting
from ssm_gramians._matrix_logarithm import log_one_plus
from ssm_gramians.backends import get_backend
from ssm_gramians.solvers.closed_form import weigh_modes
from ssm_gramians.testing import as_numpy, assert_close, assert_same_kind

DTS = pytest.mark.parametrize("dt", [0.0, 0.5], ids=["continuous", "discrete"])


def modal(rng, *, dt, paired=False, real=False, batch=(), n=4):
    slots = rng.uniform(0.3, 0.95, (*batch, n)) * np.exp(1j * rng.uniform(0, np.pi, (*batch, n)))
    slots = slots if dt else -rng.uniform(0.05, 1.0, (*batch, n)) + 1j * rng.uniform(0, 3.0, (*batch, n))
    B = rng.standard_normal((*batch, n, 2)) + 1j * rng.standard_normal((*batch, n, 2))
    slots, B = (slots.real, B.real) if real else (slots, B)
    return StateSpace(Diagonal(slots, paired), B, np.swapaxes(B, -1, -2), dt=dt)


def on(system, asarray):
    A = system.A.map(asarray) if isinstance(system.A, Diagonal) else asarray(system.A)
    return StateSpace(A, asarray(system.B), asarray(system.C), dt=system.dt)


def integral(system, low, high, panels=40):
    """Return the Gramian of the band from the resolvent, by Gauss' rule in panels."""
    A, B = system.to_dense().A, system.to_dense().B + 0j
    nodes, weights = np.polynomial.legendre.leggauss(20)
    edges = np.linspace(low, high, panels + 1)
    omega = (edges[:-1, None] + np.diff(edges)[:, None] * (1 + nodes) / 2).ravel()
    weights = np.concatenate([np.ravel(np.diff(edges)[:, None] * weights / 2)] * 2) * (system.dt or 1.0) / (2 * np.pi)
    omega = np.concatenate((omega, -omega))
    points = np.exp(1j * omega * system.dt) if system.dt else 1j * omega
    R = np.linalg.solve(points[:, None, None] * np.eye(len(A)) - A, np.broadcast_to(B, (len(points), *B.shape)))
    return np.einsum("k,kim,kjm->ij", weights, R, R.conj())


@DTS
@pytest.mark.parametrize("kind", ["real", "complex", "paired"])
@pytest.mark.parametrize("band", [(0.5, 2.0), (0.0, 1.0), (1.0, 1.0001), (2.5, 6.0)])
def test_the_gramian_of_a_band_is_the_integral(asarray, rng, dt, kind, band):
    system = modal(rng, dt=dt, paired=kind == "paired", real=kind == "real")

    modes = band_gramian(on(system, asarray), band)
    dense = band_gramian(on(system.to_dense(), asarray), band)

    expected = integral(system, *band)
    assert_close(modes, expected if kind == "complex" else expected.real, rtol=1e-12)
    assert_close(dense, expected if kind == "complex" else expected.real, rtol=1e-11)


@DTS
@pytest.mark.parametrize("dense", [True, False])
def test_bands_that_make_up_all_frequencies_add_up_to_the_gramian(rng, dt, dense):
    system = modal(rng, dt=dt, paired=True)
    system = system.to_dense() if dense else system
    top = math.pi / dt if dt else math.inf

    parts = band_gramian(system, [(0.0, 0.7), (2.0, 3.5)]) + band_gramian(system, [(0.7, 2.0), (3.5, top)])

    assert_close(parts, controllability_gramian(system), rtol=1e-12)


@DTS
def test_every_entry_is_right_next_to_the_edge_of_stability(dt):
    slots = np.array([-1e-12 + 1j, -1e-9 + 1.0000001j, -1e-13 + 3j, -1e-3 + 2.0000000001j, -5.0 + 0j])
    slots = np.exp(slots * dt) if dt else slots
    weighting = band_weighting(bands_of((0.5, 2.0), dt), discrete=bool(dt))

    P = weigh_modes(Diagonal(slots), np.ones((5, 5), complex), weighting)

    with mpmath.workdps(60):
        exact = [[reference_weight(complex(a), complex(b), 0.5, 2.0, dt) for b in slots] for a in slots]
        for i, j in np.ndindex(5, 5):
            assert abs(mpmath.mpc(complex(P[i, j])) / exact[i][j] - 1) < (1e-12 if dt else 1e-13)


def reference_weight(a, b, low, high, dt):
    """Return the integral of 1 / ((point - a) conj(point - b)) from its antiderivative, on both signs of frequency."""
    a, b = mpmath.mpc(a), mpmath.conj(mpmath.mpc(b))

    def antiderivative(omega):
        if not dt:
            return 1j * (mpmath.log(1j * omega - a) - mpmath.log(-1j * omega - b)) / (a + b)
        turn = mpmath.expj(omega * mpmath.mpf(dt))
        return (omega * mpmath.mpf(dt) - 1j * mpmath.log(1 - a / turn) + 1j * mpmath.log(1 - b * turn)) / (1 - a * b)

    ends = (mpmath.mpf(low), mpmath.mpf(high))
    total = sum(antiderivative(end) - antiderivative(start) for start, end in (ends, (-ends[1], -ends[0])))
    return total / (2 * mpmath.pi)


@DTS
@pytest.mark.parametrize("dense", [True, False])
def test_an_unstable_system_has_a_gramian_of_a_band(rng, dt, dense):
    slots = np.exp(np.array([0.3 + 1j, -0.2 + 2j]) * dt) if dt else np.array([0.3 + 1j, -0.2 + 2j])
    system = StateSpace(Diagonal(slots), rng.standard_normal((2, 1)) + 0j, np.ones((1, 2), complex), dt=dt)

    P = band_gramian(system.to_dense() if dense else system, (0.5, 2.5))

    assert_close(P, integral(system, 0.5, 2.5, panels=100), rtol=1e-12)


@DTS
@pytest.mark.parametrize("batch", [(0,), (1,), (2, 3)])
@pytest.mark.parametrize("dense", [True, False])
def test_a_batch_equals_a_loop(asarray, rng, dt, batch, dense):
    system = modal(rng, dt=dt, batch=batch)
    system = system.to_dense() if dense else system

    P = as_numpy(band_gramian(on(system, asarray), (0.5, 2.0)))

    assert P.shape == (*batch, 4, 4)
    for index in np.ndindex(batch):
        A = system.A[index] if dense else Diagonal(system.A.eigenvalues[index])
        one = StateSpace(A, system.B[index], system.C[index], dt=dt)
        assert_close(P[index], band_gramian(one, (0.5, 2.0)), rtol=1e-12)


@pytest.mark.parametrize("A", [np.array([[-0.5]]), -np.eye(3) + 5.0 * np.eye(3, k=1)], ids=["one state", "defective"])
def test_small_and_defective_systems(A):
    system = StateSpace(A, np.ones((len(A), 1)), np.ones((1, len(A))))

    assert_close(band_gramian(system, (0.2, 1.5)), integral(system, 0.2, 1.5).real, rtol=1e-12)


def test_a_descriptor_system_is_divided_by_E(rng):
    A, E = rng.standard_normal((3, 3)) - 3 * np.eye(3), rng.standard_normal((3, 3)) + 3 * np.eye(3)
    B, C = rng.standard_normal((3, 2)), rng.standard_normal((1, 3))
    plain = StateSpace(np.linalg.solve(E, A), np.linalg.solve(E, B), C)

    P = band_gramian(StateSpace(A, B, C, E=E), (0.2, 1.5))

    assert_close(P, band_gramian(plain, (0.2, 1.5)), rtol=1e-12)


@pytest.mark.parametrize("dense", [True, False])
def test_single_precision_stays_single(asarray, rng, dense):
    system = modal(rng, dt=0.0, paired=True)
    exact = integral(system, 0.5, 2.0).real
    single = StateSpace(
        Diagonal(system.A.eigenvalues.astype(np.complex64), True),
        system.B.astype(np.complex64),
        system.C.astype(np.complex64),
    )
    single = on(single.to_dense() if dense else single, asarray)

    P = band_gramian(single, (0.5, 2.0))

    assert_same_kind(P, asarray(np.float32(0)))
    assert_close(P, exact, rtol=3e-4 if dense else 1e-5)


def test_the_gramian_is_semidefinite_where_rounding_would_not_have_it(rng):
    A = -np.diag(np.arange(1.0, 13.0))
    system = StateSpace(A, np.ones((12, 1)), np.ones((1, 12)))

    P = band_gramian(system, (0.5, 0.5001))

    assert np.linalg.eigvalsh(P)[0] > -1e-16 * np.linalg.norm(P)


def test_what_is_more_than_rounding_is_refused():
    with pytest.raises(ConvergenceError, match="negative"):
        nearest_semidefinite(np.diag([1.0, -1e-3]), get_backend("scipy"))


def test_a_pole_on_the_band_is_refused():
    on_the_axis = StateSpace(Diagonal(np.array([1j])), np.ones((1, 1), complex), np.ones((1, 1), complex))

    for system in (on_the_axis, on_the_axis.to_dense(), StateSpace(np.eye(1) * 1j, np.ones((1, 1)), np.ones((1, 1)))):
        for band in ((0.5, 2.0), (0.5, 1.0), (1.0, 2.0)):
            with pytest.raises(InstabilityError, match="lies on the band"):
                band_gramian(system, band)


def test_a_pole_on_the_axis_outside_the_band_does_no_harm():
    on_the_axis = StateSpace(Diagonal(np.array([3j])), np.ones((1, 1), complex), np.ones((1, 1), complex))
    exact = ((1 / 1.0 - 1 / 2.5) + (1 / 3.5 - 1 / 5.0)) / (2 * np.pi)

    assert_close(band_gramian(on_the_axis, (0.5, 2.0)), np.array([[exact]]), rtol=1e-14)


@pytest.mark.parametrize(
    "band", [(2.0, 1.0), (1.0, 1.0), (-1.0, 1.0), (0.0, 7.0), [(0.0, 2.0), (1.0, 3.0)], [], [(0.0, 1.0, 2.0)]]
)
def test_bad_bands_are_refused(band):
    with pytest.raises(ValueError, match=r"rad/s"):
        bands_of(band, 0.5)


def test_the_logarithm_inverts_the_exponential(asarray, rng):
    from scipy import linalg

    L = 0.8 * (rng.standard_normal((2, 5, 5)) + 1j * rng.standard_normal((2, 5, 5))) / np.sqrt(5)
    X = np.stack([linalg.expm(M) for M in L]) - np.eye(5)

    got = log_one_plus(asarray(X), get_backend(asarray(X)))

    assert_close(got, L, rtol=1e-12)


def test_the_logarithm_of_almost_the_identity_keeps_its_digits(rng):
    X = 1e-10 * (rng.standard_normal((3, 3)) + 0j)

    assert_close(log_one_plus(X, get_backend("scipy")), X - X @ X / 2, rtol=1e-15)


def test_a_logarithm_on_its_cut_is_refused():
    with pytest.raises(ConvergenceError, match="zero or negative"):
        log_one_plus(np.array([[-2.0 + 0j]]), get_backend("scipy"))


@DTS
@pytest.mark.parametrize("dense", [True, False])
def test_gradients_flow_through(dt, dense):
    generator = torch.Generator().manual_seed(3)
    slots = torch.tensor([-0.5 + 1j, -0.1 + 2j])
    slots = torch.exp(slots * dt) if dt else slots
    B = torch.randn(2, 1, dtype=torch.complex128, generator=generator)

    def gramian(slots, B):
        system = StateSpace(Diagonal(slots, True), B, B.mT, dt=dt)
        return band_gramian(system.to_dense() if dense else system, (0.5, 2.0))

    arguments = slots.to(torch.complex128).requires_grad_(), B.requires_grad_()
    assert torch.autograd.gradcheck(gramian, arguments, fast_mode=True)


@DTS
@pytest.mark.parametrize("dense", [False, True])
def test_systems_take_bands(asarray, rng, dt, dense):
    system = modal(rng, dt=dt, paired=True)
    mine = on(system.to_dense() if dense else system, asarray)
    bands = [(0.0, 0.5), (1.0, 2.0)]

    P, Q = controllability_gramian(mine, band=bands), observability_gramian(mine, band=bands)

    assert_close(P, sum(integral(system, *band) for band in bands).real, rtol=1e-11)
    assert_close(Q, sum(integral(system.dual(), *band) for band in bands).real, rtol=1e-11)


@pytest.mark.parametrize("dense", [False, True])
def test_a_band_across_a_lightly_damped_pole(dense):
    system = StateSpace(Diagonal(np.array([-1e-5 + 1j]), True), np.ones((1, 1)) + 0j, np.ones((1, 1)) + 0j)
    system = system.to_dense() if dense else system

    P = band_gramian(system, (0.99, 1.01))

    # all but the tails of the resonance lie in the band
    tails = band_gramian(system, [(0.0, 0.99), (1.01, math.inf)])
    assert_close(P + tails, controllability_gramian(system), rtol=1e-9 if dense else 1e-14)
    assert np.linalg.norm(tails) < 1e-2 * np.linalg.norm(P)
