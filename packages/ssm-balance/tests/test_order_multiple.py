import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ssm_balance import Budget, Energy, Error, Multiple, Order, OrderError, Selection, balanced_truncation

HSV = np.ones(20)


@pytest.mark.parametrize(
    ("order", "up", "down", "nearest"), [(1, 8, 8, 8), (8, 8, 8, 8), (11, 16, 8, 8), (12, 16, 8, 16), (17, 20, 16, 16)]
)
def test_orders_are_rounded_from_one_multiple_to_all_states(order, up, down, nearest):
    found = [Multiple(Order(order), of=8, rounding=r).select(HSV) for r in ("up", "down", "nearest")]

    assert found == [up, down, nearest]


def test_a_small_system_keeps_all_its_states():
    assert Multiple(Order(2), of=8).select(np.ones(5)) == 5


def test_a_number_is_an_order():
    assert Multiple(10, of=4).select(HSV) == 12


@given(
    st.lists(st.floats(1e-6, 1), min_size=1, max_size=40),
    st.floats(0.1, 1),
    st.integers(1, 16),
    st.sampled_from(["up", "down", "nearest"]),
)
def test_rounding_stays_in_range_and_near(values, fraction, of, rounding):
    hsv = np.sort(np.array(values))[::-1]
    plain = Energy(fraction).select(hsv)

    order = Multiple(Energy(fraction), of=of, rounding=rounding).select(hsv)

    assert 1 <= order <= len(hsv)
    assert order % of == 0 or order == len(hsv)
    assert abs(order - plain) < of
    assert rounding != "up" or order >= plain


def test_a_rounded_rule_is_a_rule(make_system):
    rule = Multiple(Multiple(Error(1e-1), of=2), of=3)

    assert isinstance(rule, Selection)
    assert hash(rule) == hash(Multiple(Multiple(Error(1e-1), of=2), of=3))
    assert balanced_truncation(make_system(n=9), rule).order % 3 == 0


@pytest.mark.parametrize("of", [0, -8, 2.5, True, None])
def test_no_multiple_of_nothing(of):
    with pytest.raises(OrderError, match="of must be a whole number, at least 1; got"):
        Multiple(Order(3), of=of)


def test_no_unknown_rounding():
    with pytest.raises(OrderError, match="'up', 'down' or 'nearest'"):
        Multiple(Order(3), rounding="even")


def test_no_bad_rule_inside():
    with pytest.raises(OrderError, match="order must be at least 1; got 0"):
        Multiple(0)
    with pytest.raises(OrderError, match="several systems; call its allocate"):
        Multiple(Budget(4))
