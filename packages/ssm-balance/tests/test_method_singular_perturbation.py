"""Balanced residualisation: the bound of truncation, and the gain at frequency zero."""

import sys

import numpy as np
import pytest

from ssm_balance import (
    OrderError,
    StabilityLossError,
    balanced_truncation,
    difference,
    hankel_singular_values,
    hinf_norm,
    singular_perturbation,
)
from ssm_gramians import (
    Diagonal,
    InstabilityError,
    NonFiniteError,
    StateSpace,
    controllability_gramian,
    observability_gramian,
)


def at_rest(system):
    return np.array([1.0 if system.is_discrete else 0.0])


def test_the_bound_holds_and_the_gain_at_rest_is_kept(system):
    gain = system.transfer_function(at_rest(system))
    for order in (1, system.order // 2, system.order - 1):
        reduction = singular_perturbation(system, order)

        found = reduction.certify()

        assert reduction.order == order
        assert found.holds
        assert found.is_stable
        assert np.allclose(reduction.system.transfer_function(at_rest(system)), gain, rtol=1e-11, atol=1e-11)


def test_the_error_and_that_of_truncation_share_a_bound_but_not_a_frequency(make_system):
    system = make_system("dense")

    ours, theirs = singular_perturbation(system, 3), balanced_truncation(system, 3)

    assert ours.error_bound == theirs.error_bound
    assert np.array_equal(ours.hsv, theirs.hsv)
    assert theirs.certify().dc_error > 1e-3
    assert ours.left is None
    assert ours.right is None


@pytest.mark.parametrize("kind", ["dense", "complex", "paired"])
def test_a_continuous_reduced_system_is_balanced(make_system, kind):
    reduction = singular_perturbation(make_system(kind), 5)

    expected = np.diag(reduction.hsv[:5])

    assert np.allclose(controllability_gramian(reduction.system), expected, atol=1e-9 * expected[0, 0])
    assert np.allclose(observability_gramian(reduction.system), expected, atol=1e-9 * expected[0, 0])


def test_it_is_truncation_of_the_reciprocal_system(make_system):
    system = make_system("dense")
    A_i = np.linalg.inv(system.A)
    reciprocal = StateSpace(A_i, A_i @ system.B, -system.C @ A_i, system.D - system.C @ A_i @ system.B)  # G(1/s)

    ours, theirs = singular_perturbation(system, 4).system, balanced_truncation(reciprocal, 4).system

    s = 1j * np.logspace(-2, 2, 30)
    assert np.allclose(ours.transfer_function(s), theirs.transfer_function(1 / s), rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("dt", [0.0, 1.0])
def test_the_gain_at_rest_is_kept_though_states_are_numerically_zero(dt):
    poles = np.linspace(0.1, 0.9, 24)
    system = StateSpace(Diagonal(poles if dt else -poles), np.ones((24, 1)), np.ones((1, 24)), dt=dt)

    reduction = singular_perturbation(system, 5)

    assert reduction.order == 5
    assert reduction.certify().dc_error <= 1e-12 * hinf_norm(system)


@pytest.mark.parametrize(("kind", "dt"), [("dense", 0.0), ("dense", 1.0), ("paired", 1.0)])
def test_a_batch_equals_a_loop(make_system, points, kind, dt):
    batch = make_system(kind, dt=dt, batch=(3,))

    together = singular_perturbation(batch, 4)

    for k in range(3):
        A = Diagonal(batch.A.eigenvalues[k], batch.A.paired) if isinstance(batch.A, Diagonal) else batch.A[k]
        alone = singular_perturbation(StateSpace(A, batch.B[k], batch.C[k], batch.D[k], dt), 4)
        s = points(dt, 50)
        assert np.allclose(together.system.transfer_function(s)[k], alone.system.transfer_function(s), atol=1e-8)
        assert together.error_bound[k] == pytest.approx(alone.error_bound)


def test_torch_in_torch_out(make_system):
    torch = pytest.importorskip("torch")
    system = make_system("dense")
    moved = StateSpace(*(torch.tensor(np.array(M)) for M in (system.A, system.B, system.C, system.D)))

    ours = singular_perturbation(moved, 4).system

    expected = singular_perturbation(system, 4).system
    s = 1j * np.logspace(-2, 2, 20)
    found = StateSpace(*(M.numpy() for M in (ours.A, ours.B, ours.C, ours.D))).transfer_function(s)
    assert isinstance(ours.A, torch.Tensor)
    assert np.allclose(found, expected.transfer_function(s), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("dt", [0.0, 0.5])
def test_a_descriptor_system_keeps_its_gain_at_rest(make_system, dt):
    plain = make_system("dense", dt=dt)
    E = np.eye(8) + 0.3 * np.random.default_rng(1).standard_normal((8, 8))
    system = StateSpace(E @ plain.A, E @ plain.B, plain.C, plain.D, dt, E)

    ours, expected = singular_perturbation(system, 4), singular_perturbation(plain, 4)

    assert ours.certify().dc_error < 1e-11
    assert hinf_norm(difference(ours.system, expected.system)) < 1e-8


@pytest.mark.parametrize("dt", [0.0, 1.0])
@pytest.mark.parametrize("order", [1, 4, 7])
def test_the_map_is_that_of_slycot(make_system, points, dt, order):
    slycot = pytest.importorskip("slycot")
    system = make_system("dense", dt=dt)

    ours = singular_perturbation(system, order).system

    A, B, C, D = (np.array(M, order="F") for M in (system.A, system.B, system.C, system.D))
    # Without its balanced basis: with it the routine loses G(1) in discrete time.
    found = slycot.ab09nd("D" if dt else "C", "N", "N", 8, 2, 3, A, B, C, D, alpha=1.0 if dt else 0.0, nr=order)
    r, A_r, B_r, C_r, D_r, _, values = found[0], *found[1:7]
    theirs = StateSpace(A_r[:r, :r], B_r[:r], C_r[:, :r], D_r, dt)
    s = points(dt, 50)
    assert np.allclose(values, hankel_singular_values(system), rtol=1e-8)
    assert np.allclose(ours.transfer_function(s), theirs.transfer_function(s), rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize(
    ("wish", "match"),
    [
        ({}, "exactly one"),
        ({"order": 0}, "at least 1"),
        ({"order": 9}, "from 1 to 8"),
        ({"order": 3, "energy": 0.9}, "exactly one"),
        ({"energy": 1.2}, "fraction"),
        ({"error": -1.0}, "not negative"),
    ],
)
def test_a_wish_without_meaning_is_refused(make_system, wish, match):
    with pytest.raises(OrderError, match=match):
        singular_perturbation(make_system("dense"), **wish)


def test_bad_systems_are_refused(make_system):
    system = make_system("dense")
    unstable = StateSpace(system.A + 2 * np.eye(8), system.B, system.C)
    broken = StateSpace(system.A, np.nan * system.B, system.C)
    dead = StateSpace(system.A, 0 * system.B, system.C)

    with pytest.raises(InstabilityError, match="unstable"):
        singular_perturbation(unstable, 3)
    with pytest.raises(NonFiniteError, match="B holds"):
        singular_perturbation(broken, 3)
    with pytest.raises(OrderError, match="does not reach"):
        singular_perturbation(dead, 3)


def test_a_reduced_system_that_lost_stability_is_refused(make_system, monkeypatch):
    module = sys.modules["ssm_balance.methods.singular_perturbation"]
    monkeypatch.setattr(module, "residualize", lambda system, order: StateSpace(-system.A, system.B, system.C))

    with pytest.raises(StabilityLossError, match="unstable"):
        singular_perturbation(make_system("dense"), 3)
