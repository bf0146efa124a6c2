import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ssm_balance import Error, OrderError, coprime_error_bound, error_bound, hankel_error_bound, relative_error_bound

HSV = np.array([4.0, 3.0, 2.0, 1.0])
values = st.lists(st.floats(0, 1e3), min_size=1, max_size=12).map(lambda v: np.sort(np.array(v))[::-1])


@pytest.mark.parametrize(("tolerance", "order"), [(6.0, 1), (5.9, 2), (3.0, 2), (1.0, 3), (0.9, 4)])
def test_optimal_approximation_needs_half_the_tolerance(tolerance, order):
    assert Error(tolerance, optimal=True).select(HSV) == order


@pytest.mark.parametrize(("tolerance", "order"), [(3.0, 1), (2.9, 2), (1.0, 3), (0.9, 4), (0.0, 4)])
def test_the_optimal_hankel_error_is_the_next_value(tolerance, order):
    assert Error(tolerance, norm="hankel", optimal=True).select(HSV) == order


def test_truncation_promises_as_much_in_the_hankel_norm_as_in_the_other():
    assert Error(6.0, norm="hankel").select(HSV) == Error(6.0).select(HSV) == 2


def test_one_state_is_kept_whatever_the_norm():
    for rule in (Error(9.0), Error(0.0, norm="hankel", optimal=True)):
        assert rule.select(np.array([1.0])) == 1


@given(values, st.floats(0, 1e4))
def test_the_order_is_the_smallest_within_the_tolerance(hsv, tolerance):
    order = Error(tolerance).select(hsv)

    assert order == len(hsv) or error_bound(hsv, order) <= tolerance * (1 + 1e-12)
    assert order == 1 or error_bound(hsv, order - 1) >= tolerance * (1 - 1e-12)


def test_no_hankel_value_bounds_the_h2_error():
    with pytest.raises(OrderError, match=r"do not bound the H2 error, got norm='h2'.*Use norm='hinf'"):
        Error(1e-3, norm="h2")


def test_time_can_be_scaled_without_the_values_noticing(make_system):
    from ssm_balance import h2_norm, hankel_singular_values
    from ssm_gramians import StateSpace

    slow = make_system("dense")
    slow = StateSpace(slow.A, slow.B, slow.C)
    fast = StateSpace(100 * slow.A, 10 * slow.B, 10 * slow.C)

    assert np.allclose(hankel_singular_values(fast), hankel_singular_values(slow), rtol=1e-9)
    assert h2_norm(fast) == pytest.approx(10 * h2_norm(slow))


@pytest.mark.parametrize("norm", ["linf", "", None])
def test_no_unknown_norm(norm):
    with pytest.raises(OrderError, match="want 'hinf' or 'hankel'"):
        Error(1.0, norm=norm)


def test_the_bound_of_optimal_approximation_is_half():
    assert [hankel_error_bound(HSV, order) for order in range(5)] == [10, 6, 3, 1, 0]


def test_the_relative_bound_is_the_product():
    correlations = np.array([0.9, 0.5, 0.25, 1e-9])

    assert relative_error_bound(correlations, 1) == pytest.approx(3 * 1.25 / 0.75 - 1, rel=1e-8)
    assert relative_error_bound(correlations, 3) == pytest.approx(2e-9, rel=1e-8)
    assert relative_error_bound(correlations, 4) == 0


def test_the_relative_bound_is_infinite_where_a_zero_is_cut():
    correlations = np.array([[1.0, 1.0, 0.5], [1.0, 0.3, 0.1]])

    assert np.allclose(relative_error_bound(correlations, 1), [np.inf, 1.3 / 0.7 * 1.1 / 0.9 - 1])


def test_the_bound_of_coprime_factors():
    assert coprime_error_bound(np.array([3.0, 1.0]), 1) == pytest.approx(2**0.5)
    assert coprime_error_bound(np.array([3.0, 1e-9]), 1) == pytest.approx(2e-9)


@pytest.mark.parametrize("bound", [hankel_error_bound, relative_error_bound, coprime_error_bound])
def test_bounds_know_their_orders(bound):
    with pytest.raises(OrderError, match=r"from 1 to 4.*got 5"):
        bound(HSV / 4, 5)
