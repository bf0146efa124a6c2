"""Balanced stochastic truncation: the relative error is within its bound."""

import numpy as np
import pytest

from ssm_balance import (
    BalanceError,
    OrderError,
    RiccatiError,
    balanced_truncation,
    relative_error_bound,
    stochastic_truncation,
)
from ssm_gramians import InstabilityError, NonFiniteError, ShapeError, StateSpace

KINDS = ["dense", "complex", "paired", "diagonal"]


def relative_gain(system, reduced, s, alpha=0.0):
    """max ‖V⁻¹ (G − G_r)‖ with V Vᴴ = G Gᴴ + alpha² I, point by point."""
    G, error = system.transfer_function(s), system.transfer_function(s) - reduced.transfer_function(s)
    V = np.linalg.cholesky(G @ G.conj().mT + alpha**2 * np.eye(system.outputs))
    return np.linalg.norm(np.linalg.solve(V, error), 2, axis=(-2, -1)).max()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dt", [0.0, 0.5])
@pytest.mark.parametrize(("m", "p"), [(1, 1), (2, 2), (3, 2)])
def test_the_relative_error_is_within_its_bound(make_system, points, kind, dt, m, p):
    system = make_system(kind, dt=dt, m=m, p=p)
    s = points(dt)
    for order in (3, system.order - 1):
        reduction = stochastic_truncation(system, order)

        found = reduction.certify()

        assert relative_gain(system, reduction.system, s) <= reduction.relative_error_bound * (1 + 1e-6)
        assert found.is_stable
        if np.isfinite(reduction.error_bound):  # else a zero in the right half-plane was cut
            assert found.holds
            assert found.relative_holds or m > p
        assert reduction.hsv.max() <= 1
        assert np.all(np.diff(reduction.hsv) <= 0)


def test_small_gains_keep_their_digits(points):
    """Two resonances, the second a hundred times weaker: truncation drops it, this method does not."""
    A = np.kron(np.diag([1.0, 10.0]), [[-0.1, 1.0], [-1.0, -0.1]])
    system = StateSpace(A, np.array([[0.0], [1], [0], [1]]), np.array([[1.0, 0, 1e-2, 0]]), np.array([[1e-3]]))
    s = 1j * np.logspace(-1, 2, 300)

    ours, theirs = stochastic_truncation(system, 3), balanced_truncation(system, 3)

    assert relative_gain(system, ours.system, s) < relative_gain(system, theirs.system, s)


def test_zeros_in_the_right_half_plane_have_the_value_one():
    A, B, C, D = np.diag([-1.0, -2.0]), np.ones((2, 1)), np.array([[2.0, -9.0]]), np.ones((1, 1))
    zeros = np.linalg.eigvals(A - B @ C)

    reduction = stochastic_truncation(StateSpace(A, B, C, D), 1)

    assert np.sum(zeros.real > 0) == 1
    assert reduction.hsv[0] == pytest.approx(1, abs=1e-9)
    assert reduction.hsv[1] < 0.99
    assert np.isfinite(reduction.relative_error_bound)


def test_an_all_pass_system_cannot_be_reduced():
    system = StateSpace(-np.eye(1), np.ones((1, 1)), -2 * np.ones((1, 1)), np.ones((1, 1)))  # (s − 1) / (s + 1)

    assert stochastic_truncation(system, 1).hsv[0] == pytest.approx(1)


@pytest.mark.parametrize("dt", [0.0, 1.0])
@pytest.mark.parametrize(("m", "p"), [(1, 1), (2, 3)])
def test_alpha_makes_every_system_reducible(make_system, points, dt, m, p):
    plain = make_system("dense", dt=dt, m=m, p=p)
    system = StateSpace(plain.A, plain.B, plain.C, None, dt)
    for alpha in (0.1, 10.0):
        reduction = stochastic_truncation(system, 5, alpha=alpha)

        bound = relative_error_bound(reduction.hsv, 5)

        assert reduction.relative_error_bound is None
        assert relative_gain(system, reduction.system, points(dt), alpha) <= bound * (1 + 1e-6)
        assert reduction.certify().holds


