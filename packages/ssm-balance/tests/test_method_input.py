"""What every method does with what it is given."""

import numpy as np
import pytest
from scipy import sparse

from ssm_balance import (
    Energy,
    Multiple,
    Order,
    SingularDescriptorError,
    cross_gramian_truncation,
    hankel_norm_approximation,
    modal_truncation,
    singular_perturbation,
    split_stable,
    stochastic_truncation,
)
from ssm_gramians import StateSpace, UnsupportedError

METHODS = [
    singular_perturbation,
    hankel_norm_approximation,
    modal_truncation,
    cross_gramian_truncation,
    stochastic_truncation,
]
HOST_METHODS = METHODS[1:]

pytestmark = pytest.mark.parametrize("method", METHODS)


def one_channel(make_system, **options):
    return make_system("dense", m=1, p=1, **options)


def test_a_singular_descriptor_is_refused(method):
    system = StateSpace(-np.eye(2), np.ones((2, 1)), np.ones((1, 2)), np.ones((1, 1)), 0.0, np.diag([1.0, 0.0]))

    with pytest.raises(SingularDescriptorError, match="smallest singular value"):
        method(system, 1)
    with pytest.raises(SingularDescriptorError, match="smallest singular value"):
        split_stable(system)


def test_a_sparse_descriptor_is_taken_or_refused(method):
    E, A = sparse.csc_array(2 * np.eye(4)), sparse.csc_array(np.diag([-1.0, -2, -3, -4]))
    system = StateSpace(A, np.ones((4, 1)), np.ones((1, 4)), np.ones((1, 1)), 0.0, E)
    if method in HOST_METHODS:
        with pytest.raises(UnsupportedError, match="E is sparse"):
            method(system, 1)
    else:
        assert method(system, 2).certify().holds


def test_single_precision_is_reduced_in_double(make_system, method):
    system = one_channel(make_system)
    single = StateSpace(*(M.astype(np.float32) for M in (system.A, system.B, system.C, system.D)))

    ours = method(single, 5)

    assert ours.system.A.dtype == ours.system.D.dtype == np.float64
    assert ours.certify().holds


def test_what_comes_in_is_not_modified(make_system, method):
    system = one_channel(make_system)
    parts = [np.array(M) for M in (system.A, system.B, system.C, system.D)]

    method(StateSpace(*parts), 4)

    assert all(np.array_equal(M, N) for M, N in zip(parts, (system.A, system.B, system.C, system.D), strict=True))


def test_rules_choose_the_order(make_system, method):
    system = one_channel(make_system)
    hsv = method(system, 8).hsv
    expected = Energy(0.95).select(hsv)

    by_keyword, by_rule = method(system, energy=0.95), method(system, Energy(0.95))
    rounded = method(system, Multiple(Order(3), of=4))

    assert by_keyword.order == by_rule.order
    assert by_keyword.order in (expected, expected + (method is modal_truncation))
    assert rounded.order in (4, 4 + (method is modal_truncation))


def test_one_state_can_be_all(method):
    system = StateSpace(-np.eye(1), np.ones((1, 1)), np.ones((1, 1)), 2 * np.ones((1, 1)))

    reduction = method(system, 1)

    assert reduction.order == 1
    assert reduction.error_bound == 0
    assert reduction.certify().hinf.lower < 1e-14


def test_reducing_twice_is_reducing_once(make_system, points, method):
    system = one_channel(make_system)
    if method is hankel_norm_approximation:
        pytest.skip("the reduced system has other values")

    once = method(system, 5).system
    twice = method(once, once.order).system

    s = points(0.0, 40)
    assert np.allclose(twice.transfer_function(s), once.transfer_function(s), rtol=1e-8, atol=1e-8)
