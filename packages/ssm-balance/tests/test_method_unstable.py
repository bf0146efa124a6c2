"""The stable and the unstable part of a system: split, the first reduced, the second kept."""

import numpy as np
import pytest

from ssm_balance import (
    BalanceError,
    Multiple,
    OrderError,
    balanced_truncation,
    cross_gramian_truncation,
    difference,
    hankel_norm_approximation,
    linf_bracket,
    modal_truncation,
    singular_perturbation,
    split_stable,
)
from ssm_gramians import InstabilityError, NonFiniteError, ShapeError, StateSpace

METHODS = [balanced_truncation, singular_perturbation, hankel_norm_approximation, modal_truncation]
TIMES = [0.0, 0.5]


def unstable_system(make_system, kind="dense", dt=0.0, **options):
    """Two or three of eight poles are unstable."""
    system = make_system(kind, dt=dt, **options)
    poles = np.linalg.eigvals(system.A)
    keys = np.abs(poles) if dt else poles.real
    limit = np.sort(keys)[-3:-1].mean() if kind == "complex" else _gap(keys)
    A = system.A / limit if dt else system.A - limit * np.eye(system.order)
    return StateSpace(A, system.B, system.C, system.D, dt)


def _gap(keys):
    """Return the middle of the first gap of a sorted list, from the third largest on: not inside a conjugate pair."""
    keys = np.sort(keys)[::-1]
    k = next(k for k in range(2, keys.size - 1) if keys[k - 1] - keys[k] > 1e-6)
    return (keys[k - 1] + keys[k]) / 2


def outside(poles, dt):
    return np.abs(poles) >= 1 if dt else poles.real >= 0


@pytest.mark.parametrize("kind", ["dense", "complex"])
@pytest.mark.parametrize("dt", TIMES)
def test_the_parts_add_up_and_have_the_poles_of_their_side(make_system, points, kind, dt):
    system = unstable_system(make_system, kind, dt)

    split = split_stable(system)

    s = points(dt, 40)
    total = split.stable.transfer_function(s) + split.unstable.transfer_function(s)
    assert np.allclose(total, system.transfer_function(s), rtol=1e-9, atol=1e-9)
    assert not outside(split.stable.poles(), dt).any()
    assert outside(split.unstable.poles(), dt).all()
    assert split.unstable.order == outside(system.poles(), dt).sum()
    assert np.isrealobj(split.stable.A) == (kind == "dense")
    assert split.condition >= 1


@pytest.mark.parametrize("dt", TIMES)
def test_the_bases_are_biorthogonal_and_reach_the_parts(make_system, dt):
    plain = unstable_system(make_system, dt=dt)
    E = np.eye(8) + 0.3 * np.random.default_rng(1).standard_normal((8, 8))
    system = StateSpace(E @ plain.A, E @ plain.B, plain.C, plain.D, dt, E)

    split = split_stable(system)

    left, right = np.hstack([split.left, split.left_unstable]), np.hstack([split.right, split.right_unstable])
    assert np.allclose(left.T @ E @ right, np.eye(8), atol=1e-10)
    assert np.allclose(split.left.T @ system.A @ split.right, split.stable.A, atol=1e-9)
    assert np.allclose(split.left_unstable.T @ system.B, split.unstable.B, atol=1e-9)


def test_the_margin_moves_the_border():
    system = StateSpace(np.diag([-1e-3, -1.0, -2.0]), np.ones((3, 1)), np.ones((1, 3)))

    assert split_stable(system).unstable is None
    assert split_stable(system, margin=0.01).unstable.order == 1
    assert split_stable(system, margin=5.0).stable is None


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("kind", ["dense", "complex"])
@pytest.mark.parametrize("dt", TIMES)
def test_the_unstable_part_is_kept_and_the_bound_holds(make_system, method, kind, dt):
    system = unstable_system(make_system, kind, dt)

    reduction = method(system, 5, unstable="keep")

    kept = reduction.system.poles()
    unstable = [pole for pole in system.poles() if outside(pole, dt)]
    assert all(np.abs(kept - pole).min() < 1e-8 for pole in unstable)
    assert outside(kept, dt).sum() == len(unstable)
    assert reduction.order == reduction.system.order
    assert reduction.full is system
    assert linf_bracket(difference(system, reduction.system)).upper <= reduction.error_bound * (1 + 1e-6)
    assert "unstable part kept" in reduction.method
    assert reduction.unstable_order == len(unstable)


@pytest.mark.parametrize("method", [balanced_truncation, modal_truncation])
def test_the_bases_of_a_projection_are_those_of_the_whole(make_system, method):
    plain = unstable_system(make_system)
    E = np.eye(8) + 0.3 * np.random.default_rng(1).standard_normal((8, 8))
    system = StateSpace(E @ plain.A, E @ plain.B, plain.C, plain.D, 0.0, E)

    found = method(system, 5, unstable="keep")

    assert np.allclose(found.left.T @ E @ found.right, np.eye(found.order), atol=1e-9)
    assert np.allclose(found.left.T @ system.A @ found.right, found.system.A, atol=1e-8)


