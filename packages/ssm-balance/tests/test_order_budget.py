import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ssm_balance import Budget, OrderError, balanced_truncation, hankel_singular_values

values = st.lists(st.floats(0, 10), min_size=1, max_size=5).map(lambda v: sorted(v, reverse=True))


def cost(hsvs, orders, weights):
    return sum(w * sum(hsv[r:]) for hsv, r, w in zip(hsvs, orders, weights, strict=True))


@given(st.lists(values, min_size=1, max_size=4), st.integers(0, 12), st.data())
@settings(deadline=None)
def test_no_other_allocation_leaves_less(hsvs, spare, data):
    weights = data.draw(st.lists(st.floats(0.1, 10), min_size=len(hsvs), max_size=len(hsvs)))
    total = len(hsvs) + spare

    orders = Budget(total, weights).allocate(hsvs)

    every = itertools.product(*(range(1, len(hsv) + 1) for hsv in hsvs))
    best = min(cost(hsvs, r, weights) for r in every if sum(r) <= total)
    assert sum(orders) <= total
    assert all(1 <= r <= len(hsv) for r, hsv in zip(orders, hsvs, strict=True))
    assert cost(hsvs, orders, weights) <= best * (1 + 1e-12) + 1e-12


@given(st.lists(values, min_size=1, max_size=4), st.integers(0, 4), st.integers(1, 3))
@settings(deadline=None)
def test_no_other_allocation_in_blocks_leaves_less(hsvs, spare, of):
    total = of * (len(hsvs) + spare) + of - 1

    orders = Budget(total, of=of).allocate(hsvs)

    def blocks(r):
        return sum(-(-order // of) for order in r)

    steps = (sorted({min(of * k, len(hsv)) for k in range(1, 6)}) for hsv in hsvs)
    ones = [1] * len(hsvs)
    best = min(cost(hsvs, r, ones) for r in itertools.product(*steps) if blocks(r) * of <= total)
    assert blocks(orders) * of <= total
    assert cost(hsvs, orders, ones) <= best * (1 + 1e-12) + 1e-12


def test_the_largest_values_are_kept():
    assert Budget(5).allocate([[8, 4, 2, 1], [3, 0.5], [0.1, 0.1]]) == (3, 1, 1)


def test_a_weight_draws_states():
    assert Budget(3, weights=[1, 1000]).allocate([[8, 4, 2, 1], [3, 0.5]]) == (1, 2)


def test_zeros_are_not_paid_for():
    assert Budget(100).allocate([[1.0, 0.0, 0.0], [2.0, 1.0]]) == (1, 2)


def test_equal_values_go_to_the_earlier_system():
    assert Budget(4).allocate([[1.0, 1.0, 1.0], [1.0, 1.0]]) == (3, 1)


def test_a_batch_is_many_systems(make_system):
    hsv = hankel_singular_values(make_system("paired", dt=1.0, batch=(3,)))

    orders = Budget(20).allocate(hsv)

    assert orders == Budget(20).allocate(list(hsv))
    assert sum(orders) == 20


def test_tensors_are_read(make_system):
    torch = pytest.importorskip("torch")
    hsv = torch.tensor([[4.0, 2.0], [3.0, 1.0]], requires_grad=True)

    assert Budget(3).allocate(hsv) == (2, 1)


@pytest.mark.parametrize("total", [0, -1, 2.5, True, "8", None])
def test_no_broken_total(total):
    with pytest.raises(OrderError, match="total must be a whole number, at least 1; got"):
        Budget(total)


@pytest.mark.parametrize("weight", [0.0, -1.0, float("nan"), float("inf")])
def test_no_broken_weight(weight):
    with pytest.raises(OrderError, match="weights must be positive and finite; got"):
        Budget(4, [1.0, weight])


def test_no_budget_below_one_state_for_each():
    with pytest.raises(OrderError, match="want at least 3"):
        Budget(2).allocate([[1.0]] * 3)
    with pytest.raises(OrderError, match="want at least 24"):
        Budget(20, of=8).allocate([[1.0]] * 3)


def test_no_weight_is_missing():
    with pytest.raises(OrderError, match="got 1 weights for 2 systems; want one for each"):
        Budget(4, [1.0]).allocate([[1.0], [1.0]])


def test_no_systems_no_orders():
    with pytest.raises(OrderError, match="got no system; want"):
        Budget(4).allocate([])


@pytest.mark.parametrize("hsv", [[], 3.0, [[1.0, 2.0]]])
def test_values_come_as_one_list_for_each_system(hsv):
    with pytest.raises(OrderError, match=r"system 0 has .* want \(n,\), one list for each"):
        Budget(4).allocate([hsv])


@pytest.mark.parametrize("hsv", [[1.0, 2.0], [1.0, -1.0], [float("nan"), 1.0]])
def test_values_that_are_none_are_refused(hsv):
    with pytest.raises(OrderError, match="system 1 are not finite, not negative and descending; sort them first"):
        Budget(4).allocate([[1.0], hsv])


def test_a_budget_is_no_order(make_system):
    with pytest.raises(OrderError, match="several systems; call its allocate"):
        balanced_truncation(make_system(), Budget(4))
