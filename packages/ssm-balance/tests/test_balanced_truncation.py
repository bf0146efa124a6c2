import importlib

import numpy as np
import pytest

from ssm_balance import (
    Energy,
    OrderError,
    StabilityLossError,
    balanced_truncation,
    difference,
    error_bound,
    hankel_singular_values,
    hinf_bracket,
    hinf_norm,
)
from ssm_gramians import (
    Diagonal,
    InstabilityError,
    NonFiniteError,
    StateSpace,
    controllability_gramian,
    observability_gramian,
)


def is_stable(system):
    return np.all(np.abs(system.poles()) < 1 if system.is_discrete else system.poles().real < 0)


def test_error_lies_between_the_next_value_and_the_bound(system):
    hsv = hankel_singular_values(system)
    for order in (1, system.order // 2, system.order - 1):
        reduction = balanced_truncation(system, order)

        measured = hinf_bracket(difference(system, reduction.system))

        assert reduction.order == order
        assert measured.lower <= reduction.error_bound * (1 + 1e-8)
        assert measured.upper >= hsv[order] * (1 - 1e-8)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("kind", ["dense", "paired"])
@pytest.mark.parametrize("dt", [0.0, 1.0])
def test_stability_and_bound_hold_for_many_systems(make_system, kind, dt, seed):
    system = make_system(kind, dt=dt, n=5, m=1, p=1, seed=seed)
    for order in range(1, system.order):
        reduction = balanced_truncation(system, order)

        assert is_stable(reduction.system)
        assert hinf_norm(difference(system, reduction.system)) <= reduction.error_bound * (1 + 1e-8) + 1e-12


def test_full_order_reproduces_the_map(system, points):
    s = points(system.dt)

    same = balanced_truncation(system, system.order).system.transfer_function(s)

    assert np.abs(same - system.transfer_function(s)).max() <= 1e-10 * hinf_norm(system)


@pytest.mark.parametrize("dt", [0.0, 1.0])
def test_full_order_reproduces_the_map_though_states_are_numerically_zero(points, dt):
    poles = np.linspace(0.1, 0.9, 24)  # real poles: the values fall by decades each
    system = StateSpace(Diagonal(poles if dt else -poles), np.ones((24, 1)), np.ones((1, 24)), dt=dt)

    reduction = balanced_truncation(system, 24)

    s = points(dt)
    assert reduction.order < 24
    error = np.abs(reduction.system.transfer_function(s) - system.transfer_function(s)).max()
    assert error <= 1e-10 * hinf_norm(system)


@pytest.mark.parametrize("kind", ["dense", "complex", "paired"])
def test_a_continuous_reduced_system_is_balanced(make_system, kind):
    reduction = balanced_truncation(make_system(kind), 5)

    expected = np.diag(reduction.hsv[:5])

    assert np.allclose(controllability_gramian(reduction.system), expected, atol=1e-9 * expected[0, 0])
    assert np.allclose(observability_gramian(reduction.system), expected, atol=1e-9 * expected[0, 0])


def test_a_discrete_system_is_balanced_at_full_order(make_system):
    reduction = balanced_truncation(make_system("dense", dt=1.0), 8)

    expected = np.diag(reduction.hsv)

    assert np.allclose(controllability_gramian(reduction.system), expected, atol=1e-9 * expected[0, 0])
    assert np.allclose(observability_gramian(reduction.system), expected, atol=1e-9 * expected[0, 0])


@pytest.mark.parametrize("dt", [0.0, 1.0])
def test_a_state_transformation_changes_nothing(make_system, points, dt):
    system = make_system("dense", dt=dt)
    T = np.eye(8) + 0.3 * np.random.default_rng(5).standard_normal((8, 8))
    moved = StateSpace(T @ system.A @ np.linalg.inv(T), T @ system.B, system.C @ np.linalg.inv(T), system.D, dt)

    ours, theirs = balanced_truncation(system, 4), balanced_truncation(moved, 4)

    s = points(dt)
    assert np.allclose(ours.hsv, theirs.hsv, rtol=1e-8, atol=1e-10 * ours.hsv[0])
    assert np.allclose(ours.system.transfer_function(s), theirs.system.transfer_function(s), rtol=1e-7, atol=1e-7)


@pytest.mark.parametrize("dt", [0.0, 1.0])
def test_a_repeated_value_that_is_cut_whole_counts_once(make_system, dt):
    one = make_system("dense", dt=dt, n=4, m=1, p=1)
    A, B, C = (np.kron(np.eye(3), X) for X in (one.A, one.B, one.C))  # three copies side by side
    system = StateSpace(A, B, C, dt=dt)

    reduction = balanced_truncation(system, 6)

    once = error_bound(reduction.hsv, 6, repeated_rtol=1e-9)
    assert once == pytest.approx(reduction.error_bound / 3, rel=1e-6)
    assert hinf_norm(difference(system, reduction.system)) <= once * (1 + 1e-8)


def test_a_paired_system_is_reduced_as_the_real_one(make_system, points):
    system = make_system("paired", dt=1.0)

    ours, dense = balanced_truncation(system, 5), balanced_truncation(system.to_dense(), 5)

    s = points(1.0)
    assert np.isrealobj(ours.system.A)
    assert ours.hsv.shape == (16,)
    assert np.allclose(ours.system.transfer_function(s), dense.system.transfer_function(s), rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize(("kind", "dt"), [("dense", 0.0), ("dense", 1.0), ("paired", 1.0), ("diagonal", 0.0)])
def test_a_batch_equals_a_loop(make_system, points, kind, dt):
    batch = make_system(kind, dt=dt, batch=(3,))

    together = balanced_truncation(batch, energy=0.9)

    s, orders = points(dt, 50), []
    for k in range(3):
        A = Diagonal(batch.A.eigenvalues[k], batch.A.paired) if isinstance(batch.A, Diagonal) else batch.A[k]
        alone = StateSpace(A, batch.B[k], batch.C[k], batch.D[k], dt)
        orders.append(balanced_truncation(alone, energy=0.9).order)
        expected = balanced_truncation(alone, together.order)
        response = together.system.transfer_function(s)[k]
        assert np.allclose(response, expected.system.transfer_function(s), rtol=1e-7, atol=1e-7)
        assert together.error_bound[k] == pytest.approx(expected.error_bound)
    assert together.order == max(orders)


def test_a_batch_of_one_stays_a_batch(make_system):
    reduction = balanced_truncation(make_system("paired", dt=1.0, batch=(1,)), 3)

    assert reduction.system.batch_shape == (1,)
    assert reduction.hsv.shape == (1, 16)
    assert reduction.error_bound.shape == (1,)


def test_order_one_of_one(points):
    system = StateSpace(np.array([[-2.0]]), np.array([[3.0]]), np.array([[5.0]]))

    reduction = balanced_truncation(system, 1)

    assert np.allclose(reduction.hsv, 15 / 4)
    assert np.allclose(reduction.system.transfer_function(points(0)), system.transfer_function(points(0)))


def test_three_ways_to_ask_for_the_same(make_system):
    system = make_system()
    hsv = hankel_singular_values(system)

    by_order = balanced_truncation(system, 4)
    by_error = balanced_truncation(system, error=error_bound(hsv, 4) * (1 + 1e-12))
    by_energy = balanced_truncation(system, energy=hsv[:4].sum() / hsv.sum() * (1 - 1e-12))
    by_rule = balanced_truncation(system, Energy(hsv[:4].sum() / hsv.sum() * (1 - 1e-12)))

    assert [r.order for r in (by_order, by_error, by_energy, by_rule)] == [4] * 4


def test_float32_gives_the_same_as_its_values_in_double(make_system):
    system = make_system("paired", dt=1.0)
    single = StateSpace(
        Diagonal(system.A.eigenvalues.astype(np.complex64), True),
        *(X.astype(np.complex64) for X in (system.B, system.C)),
        system.D.astype(np.float32),
        1.0,
    )
    double = StateSpace(
        Diagonal(single.A.eigenvalues.astype(complex), True),
        *(X.astype(complex) for X in (single.B, single.C)),
        single.D.astype(float),
        1.0,
    )

    ours, theirs = balanced_truncation(single, 4), balanced_truncation(double, 4)

    assert ours.system.A.dtype == ours.hsv.dtype == np.float64
    assert np.allclose(ours.hsv, theirs.hsv, rtol=1e-12)


@pytest.mark.parametrize("kind", ["dense", "paired"])
def test_torch_in_torch_out(make_system, points, kind):
    torch = pytest.importorskip("torch")
    s = points(1.0, 50)
    system = make_system(kind, dt=1.0, batch=(2,))
    A = Diagonal(torch.asarray(system.A.eigenvalues), True) if kind == "paired" else torch.asarray(system.A)
    tensors = StateSpace(A, *(torch.asarray(np.array(X)) for X in (system.B, system.C, system.D)), 1.0)

    ours, theirs = balanced_truncation(system, 4), balanced_truncation(tensors, 4)

    assert isinstance(theirs.system.A, torch.Tensor)
    assert np.allclose(theirs.hsv.numpy(), ours.hsv, rtol=1e-8, atol=1e-12)
    response = theirs.system.transfer_function(torch.asarray(s)).numpy()
    assert np.allclose(response, ours.system.transfer_function(s), rtol=1e-7, atol=1e-7)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "exactly one.*got none"),
        ({"order": 2, "energy": 0.5}, "exactly one.*order and energy"),
        ({"energy": 0.5, "error": 0.1}, "exactly one.*energy and error"),
        ({"order": 0}, "at least 1; got 0"),
        ({"order": 9}, "from 1 to 8.*got 9"),
        ({"energy": 1.2}, "got 1.2"),
        ({"energy": float("nan")}, "got nan"),
        ({"error": -1.0}, "got -1.0"),
    ],
)
def test_a_wish_without_meaning_is_refused(make_system, arguments, message):
    with pytest.raises(OrderError, match=message):
        balanced_truncation(make_system(), **arguments)


