"""Padding on either side: real steps first for the layer, and everything back in its place after it."""

import pytest
import torch

from ssm_zoo._errors import DtypeError, OptionError, ShapeError
from ssm_zoo.layers.padding import right_padded
from ssm_zoo.scan.lengths import blank, real_steps, reverse_steps, state_after

LENGTHS = torch.tensor([5, 0, 3])


@pytest.fixture
def x():
    return torch.arange(1.0, 31.0).reshape(3, 5, 2)


def test_padding_on_the_left_comes_last_and_goes_back(x):
    rolled, back = right_padded(x, LENGTHS, "left")

    assert torch.equal(rolled[0], x[0])
    assert not rolled[1].any()
    assert torch.equal(rolled[2], torch.cat([x[2, 2:], torch.zeros(2, 2)]))
    assert torch.equal(back(rolled)[2], torch.cat([torch.zeros(2, 2), x[2, 2:]]))


def test_padding_on_the_right_stays_where_it_is(x):
    cleared, back = right_padded(x, LENGTHS, "right")

    assert torch.equal(cleared, x * real_steps(LENGTHS, 5)[..., None])
    assert back(cleared) is cleared


@pytest.mark.parametrize("padding", ["right", "left"])
def test_without_lengths_all_steps_are_real(x, padding):
    same, back = right_padded(x, None, padding)

    assert same is x
    assert back(x) is x


@pytest.mark.parametrize("padding", ["right", "left"])
def test_what_is_in_padding_is_lost_both_ways(x, padding):
    x[2, 3:] = torch.nan if padding == "right" else 1
    x[2, :2] = torch.nan if padding == "left" else 1
    x.requires_grad_()

    y, back = right_padded(x, LENGTHS, padding)
    back(y).backward(torch.full_like(x, torch.nan).where(x.isnan(), 1.0))

    assert y.isfinite().all()
    assert x.grad.isfinite().all()
    assert x.grad[2].sum() == 6
    assert not x.grad[1].any()


def test_no_steps_at_all_are_handed_through():
    x = torch.zeros(2, 0, 3)

    y, back = right_padded(x, torch.tensor([0, 0]), "left")

    assert back(y).shape == x.shape


def test_inputs_are_not_modified(x):
    before = x.clone()

    right_padded(x, LENGTHS, "left")

    assert torch.equal(x, before)


@pytest.mark.parametrize(
    ("lengths", "padding", "error", "message"),
    [
        (LENGTHS, "middle", OptionError, "padding='middle'"),
        (LENGTHS[:2], "left", ShapeError, r"lengths must be \(3,\)"),
        (LENGTHS + 1, "left", ShapeError, "from 0 to 5"),
        (LENGTHS.double(), "left", DtypeError, "integers"),
        (LENGTHS.bool(), "left", DtypeError, "integers"),
    ],
)
def test_arguments_that_do_not_fit_are_named(x, lengths, padding, error, message):
    with pytest.raises(error, match=message):
        right_padded(x, lengths, padding)


def test_reversing_leaves_the_padding_behind(x):
    assert torch.equal(reverse_steps(x, LENGTHS)[2], x[2, [2, 1, 0, 3, 4]])
    assert torch.equal(reverse_steps(reverse_steps(x, LENGTHS), LENGTHS), x)
    assert torch.equal(reverse_steps(x, None), x.flip(1))


def test_the_state_after_no_steps_is_the_one_before(x):
    start = torch.full((3, 2), -1.0)

    last = state_after(x, LENGTHS, start)

    assert torch.equal(last, torch.stack([x[0, 4], start[1], x[2, 2]]))
    assert torch.equal(state_after(x, None, start), x[:, -1])


def test_blanking_takes_axes_of_any_number():
    assert blank(torch.ones(3, 5), LENGTHS).sum() == 8
    assert blank(torch.ones(3, 5, 2, 2), LENGTHS).sum() == 32