def test_the_cross_gramian_keeps_the_unstable_part_too(make_system):
    system = unstable_system(make_system, m=1, p=1)

    ours, theirs = (method(system, 5, unstable="keep") for method in (cross_gramian_truncation, balanced_truncation))

    assert ours.order == theirs.order
    assert linf_bracket(difference(ours.system, theirs.system)).upper < 1e-8


@pytest.mark.parametrize("method", METHODS)
def test_a_stable_system_is_reduced_as_ever(make_system, points, method):
    system = make_system("dense")

    kept, plain = method(system, 4, unstable="keep"), method(system, 4)

    s = points(0.0, 40)
    assert np.allclose(kept.system.transfer_function(s), plain.system.transfer_function(s), rtol=1e-8, atol=1e-8)
    assert kept.method == plain.method
    assert kept.full is system


@pytest.mark.parametrize("dt", TIMES)
def test_the_map_is_that_of_slycot(make_system, points, dt):
    slycot = pytest.importorskip("slycot")
    system = unstable_system(make_system, dt=dt)

    ours = balanced_truncation(system, 5, unstable="keep").system

    A, B, C = (np.array(M, order="F") for M in (system.A, system.B, system.C))
    found = slycot.ab09md("D" if dt else "C", "N", "N", 8, 2, 3, A, B, C, alpha=1.0 if dt else 0.0, nr=5)
    r, A_r, B_r, C_r = found[:4]
    theirs = StateSpace(A_r[:r, :r], B_r[:r], C_r[:, :r], system.D, dt)
    s = points(dt, 40)
    assert r == ours.order
    assert np.allclose(ours.transfer_function(s), theirs.transfer_function(s), rtol=1e-8, atol=1e-8)


def test_rules_count_the_unstable_states(make_system):
    system = unstable_system(make_system)
    unstable = split_stable(system).unstable.order

    exact = balanced_truncation(system, error=0.0, unstable="keep")
    rounded = balanced_truncation(system, Multiple(unstable + 1, of=4), unstable="keep")
    loose = balanced_truncation(system, energy=1e-6, unstable="keep")

    assert exact.order == 8
    assert rounded.order % 4 == 0
    assert loose.order == unstable + 1


def test_torch_in_torch_out(make_system):
    torch = pytest.importorskip("torch")
    system = unstable_system(make_system)
    moved = StateSpace(*(torch.tensor(np.array(M)) for M in (system.A, system.B, system.C, system.D)))

    found = balanced_truncation(moved, 5, unstable="keep")

    assert all(isinstance(M, torch.Tensor) for M in (found.system.A, found.left, found.right))


def test_bad_input_is_refused(make_system):
    system = unstable_system(make_system)
    unstable = split_stable(system).unstable.order

    with pytest.raises(InstabilityError, match="split off the unstable part"):
        balanced_truncation(system, 5)
    with pytest.raises(OrderError, match=f"want at least {unstable + 1}"):
        balanced_truncation(system, unstable, unstable="keep")
    with pytest.raises(OrderError, match="from 1 to 8"):
        balanced_truncation(system, 9, unstable="keep")
    with pytest.raises(BalanceError, match="margin is -1"):
        split_stable(system, margin=-1)
    with pytest.raises(BalanceError, match="below 1"):
        split_stable(make_system("dense", dt=1.0), margin=1.5)
    with pytest.raises(ShapeError, match="one by one"):
        split_stable(make_system("dense", batch=(2,)))
    with pytest.raises(NonFiniteError, match="A holds"):
        split_stable(StateSpace(np.nan * system.A, system.B, system.C))
    with pytest.raises(InstabilityError, match="nothing to reduce"):
        balanced_truncation(StateSpace(np.eye(2), np.ones((2, 1)), np.ones((1, 2))), 1, unstable="keep")


def test_poles_that_meet_on_the_border_are_not_parted():
    A = np.array([[-1.0, 1.0], [0.0, -1.0]])  # one double pole, with one eigenvector
    system = StateSpace(A + 1e-17 * np.eye(2), np.ones((2, 1)), np.ones((1, 2)))
    moved = StateSpace(np.array([[-1e-16, 1.0], [0.0, 1e-17]]), system.B, system.C)

    with pytest.raises(OrderError, match="coincide"):
        split_stable(moved)


def test_a_choice_that_is_none_is_refused(make_system):
    for method in (*METHODS, cross_gramian_truncation):
        with pytest.raises(BalanceError, match="unstable is 'drop'"):
            method(make_system("dense", m=2, p=2), 3, unstable="drop")
