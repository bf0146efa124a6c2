"""A stepper is its layer, one step after the other, as it was when the stepper was made."""

import gc

import numpy as np
import pytest
import torch
from torch import nn

from ssm_zoo import LRU, S5
from ssm_zoo._errors import DtypeError, OptionError, ShapeError, UnsupportedError
from ssm_zoo.streaming import Stepper, TorchStepper, stepper

LAYERS = {
    "lru": lambda: LRU(4, 7),
    "s5": lambda: S5(4, 6, discretization="bilinear"),
    "without a kernel": lambda: LRU(4, 7, scan="reference"),
}


@pytest.fixture(params=LAYERS.values(), ids=LAYERS)
def layer(request):
    torch.manual_seed(0)
    return request.param()


@pytest.fixture
def x():
    return np.random.default_rng(0).standard_normal((12, 3, 4)).astype(np.float32)  # (length, batch, d_model)


def outputs_of(steps, x):
    return np.stack([steps.step(x_t).copy() for x_t in x], 1)


def test_its_steps_are_the_layer(layer, x):
    steps = stepper(layer, batch=3)

    got = outputs_of(steps, x)

    wanted, last = layer(torch.tensor(x).transpose(0, 1), return_state=True)
    assert isinstance(steps, Stepper)
    np.testing.assert_allclose(got, wanted.detach(), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(steps.state, last.detach(), rtol=1e-4, atol=1e-5)


def test_it_does_not_see_later_changes_and_outlives_the_layer(x):
    layer = LRU(4, 7)
    steps = stepper(layer, batch=3)
    wanted = layer(torch.tensor(x).transpose(0, 1)).detach()

    with torch.no_grad():
        for value in layer.parameters():
            value.zero_()
    del layer, value
    gc.collect()

    np.testing.assert_allclose(outputs_of(steps, x), wanted, rtol=1e-4, atol=1e-5)


def test_a_state_can_be_kept_and_set_again(layer, x):
    steps = stepper(layer, batch=3)
    outputs_of(steps, x[:5])
    state = steps.state.copy()
    wanted = outputs_of(steps, x[5:])

    steps.state = state

    assert np.array_equal(outputs_of(steps, x[5:]), wanted)


def test_a_reset_puts_the_state_at_rest(layer, x):
    steps = stepper(layer, batch=3)
    wanted = outputs_of(steps, x)

    steps.reset()

    assert not steps.state.any()
    assert np.array_equal(outputs_of(steps, x), wanted)


def test_inputs_of_any_layout_are_taken_and_not_modified(layer, x):
    steps = stepper(layer, batch=3)
    wanted = outputs_of(steps, x)
    steps.reset()
    strided = np.asfortranarray(x)
    before = strided.copy()

    got = outputs_of(steps, strided)

    np.testing.assert_allclose(got, wanted, rtol=1e-5, atol=1e-6)
    assert np.array_equal(strided, before)


def test_what_does_not_fit_is_named():
    steps = stepper(LRU(4, 7), batch=3)

    with pytest.raises(ShapeError, match=r"x_t of shape \(1, 4\), wanted \(3, 4\)"):
        steps.step(np.zeros((1, 4), dtype=np.float32))
    with pytest.raises(DtypeError, match="float64"):
        steps.step(np.zeros((3, 4)))
    with pytest.raises(ShapeError, match=r"state of shape \(3, 5\), wanted \(3, 7\)"):
        steps.state = np.zeros((3, 5))
    with pytest.raises(ShapeError, match=r"state of shape \(3, 5\), wanted \(3, 7\)"):
        stepper(LRU(4, 7, scan="reference"), batch=3).state = np.zeros((3, 5))
    with pytest.raises(OptionError, match="batch=0"):
        stepper(LRU(4, 7), batch=0)
    with pytest.raises(UnsupportedError, match="Linear has neither"):
        stepper(nn.Linear(2, 2))
    with pytest.raises(UnsupportedError, match="both ends"):
        stepper(LRU(4, 7, bidirectional=True))


def test_double_precision_steps_without_a_kernel():
    layer = LRU(4, 7).double()

    steps = stepper(layer)

    assert isinstance(steps, TorchStepper)
    assert steps.step(np.ones((1, 4))).dtype == np.float64


class Pair(nn.Module):
    """A layer of one's own, whose state is two states."""

    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleList([LRU(4, 3), S5(4, 2)])

    def init_state(self, batch):
        return tuple(layer.init_state(batch) for layer in self.layers)

    def step(self, x_t, state):
        states = []
        for layer, part in zip(self.layers, state, strict=True):
            x_t, part = layer.step(x_t, part)
            states.append(part)
        return x_t, tuple(states)


def test_any_module_with_a_step_does(x):
    torch.manual_seed(0)
    steps = stepper(Pair(), batch=3)
    outputs_of(steps, x[:5])
    first, second = (part.copy() for part in steps.state)
    wanted = outputs_of(steps, x[5:])

    steps.state = (first, second)

    assert np.array_equal(outputs_of(steps, x[5:]), wanted)