@pytest.mark.parametrize(("dt", "pole"), [(0.0, 0.25), (0.0, 0.0), (1.0, -1.5), (1.0, 1.0)])
def test_the_unstable_eigenvalue_is_named(dt, pole):
    system = StateSpace(np.diag([pole, -0.5]), np.ones((2, 1)), np.ones((1, 2)), dt=dt)

    for attempt in (hankel_singular_values, hinf_norm, lambda s: balanced_truncation(s, 1)):
        with pytest.raises(InstabilityError, match="unstable: eigenvalue") as caught:
            attempt(system)
        assert caught.value.eigenvalue == pole


@pytest.mark.parametrize("name", ["A", "B", "C", "D"])
def test_nan_is_refused_and_inputs_stay_as_they_are(make_system, name):
    system = make_system()
    broken = {key: np.array(getattr(system, key)) for key in "ABCD"}
    broken[name][0, 0] = np.nan
    before = {key: value.copy() for key, value in broken.items()}

    with pytest.raises(NonFiniteError, match=f"{name} holds NaN"):
        balanced_truncation(StateSpace(**broken), 2)
    assert all(np.array_equal(broken[key], before[key], equal_nan=True) for key in "ABCD")


def test_a_cut_that_loses_stability_is_refused(monkeypatch):
    A = np.array([[-1.0, 10.0], [0.0, -1.0]])
    basis = np.ones((2, 1)) / np.sqrt(2)  # not from the Gramians of A: the projection has the pole 4
    module = importlib.import_module("ssm_balance.methods.square_root")
    monkeypatch.setattr(module, "gramian_factors", lambda *_, **__: (basis, basis))

    with pytest.raises(StabilityLossError, match="order 1 unstable: eigenvalue 4") as caught:
        balanced_truncation(StateSpace(A, np.ones((2, 1)), np.ones((1, 2))), 1)
    assert caught.value.pole == pytest.approx(4)
