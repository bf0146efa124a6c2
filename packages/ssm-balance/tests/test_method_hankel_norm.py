"""Optimal Hankel-norm approximation: the error is σ_{r+1}, and half the bound of truncation."""

import numpy as np
import pytest

from ssm_balance import (
    BalanceError,
    Error,
    OrderError,
    balanced_truncation,
    difference,
    hankel_norm,
    hankel_norm_approximation,
    hankel_singular_values,
    hinf_bracket,
    hinf_norm,
)
from ssm_balance._all_pass import Balanced, embedding, nearest_constant
from ssm_balance._bilinear import to_continuous, to_discrete
from ssm_gramians import InstabilityError, NonFiniteError, ShapeError, StateSpace


def test_the_hankel_error_is_the_next_value_and_the_bound_holds(system):
    for order in (1, 3, system.order - 1):
        reduction = hankel_norm_approximation(system, order)

        found = reduction.certify()

        assert reduction.order == reduction.system.order == order
        assert hankel_norm(difference(system, reduction.system)) == pytest.approx(reduction.hsv[order], rel=1e-8)
        assert found.holds
        assert found.is_stable
        assert reduction.error_bound == pytest.approx(balanced_truncation(system, order).error_bound / 2)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(("m", "p"), [(1, 1), (3, 1), (1, 3), (2, 2)])
def test_the_bound_holds_for_many_systems(make_system, m, p, seed):
    system = make_system("dense", n=6, m=m, p=p, seed=seed, dt=seed % 2)
    for order in range(1, 6):
        reduction = hankel_norm_approximation(system, order)

        rounding = 1e-12 * reduction.hsv[0]
        assert hinf_norm(difference(system, reduction.system)) <= reduction.error_bound * (1 + 1e-8) + rounding
        found = hankel_norm(difference(system, reduction.system))
        assert found == pytest.approx(reduction.hsv[order], rel=1e-7, abs=rounding)


@pytest.mark.parametrize("dt", [0.0, 1.0])
def test_the_last_state_goes_at_an_all_pass_error(make_system, points, dt):
    system = make_system("dense", dt=dt, m=1, p=1)

    reduction = hankel_norm_approximation(system, 7)

    s = points(dt, 60)
    error = system.transfer_function(s) - reduction.system.transfer_function(s)
    assert np.allclose(np.abs(error) / reduction.hsv[7], 1, atol=1e-6)


@pytest.mark.parametrize("dt", [0.0, 1.0])
def test_a_state_transformation_changes_nothing(make_system, points, dt):
    system = make_system("dense", dt=dt)
    T = np.eye(8) + 0.3 * np.random.default_rng(5).standard_normal((8, 8))
    moved = StateSpace(T @ system.A @ np.linalg.inv(T), T @ system.B, system.C @ np.linalg.inv(T), system.D, dt)

    ours, theirs = (hankel_norm_approximation(G, 4).system for G in (system, moved))

    s = points(dt)
    assert np.allclose(ours.transfer_function(s), theirs.transfer_function(s), rtol=1e-7, atol=1e-7)


def test_it_beats_truncation_in_the_hankel_norm(make_system):
    system = make_system("dense")

    ours, theirs = (method(system, 3).system for method in (hankel_norm_approximation, balanced_truncation))

    assert hankel_norm(difference(system, ours)) < hankel_norm(difference(system, theirs))


@pytest.mark.parametrize("dt", [0.0, 1.0])
def test_a_repeated_value_goes_whole(make_system, dt):
    one = make_system("dense", dt=dt, n=4, m=1, p=1)
    A, B, C = (np.kron(np.eye(3), X) for X in (one.A, one.B, one.C))  # three copies: each value three times
    system = StateSpace(A, B, C, dt=dt)

    reduction = hankel_norm_approximation(system, 4)  # inside the second group, of 4 to 6

    assert reduction.order == 3
    assert hankel_norm(difference(system, reduction.system)) == pytest.approx(reduction.hsv[3], rel=1e-7)
    assert hinf_norm(difference(system, reduction.system)) <= reduction.hsv[[3, 6, 9]].sum() * (1 + 1e-7)


