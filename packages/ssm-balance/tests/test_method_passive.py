"""Positive-real and bounded-real truncation."""

import numpy as np
import pytest

from ssm_balance import (
    BalanceError,
    OrderError,
    PassivityError,
    bounded_real_truncation,
    difference,
    hankel_singular_values,
    hinf_norm,
    positive_real_truncation,
)
from ssm_gramians import InstabilityError, ShapeError, StateSpace


def ladder(cells, resistance=0.1):
    """Impedance of a chain of series inductors and shunt capacitors with losses, fed through a resistor: passive."""
    n = 2 * cells
    A = np.diag(np.ones(n - 1), 1) - np.diag(np.ones(n - 1), -1) - resistance * np.eye(n)
    B = np.eye(n)[:, :1]
    return StateSpace(A, B, B.T, np.array([[0.5]]))


def contraction(make_system, dt, seed=0, kind="dense", gain=0.9, **shape):
    system = make_system(kind, dt=dt, seed=seed, **shape)
    scale = gain / hinf_norm(system)
    return StateSpace(system.A, scale * system.B, system.C, scale * system.D, dt)


def passive(make_system, dt, seed=0, kind="dense", **shape):
    """(I + S)(I - S)⁻¹ of a contraction S, by adding a constant that is large enough."""
    system = make_system(kind, dt=dt, seed=seed, m=2, p=2, **shape)
    return StateSpace(system.A, system.B, system.C, 1.05 * hinf_norm(system) * np.eye(2), dt)


def smallest_dissipation(system, points):
    G = system.transfer_function(points)
    return np.linalg.eigvalsh(G + G.conj().swapaxes(-1, -2)).min()


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("dt", [0.0, 1.0])
def test_a_contraction_stays_one_within_its_bound(make_system, dt, seed):
    system = contraction(make_system, dt, seed, n=5, gain=0.999)
    for order in (1, 3):
        reduction = bounded_real_truncation(system, order)

        assert hinf_norm(reduction.system) <= 1 + 1e-9
        assert hinf_norm(difference(system, reduction.system)) <= reduction.error_bound * (1 + 1e-8)


@pytest.mark.parametrize("kind", ["dense", "complex", "diagonal", "paired"])
@pytest.mark.parametrize("dt", [0.0, 0.5])
def test_every_kind_of_contraction_is_certified(make_system, kind, dt):
    reduction = bounded_real_truncation(contraction(make_system, dt, kind=kind), 5)

    assert reduction.certify().holds


def test_the_values_are_not_below_the_hankel_singular_values(make_system):
    system = contraction(make_system, 0.0)

    hsv = bounded_real_truncation(system, 4).hsv

    assert np.all(hsv >= hankel_singular_values(system) * (1 - 1e-10))
    assert hsv[0] <= 1


def test_a_larger_gain_comes_nearer_to_balanced_truncation(make_system):
    system = contraction(make_system, 0.0)

    hsv = bounded_real_truncation(system, 4, gain=1e4).hsv

    np.testing.assert_allclose(hsv, hankel_singular_values(system), rtol=1e-6)


@pytest.mark.parametrize("dt", [0.0, 1.0])
def test_too_large_a_gain_is_named(make_system, dt):
    system = contraction(make_system, dt, gain=1.25)
    with pytest.raises(PassivityError, match=r"the gain is 1\.25 at .* rad/s; want a system with a gain below 1,"):
        bounded_real_truncation(system, 3)


def test_too_large_a_feedthrough_is_named(make_system):
    system = make_system("dense")
    with pytest.raises(PassivityError, match="the gain is"):
        bounded_real_truncation(StateSpace(system.A, 1e-6 * system.B, system.C, np.eye(3, 2)), 3)


@pytest.mark.parametrize("gain", [0.0, -1.0, np.inf, np.nan])
def test_a_gain_without_meaning_is_refused(make_system, gain):
    with pytest.raises(BalanceError, match="want the largest gain allowed"):
        bounded_real_truncation(make_system("dense"), 3, gain=gain)


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("dt", [0.0, 1.0])
def test_a_passive_system_stays_passive_within_its_bound(make_system, points, dt, seed):
    system = passive(make_system, dt, seed, n=5)
    for order in (1, 4):
        reduction = positive_real_truncation(system, order)

        assert reduction.certify().margin > 0
        assert smallest_dissipation(reduction.system, points(dt)) >= -1e-9 * hinf_norm(system)
        assert hinf_norm(difference(system, reduction.system)) <= reduction.error_bound * (1 + 1e-8)


@pytest.mark.parametrize("kind", ["dense", "complex", "diagonal", "paired"])
@pytest.mark.parametrize("dt", [0.0, 0.5])
def test_every_kind_of_passive_system_is_certified(make_system, kind, dt):
    reduction = positive_real_truncation(passive(make_system, dt, kind=kind), 7)

    assert reduction.certify().holds


@pytest.mark.parametrize("dt", [0.0, 1.0])
def test_the_inverse_is_within_the_bound_of_the_theorem(make_system, points, dt):
    system = passive(make_system, dt)

    reduction = positive_real_truncation(system, 5)

    D, s = system.D, points(dt)
    full, small = (np.linalg.inv(D.T + found.transfer_function(s)) for found in (system, reduction.system))
    bound = 2 * np.linalg.norm(np.linalg.inv(D + D.T), 2) * reduction.hsv[5:].sum()
    assert np.linalg.norm(full - small, 2, axis=(-2, -1)).max() <= bound * (1 + 1e-8)