def test_a_large_alpha_is_balanced_truncation(make_system):
    system = make_system("dense")

    ours, theirs = stochastic_truncation(system, 4, alpha=1e6), balanced_truncation(system, 4)

    s = 1j * np.logspace(-2, 2, 30)
    assert np.allclose(ours.hsv * 1e6, theirs.hsv, rtol=1e-4)
    assert np.allclose(ours.system.transfer_function(s), theirs.system.transfer_function(s), atol=1e-3)


def test_a_relative_error_is_reached(make_system):
    system = make_system("dense", m=1, p=1)

    reduction = stochastic_truncation(system, error=0.05)

    assert reduction.order < 8
    assert reduction.relative_error_bound <= 0.05
    assert relative_error_bound(reduction.hsv, reduction.order - 1) > 0.05
    assert reduction.certify().relative.bracket.upper <= 0.05


def test_the_projection_of_a_continuous_system_is_given(make_system):
    system = make_system("dense", m=2, p=2)

    ours, discrete = stochastic_truncation(system, 4), stochastic_truncation(make_system("dense", m=2, p=2, dt=1.0), 4)

    assert np.allclose(ours.left.T @ ours.right, np.eye(4), atol=1e-9)
    assert np.allclose(ours.left.T @ system.A @ ours.right, ours.system.A, atol=1e-9)
    assert discrete.left is None


def test_a_batch_equals_a_loop(make_system, points):
    batch = make_system("dense", batch=(3,), m=2, p=2)

    together = stochastic_truncation(batch, 4)

    s = points(0.0, 40)
    for k in range(3):
        alone = stochastic_truncation(StateSpace(batch.A[k], batch.B[k], batch.C[k], batch.D[k]), 4)
        assert np.allclose(together.system.transfer_function(s)[k], alone.system.transfer_function(s))
        assert together.relative_error_bound[k] == pytest.approx(alone.relative_error_bound)
    assert all(found.relative_holds for found in together.certify())


def test_a_descriptor_matrix_is_divided_out(make_system):
    plain = make_system("dense", m=2, p=2)
    E = np.eye(8) + 0.3 * np.random.default_rng(1).standard_normal((8, 8))
    system = StateSpace(E @ plain.A, E @ plain.B, plain.C, plain.D, 0.0, E)

    reduction = stochastic_truncation(system, 5)

    assert np.allclose(reduction.left.T @ E @ reduction.right, np.eye(5), atol=1e-8)
    assert reduction.certify().relative_holds


def test_bad_input_is_refused(make_system):
    system = make_system("dense", m=2, p=2)

    with pytest.raises(RiccatiError, match=r"D, 2×2, has not full row rank.*positive alpha"):
        stochastic_truncation(StateSpace(system.A, system.B, system.C), 3)
    with pytest.raises(RiccatiError, match="D, 3×2, has not full row rank"):
        stochastic_truncation(make_system("dense"), 3)
    with pytest.raises(BalanceError, match="alpha is -1"):
        stochastic_truncation(system, 3, alpha=-1)
    with pytest.raises(OrderError, match="from 1 to 8"):
        stochastic_truncation(system, 9)
    with pytest.raises(OrderError, match="exactly one"):
        stochastic_truncation(system)
    with pytest.raises(OrderError, match="fraction"):
        stochastic_truncation(system, energy=1.2)
    with pytest.raises(InstabilityError, match="unstable"):
        stochastic_truncation(StateSpace(-system.A, system.B, system.C, system.D), 3)
    with pytest.raises(NonFiniteError, match="A holds"):
        stochastic_truncation(StateSpace(np.nan * system.A, system.B, system.C, system.D), 3)
    with pytest.raises(ShapeError, match="empty batch"):
        stochastic_truncation(make_system("dense", batch=(0,), m=2, p=2), 3)


def test_a_zero_on_the_border_is_refused():
    A, B, C = np.diag([-1.0, -2.0]), np.ones((2, 1)), np.array([[-1.0, 0.0]])  # G = s / (s + 1)
    system = StateSpace(A, B, C, np.ones((1, 1)))

    with pytest.raises(RiccatiError, match="larger alpha"):
        stochastic_truncation(system, 1)
    assert stochastic_truncation(system, 1, alpha=0.1).certify().holds
