import copy
import math

import pytest
import torch
from torch import nn

from ssm_balance import Order
from ssm_zoo import LRU, S4, S4D, S5, ShapeError
from ssm_zoo.layers import Mamba, Mamba2
from ssm_zoo.reduction import (
    Activations,
    At,
    InTrainingReducer,
    Limits,
    Mamba2Adapter,
    propose,
    resize_like,
    resize_on_load,
)
from ssm_zoo.reduction.surgery import operate

LAYERS = {
    "lru": lambda: LRU(8, 12),
    "s5": lambda: S5(8, 12, bidirectional=True),
    "s4d": lambda: S4D(8, 12),
    "s4": lambda: S4(8, 12),
    "mamba": lambda: Mamba(8, 12),
    "mamba2": lambda: Mamba2(8, 12, headdim=4, ngroups=2),
}


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(0)


def reduced(layer, x, **options):
    adapter = Mamba2Adapter(layer, **options) if options else layer
    operate([(layer, propose(adapter, x, Activations(), 5).surgery)], None)
    return layer


@pytest.mark.parametrize(
    ("layer", "options"),
    [*((layer, {}) for layer in LAYERS.values()), (LAYERS["mamba2"], {"form": "keep"})],
    ids=[*LAYERS, "mamba2-keep"],
)
def test_a_fresh_model_takes_the_weights_of_a_reduced_one(layer, options):
    x = torch.randn(4, 20, 8)
    small = reduced(layer(), x, **options)
    fresh = nn.ModuleDict({"inner": layer(), "head": nn.Linear(2, 2)})
    state = {f"inner.{name}": value for name, value in small.state_dict().items()}
    state |= {f"head.{name}": value for name, value in fresh["head"].state_dict().items()}

    names = resize_like(fresh, state)
    fresh.load_state_dict(state)

    assert names == ["inner"]
    assert type(fresh["inner"]) is type(small)
    assert repr(fresh["inner"]) == repr(small)
    torch.testing.assert_close(fresh["inner"](x), small(x), rtol=0, atol=0)


def test_what_fits_is_left_alone():
    model = nn.Sequential(LRU(4, 8), S5(4, 6))
    before = list(model.parameters())

    names = resize_like(model, copy.deepcopy(model).state_dict())

    assert names == []
    assert all(a is b for a, b in zip(before, model.parameters(), strict=True))


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "module._orig_mod."])
def test_names_of_wrapped_and_compiled_models_are_understood(prefix):
    small, model = nn.Sequential(LRU(4, 5)), nn.Sequential(LRU(4, 8))

    resize_like(model, {prefix + name: value for name, value in small.state_dict().items()})

    assert model[0].d_state == 5


def test_an_optimizer_that_is_there_holds_the_resized_parameters():
    small, model = nn.Sequential(LRU(4, 5)), nn.Sequential(LRU(4, 8))
    optimizer = torch.optim.Adam(model.parameters())

    resize_like(model, small.state_dict(), optimizer)

    held = [id(parameter) for group in optimizer.param_groups for parameter in group["params"]]
    assert held == [id(parameter) for parameter in model.parameters()]


def test_marks_on_parameters_stay():
    model = nn.Sequential(LRU(4, 8))

    resize_like(model, nn.Sequential(LRU(4, 5)).state_dict())

    assert model[0].nu_log._no_weight_decay
    assert model[0].nu_log.requires_grad


def test_another_kind_of_layer_is_refused_and_nothing_changes():
    model = nn.Sequential(LRU(4, 8), S5(4, 8))
    state = nn.Sequential(LRU(4, 5), LRU(4, 5)).state_dict() | {"1.B": torch.zeros(5)}

    with pytest.raises(ShapeError, match=r"1\.B"):
        resize_like(model, state)

    assert model[0].d_state == 8


def test_loading_resizes_once_it_is_told_to():
    small, model = nn.Sequential(LRU(4, 5)), nn.Sequential(LRU(4, 8))
    handle = resize_on_load(model)

    model.load_state_dict(small.state_dict())
    handle.remove()

    assert model[0].d_state == 5
    with pytest.raises(RuntimeError, match="size mismatch"):
        model.load_state_dict(nn.Sequential(LRU(4, 6)).state_dict())


def run(model, optimizer, reducer, steps, first=0):
    for step in range(first, first + steps):
        torch.manual_seed(step)
        loss = model(torch.randn(8, 20, 4)).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        reducer.step()


@pytest.mark.parametrize("layer", [LRU, S5, S4D, S4, Mamba])
def test_a_run_goes_on_bit_for_bit_from_a_model_of_full_size(layer):
    def build():
        torch.manual_seed(1)
        return nn.Sequential(layer(4, 12), nn.Tanh(), layer(4, 12))

    def rest(model):
        optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
        limits = Limits(output_error=math.inf, condition=math.inf)
        return optimizer, InTrainingReducer(model, optimizer, At(2, 5), Order(8), limits=limits)

    model = build()
    optimizer, reducer = rest(model)
    run(model, optimizer, reducer, 3)
    states = copy.deepcopy([part.state_dict() for part in (model, optimizer, reducer)])

    resumed = build()
    resize_like(resumed, states[0])
    again = [resumed, *rest(resumed)]
    for part, state in zip(again, states, strict=True):
        part.load_state_dict(state)
    run(model, optimizer, reducer, 3, 3)
    run(*again, 3, 3)

    assert any(cut.status == "cut" for cut in reducer.ledger)
    torch.testing.assert_close(resumed.state_dict(), model.state_dict(), rtol=0, atol=0)
