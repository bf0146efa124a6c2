"""Truncation by the cross Gramian: balanced truncation where theory says so."""

import numpy as np
import pytest

from ssm_balance import (
    OrderError,
    StabilityLossError,
    balanced_truncation,
    cross_gramian_truncation,
    hankel_singular_values,
)
from ssm_gramians import Diagonal, InstabilityError, NonFiniteError, ShapeError, StateSpace


@pytest.mark.parametrize("kind", ["dense", "paired"])
@pytest.mark.parametrize("dt", [0.0, 0.5])
@pytest.mark.parametrize("order", [1, 4, 7])
def test_with_one_input_and_output_it_is_balanced_truncation(make_system, points, kind, dt, order):
    system = make_system(kind, dt=dt, m=1, p=1)

    ours, theirs = cross_gramian_truncation(system, order), balanced_truncation(system, order)

    s = points(dt, 60)
    scale = np.abs(system.transfer_function(s)).max()
    assert ours.order == order
    assert np.allclose(ours.hsv, hankel_singular_values(system), rtol=1e-8, atol=1e-10 * ours.hsv[0])
    assert np.allclose(ours.system.transfer_function(s), theirs.system.transfer_function(s), atol=1e-8 * scale)
    assert ours.error_bound == pytest.approx(theirs.error_bound, rel=1e-6)
    assert ours.certify().holds
    assert np.allclose(ours.right.T @ ours.right, np.eye(order), atol=1e-12)
    assert np.allclose(ours.left.T @ ours.right, np.eye(order), atol=1e-8)


def test_a_symmetric_system_has_its_hankel_singular_values(make_system):
    half = make_system("dense", m=2).A
    A, B = -half @ half.T - 0.1 * np.eye(8), make_system("dense", m=2).B
    system = StateSpace(A, B, B.T)

    reduction = cross_gramian_truncation(system, 3)

    assert np.allclose(reduction.hsv, hankel_singular_values(system), atol=1e-10 * reduction.hsv[0])
    assert reduction.certify().is_stable


def test_nothing_is_promised_with_more_inputs(make_system):
    reduction = cross_gramian_truncation(make_system("dense", m=2, p=2), 8)

    found = reduction.certify()

    assert reduction.error_bound == np.inf
    assert found.holds is None
    assert found.hinf.lower < 1e-8


def test_an_unstable_result_is_refused(make_system):
    system = make_system("complex", m=1, p=1)

    with pytest.raises(StabilityLossError, match="promises stability only"):
        cross_gramian_truncation(system, 3)


def test_values_below_rounding_are_left_out():
    poles = np.linspace(0.1, 0.9, 24)
    system = StateSpace(Diagonal(-poles), np.ones((24, 1)), np.ones((1, 24)))

    reduction = cross_gramian_truncation(system, 24)

    assert reduction.order < 24
    assert reduction.certify().hinf.lower <= 1e-9 * reduction.hsv[0]


def test_a_batch_equals_a_loop(make_system, points):
    batch = make_system("dense", batch=(3,), m=1, p=1)

    together = cross_gramian_truncation(batch, 4)

    s = points(0.0, 40)
    for k in range(3):
        alone = cross_gramian_truncation(StateSpace(batch.A[k], batch.B[k], batch.C[k], batch.D[k]), 4)
        assert np.allclose(together.system.transfer_function(s)[k], alone.system.transfer_function(s))


@pytest.mark.parametrize("dt", [0.0, 1.0])
def test_a_descriptor_matrix_is_divided_out(make_system, points, dt):
    plain = make_system("dense", m=1, p=1, dt=dt)
    E = np.eye(8) + 0.3 * np.random.default_rng(1).standard_normal((8, 8))
    system = StateSpace(E @ plain.A, E @ plain.B, plain.C, plain.D, dt, E)

    ours = cross_gramian_truncation(system, 4)

    s = points(dt, 40)
    expected = cross_gramian_truncation(plain, 4).system.transfer_function(s)
    assert np.allclose(ours.left.T @ E @ ours.right, np.eye(4), atol=1e-8)
    assert np.allclose(ours.system.transfer_function(s), expected, rtol=1e-7, atol=1e-7)


def test_bad_input_is_refused(make_system):
    system = make_system("dense", m=2, p=2)

    with pytest.raises(ShapeError, match="as many of both"):
        cross_gramian_truncation(make_system("dense"), 3)
    with pytest.raises(OrderError, match="without an error bound"):
        cross_gramian_truncation(system, error=0.1)
    with pytest.raises(OrderError, match="from 1 to 8"):
        cross_gramian_truncation(system, 9)
    with pytest.raises(OrderError, match="exactly one"):
        cross_gramian_truncation(system)
    with pytest.raises(InstabilityError, match="unstable"):
        cross_gramian_truncation(StateSpace(-system.A, system.B, system.C), 3)
    with pytest.raises(NonFiniteError, match="B holds"):
        cross_gramian_truncation(StateSpace(system.A, np.nan * system.B, system.C), 3)
    with pytest.raises(OrderError, match="nothing to keep"):
        cross_gramian_truncation(StateSpace(system.A, 0 * system.B, system.C), 3)
    with pytest.raises(ShapeError, match="empty batch"):
        cross_gramian_truncation(make_system("dense", batch=(0,), m=1, p=1), 3)