def test_a_ladder_stays_passive_where_few_states_are_left(points):
    system = ladder(20)
    for order in (2, 6, 12):
        reduction = positive_real_truncation(system, order)

        assert smallest_dissipation(reduction.system, points(0.0)) >= 0


def test_an_allowed_error_is_kept(make_system):
    system = passive(make_system, 0.0)
    bound = positive_real_truncation(system, 7).error_bound

    reduction = positive_real_truncation(system, error=bound * (1 + 1e-9))

    assert np.isfinite(bound)
    assert reduction.order == 7


@pytest.mark.parametrize("reduce", [bounded_real_truncation, positive_real_truncation])
def test_a_batch_is_a_loop(make_system, reduce):
    batch = make_system("dense", n=4, m=2, p=2, batch=(3,))
    if reduce is bounded_real_truncation:
        batch = StateSpace(batch.A, batch.B / hinf_norm(batch)[:, None, None] / 2, batch.C)
    else:
        batch = StateSpace(batch.A, batch.B, batch.C, 2 * hinf_norm(batch)[:, None, None] * np.eye(2))

    together = reduce(batch, 3)

    for k in range(3):
        alone = reduce(StateSpace(batch.A[k], batch.B[k], batch.C[k], batch.D[k]), 3)
        np.testing.assert_allclose(together.hsv[k], alone.hsv, rtol=1e-9)
        assert together.error_bound[k] == pytest.approx(alone.error_bound, rel=1e-2)


@pytest.mark.parametrize("reduce", [bounded_real_truncation, positive_real_truncation])
def test_a_descriptor_is_divided_out(reduce):
    plain = ladder(3)
    plain = StateSpace(plain.A, plain.B, plain.C / 40, plain.D) if reduce is bounded_real_truncation else plain
    E = np.eye(6) + 0.2 * np.random.default_rng(1).standard_normal((6, 6))
    held = StateSpace(E @ plain.A, E @ plain.B, plain.C, plain.D, 0.0, E)

    first, second = reduce(held, 3), reduce(plain, 3)

    np.testing.assert_allclose(first.left.T @ E @ first.right, np.eye(3), atol=1e-9)
    assert hinf_norm(difference(first.system, second.system)) <= 1e-8 * hinf_norm(plain)


@pytest.mark.parametrize("dt", [0.0, 1.0])
def test_an_active_system_is_refused_with_the_frequency(make_system, dt):
    system = make_system("dense", dt=dt, m=2, p=2)
    active = StateSpace(system.A, system.B, system.C, 0.3 * hinf_norm(system) * np.eye(2), dt)
    with pytest.raises(PassivityError, match=r"not strictly positive real: .* rad/s"):
        positive_real_truncation(active, 3)


def test_what_cannot_be_positive_real_is_refused():
    system = ladder(3)
    with pytest.raises(PassivityError, match="D \\+ Dᴴ has the eigenvalue 0; want it positive definite"):
        positive_real_truncation(StateSpace(system.A, system.B, system.C), 3)
    with pytest.raises(ShapeError, match="got 2 outputs and 1 inputs"):
        positive_real_truncation(StateSpace(system.A, system.B, np.ones((2, 6))), 3)


@pytest.mark.parametrize("reduce", [bounded_real_truncation, positive_real_truncation])
def test_bad_wishes_and_unstable_systems_are_refused(reduce):
    system = ladder(3)
    with pytest.raises(OrderError, match="from 1 to 6"):
        reduce(system, 7)
    with pytest.raises(OrderError, match="exactly one"):
        reduce(system, 3, error=0.1)
    with pytest.raises(InstabilityError, match="unstable"):
        reduce(StateSpace(-system.A, system.B, system.C, system.D), 3)


def pymor_response(reductor, model, order, points):
    iosys, bt = pytest.importorskip("pymor.models.iosys"), pytest.importorskip("pymor.reductors.bt")
    fom = iosys.LTIModel.from_matrices(model.A, model.B, model.C, model.D)
    rom = getattr(bt, reductor)(fom).reduce(order)
    return np.array([rom.transfer_function.eval_tf(point) for point in points])


def test_pymor_finds_the_same_contraction():
    system = ladder(20)
    system = StateSpace(system.A, system.B, system.C / 2 / hinf_norm(StateSpace(system.A, system.B, system.C)))
    points = 1j * np.logspace(-2, 1, 20)
    wanted = pymor_response("BRBTReductor", system, 6, points)

    ours = bounded_real_truncation(system, 6).system.transfer_function(points)

    assert np.abs(ours - wanted).max() <= 1e-8 * np.abs(wanted).max()


def test_pymor_finds_the_same_passive_system():
    system, points = ladder(20), 1j * np.logspace(-2, 1, 20)
    wanted = pymor_response("PRBTReductor", system, 6, points)

    ours = positive_real_truncation(system, 6).system.transfer_function(points)

    assert np.abs(ours - wanted).max() <= 1e-8 * np.abs(wanted).max()
