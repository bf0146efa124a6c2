import mpmath
import numpy as np
import pytest

from ssm_balance import balanced_truncation, hankel_singular_values
from ssm_gramians import Diagonal, StateSpace


def precise_values(system):
    """σ of a paired discrete system with 60 digits: sums over modes and conjugates, no code of ours."""
    with mpmath.workdps(60):
        half = [mpmath.mpc(z.real, z.imag) for z in system.A.eigenvalues]
        poles = half + [mpmath.conj(z) for z in half]
        n, k = len(half), len(poles)
        B = mpmath.matrix(np.vstack([system.B, system.B.conj()]).tolist())
        C = mpmath.matrix(np.hstack([system.C, system.C.conj()]).tolist())
        BB, CC = B * B.H, C.H * C
        P = mpmath.matrix(k, k)
        Q = mpmath.matrix(k, k)
        for i in range(k):
            for j in range(k):
                P[i, j] = BB[i, j] / (1 - poles[i] * mpmath.conj(poles[j]))
                Q[i, j] = CC[i, j] / (1 - mpmath.conj(poles[i]) * poles[j])
        assert n * 2 == k
        L = mpmath.cholesky(P)
        values = mpmath.eighe(L.H * Q * L, eigvals_only=True)
        return np.array(sorted((float(mpmath.sqrt(value)) for value in values), reverse=True))


def layer(seed, radius=(0.9, 0.999)):
    rng = np.random.default_rng(seed)
    poles = rng.uniform(*radius, 5) * np.exp(1j * rng.uniform(0, np.pi, 5))
    B, C = (rng.standard_normal(s) + 1j * rng.standard_normal(s) for s in ((5, 3), (2, 5)))
    return StateSpace(Diagonal(poles, paired=True), B, C, dt=1.0)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("radius", [(0.5, 0.99), (0.9, 0.999), (0.9999, 0.999999)])
def test_values_of_a_paired_layer_agree_with_sixty_digits(seed, radius):
    system = layer(seed, radius)

    assert np.allclose(hankel_singular_values(system), precise_values(system), rtol=1e-10, atol=0)


def test_values_of_a_first_order_lag():
    assert np.allclose(hankel_singular_values(StateSpace(-np.eye(1), np.eye(1), np.eye(1))), 0.5)
    assert np.allclose(hankel_singular_values(StateSpace(0.5 * np.eye(1), np.eye(1), np.eye(1), dt=1.0)), 4 / 3)


def test_values_of_a_real_pole_in_a_paired_system():
    real = StateSpace(
        Diagonal(np.array([0.5 + 0j]), paired=True), np.ones((1, 1), complex), np.ones((1, 1), complex), dt=1
    )

    assert np.allclose(hankel_singular_values(real), [8 / 3, 0], atol=1e-15)


def test_a_batch_equals_a_loop(make_system):
    batch = make_system("dense", batch=(3,))

    for k, values in enumerate(hankel_singular_values(batch)):
        alone = StateSpace(batch.A[k], batch.B[k], batch.C[k])
        assert np.allclose(values, hankel_singular_values(alone), rtol=1e-8)


@pytest.mark.parametrize(("dt", "dico"), [(0.0, "C"), (1.0, "D")])
def test_values_and_map_agree_with_slycot(make_system, points, dt, dico):
    slycot = pytest.importorskip("slycot")
    system = make_system("dense", dt=dt, n=10)

    order, A, B, C, hsv = slycot.ab09ad(dico, "B", "N", 10, 2, 3, system.A, system.B, system.C, 4, 0.0)

    ours, theirs, s = balanced_truncation(system, 4), StateSpace(A, B, C, system.D, dt), points(dt)
    assert order == 4
    assert np.allclose(ours.hsv, hsv, rtol=1e-9, atol=1e-12 * hsv[0])
    assert np.allclose(ours.system.transfer_function(s), theirs.transfer_function(s), rtol=1e-8, atol=1e-8)