def test_a_repeated_largest_value_is_refused(make_system):
    one = make_system("dense", n=4, m=1, p=1)
    A, B, C = (np.kron(np.eye(3), X) for X in (one.A, one.B, one.C))

    with pytest.raises(OrderError, match=r"σ_1 to σ_3 are equal.*want order 3"):
        hankel_norm_approximation(StateSpace(A, B, C), 2)


def test_states_that_carry_nothing_do_not_matter(make_system):
    system = make_system("dense", n=5)
    A = np.block([[system.A, np.ones((5, 2))], [np.zeros((2, 5)), -np.eye(2)]])  # two more that no input reaches
    padded = StateSpace(A, np.concatenate([system.B, np.zeros((2, 2))]), np.hstack([system.C, np.ones((3, 2))]))

    ours, same = hankel_norm_approximation(padded, 3), hankel_norm_approximation(padded, 7)

    assert hankel_norm(difference(system, ours.system)) == pytest.approx(hankel_singular_values(system)[3], rel=1e-7)
    assert same.order == 5
    assert hinf_norm(difference(padded, same.system)) < 1e-9


def test_error_asks_for_the_order_that_this_method_needs(make_system):
    system = make_system("dense")
    hsv = hankel_singular_values(system)

    by_error = hankel_norm_approximation(system, error=hsv[3:].sum() * 1.0001)
    by_hankel = hankel_norm_approximation(system, Error(hsv[2] * 1.0001, norm="hankel", optimal=True))

    assert by_error.order == 3
    assert by_hankel.order == 2


@pytest.mark.parametrize(("kind", "dt"), [("dense", 0.0), ("paired", 1.0)])
def test_a_batch_equals_a_loop(make_system, points, kind, dt):
    batch = make_system(kind, dt=dt, batch=(2,))

    together = hankel_norm_approximation(batch, 3)

    s = points(dt, 40)
    for k in range(2):
        A = batch.A.map(lambda array, k=k: array[k]) if kind == "paired" else batch.A[k]
        alone = hankel_norm_approximation(StateSpace(A, batch.B[k], batch.C[k], batch.D[k], dt), 3)
        assert np.allclose(together.system.transfer_function(s)[k], alone.system.transfer_function(s))
        assert together.error_bound[k] == pytest.approx(alone.error_bound)
    assert all(found.holds for found in together.certify())


def test_torch_in_torch_out(make_system):
    torch = pytest.importorskip("torch")
    system = make_system("dense")
    moved = StateSpace(*(torch.tensor(np.array(M)) for M in (system.A, system.B, system.C, system.D)))

    reduction = hankel_norm_approximation(moved, 3)

    assert isinstance(reduction.system.A, torch.Tensor)
    assert isinstance(reduction.hsv, torch.Tensor)
    assert reduction.certify().holds


def test_a_descriptor_matrix_is_divided_out(make_system):
    plain = make_system("dense")
    E = np.eye(8) + 0.3 * np.random.default_rng(1).standard_normal((8, 8))
    system = StateSpace(E @ plain.A, E @ plain.B, plain.C, plain.D, 0.0, E)

    assert hankel_norm_approximation(system, 3).certify().holds


@pytest.mark.parametrize("complete", [False, True])
def test_the_embedding_is_at_a_distance_of_the_value_removed(make_system, complete):
    full = balanced_truncation(make_system("dense", m=2, p=2), 8)
    G = Balanced(full.system.A, full.system.B, full.system.C, full.system.D, full.hsv)

    Q = embedding(G, slice(3, 4), complete=complete)

    s = 1j * np.logspace(-2, 2, 30)
    embedded = StateSpace(Q.A, Q.B, Q.C, Q.D).transfer_function(s)
    gains = np.linalg.svd(full.system.transfer_function(s) - embedded, compute_uv=False) / full.hsv[3]
    assert np.allclose(gains if complete else gains[:, 0], 1, atol=1e-9)
    assert gains.max() <= 1 + 1e-9
    assert np.sum(np.linalg.eigvals(Q.A).real < 0) == 3


