import numpy as np
import pytest

from ssm_balance import Energy, Error, Order, OrderError, Selection, error_bound

HSV = np.array([4.0, 3.0, 2.0, 1.0])


@pytest.mark.parametrize(
    ("fraction", "order"), [(0.3, 1), (0.4, 1), (0.41, 2), (0.7, 2), (0.9, 3), (0.91, 4), (1.0, 4)]
)
def test_energy_is_the_plain_sum(fraction, order):
    assert Energy(fraction).select(HSV) == order


@pytest.mark.parametrize(
    ("tolerance", "order"), [(100.0, 1), (12.0, 1), (11.9, 2), (6.0, 2), (2.0, 3), (1.9, 4), (0, 4)]
)
def test_error_keeps_the_bound_within_the_tolerance(tolerance, order):
    assert Error(tolerance).select(HSV) == order


def test_all_energy_drops_only_what_is_zero():
    assert Energy(1).select(np.array([1.0, 1e-30, 0.0, 0.0])) == 2


def test_a_batch_gets_an_order_enough_for_each_member():
    batch = np.stack([HSV, np.array([4.0, 0, 0, 0])])

    assert Energy(0.9).select(batch) == Energy(0.9).select(HSV) == 3
    assert Energy(0.9).select(batch[1:]) == 1


@pytest.mark.parametrize("rule", [Order(2), Energy(0.5), Error(0.1)])
def test_rules_are_frozen_selections(rule):
    assert isinstance(rule, Selection)
    assert hash(rule) == hash(type(rule)(*vars(rule).values()))


@pytest.mark.parametrize("order", [0, -1, 2.0, True, "3", None])
def test_no_order_below_one_or_broken(order):
    with pytest.raises(OrderError, match="order must be"):
        Order(order)


def test_no_order_above_the_states():
    with pytest.raises(OrderError, match=r"from 1 to 4.*got 5"):
        Order(5).select(HSV)


@pytest.mark.parametrize("fraction", [0, -0.1, 1.2, float("nan"), float("inf")])
def test_no_energy_outside_its_range(fraction):
    with pytest.raises(OrderError, match=r"\(0, 1\]; got"):
        Energy(fraction)


@pytest.mark.parametrize("tolerance", [-1e-9, float("nan"), float("inf")])
def test_no_error_without_meaning(tolerance):
    with pytest.raises(OrderError, match="not negative; got"):
        Error(tolerance)


def test_an_empty_batch_has_nothing_to_select_from():
    with pytest.raises(OrderError, match=r"shape \(0, 4\)"):
        Energy(0.5).select(np.zeros((0, 4)))


def test_bound_is_twice_the_rest():
    assert [error_bound(HSV, order) for order in range(5)] == [20, 12, 6, 2, 0]


def test_bound_of_a_batch_is_the_bound_of_each():
    assert np.array_equal(error_bound(np.stack([HSV, 2 * HSV]), 2), [6, 12])


@pytest.mark.parametrize(("order", "bound"), [(0, 12), (1, 6), (2, 6), (3, 2), (4, 2), (5, 0)])
def test_repeated_values_count_once_unless_their_group_is_split(order, bound):
    hsv = np.array([3.0, 2.0, 2.0 - 1e-14, 1.0, 1.0])

    assert error_bound(hsv, order, repeated_rtol=1e-12) == pytest.approx(bound, rel=1e-12)


@pytest.mark.parametrize("order", [-1, 5, 1.0])
def test_no_bound_for_an_order_that_is_not_there(order):
    with pytest.raises(OrderError, match="order must be"):
        error_bound(HSV, order)