def test_a_complete_embedding_is_balanced(make_system):
    full = balanced_truncation(make_system("dense", m=2, p=2), 8)
    G = Balanced(full.system.A, full.system.B, full.system.C, full.system.D, full.hsv)

    Q = embedding(G, slice(3, 4), complete=True)

    signed = np.diag(np.where(Q.sigma > full.hsv[3], Q.sigma, -Q.sigma))
    assert np.allclose(Q.A @ signed + signed @ Q.A.T, -Q.B @ Q.B.T, atol=1e-9)
    assert np.allclose(Q.A.T @ signed + signed @ Q.A, -Q.C.T @ Q.C, atol=1e-9)


@pytest.mark.parametrize(("m", "p"), [(2, 2), (1, 3), (3, 1)])
def test_the_nearest_constant_is_within_the_sum(make_system, m, p):
    full = balanced_truncation(make_system("dense", m=m, p=p), 8)
    G = full.system

    K = nearest_constant(Balanced(G.A, G.B, G.C, G.D, full.hsv), 1e-8)

    assert hinf_bracket(StateSpace(G.A, G.B, G.C, G.D - K)).upper <= full.hsv.sum() * (1 + 1e-8)


@pytest.mark.parametrize("kind", ["dense", "complex"])
def test_the_bilinear_map_keeps_gains_and_values_and_comes_back(make_system, kind):
    system = make_system(kind, dt=0.5)

    moved = to_continuous(system)

    z = np.exp(1j * np.linspace(-3, 3, 20))
    assert np.allclose(moved.transfer_function((z - 1) / (z + 1)), system.transfer_function(z))
    assert np.allclose(hankel_singular_values(moved), hankel_singular_values(system))
    assert np.allclose(to_discrete(moved, 0.5).transfer_function(z), system.transfer_function(z))


@pytest.mark.parametrize(
    ("wish", "match"),
    [
        ({}, "exactly one"),
        ({"order": 0}, "at least 1"),
        ({"order": 9}, "from 1 to 8"),
        ({"energy": 1.2}, "fraction"),
        ({"error": -1.0}, "not negative"),
        ({"error": 1.0, "order": 2}, "exactly one"),
    ],
)
def test_a_wish_without_meaning_is_refused(make_system, wish, match):
    with pytest.raises(OrderError, match=match):
        hankel_norm_approximation(make_system("dense"), **wish)


def test_bad_input_is_refused(make_system):
    system = make_system("dense")

    with pytest.raises(InstabilityError, match="unstable"):
        hankel_norm_approximation(StateSpace(-system.A, system.B, system.C), 3)
    with pytest.raises(NonFiniteError, match="C holds"):
        hankel_norm_approximation(StateSpace(system.A, system.B, np.inf * system.C), 3)
    with pytest.raises(BalanceError, match="repeated_rtol is -1"):
        hankel_norm_approximation(system, 3, repeated_rtol=-1)
    with pytest.raises(ShapeError, match="empty batch"):
        hankel_norm_approximation(make_system("dense", batch=(0,)), 3)
    with pytest.raises(OrderError, match="does not reach"):
        hankel_norm_approximation(StateSpace(system.A, 0 * system.B, system.C), 3)


def test_members_of_a_batch_that_need_two_orders_are_refused(make_system):
    one = make_system("dense", n=4, m=1, p=1)
    copies = [np.kron(np.eye(2), X) for X in (one.A, one.B, one.C)]
    apart = [np.kron(np.diag([1.0, 3.0]), one.A), *copies[1:]]
    batch = StateSpace(*(np.stack(pair) for pair in zip(copies, apart, strict=True)))

    with pytest.raises(OrderError, match="one by one"):
        hankel_norm_approximation(batch, 3)
