import copy
import math

import pytest
import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn, update_bn

from ssm_balance import Order
from ssm_zoo import LRU, S4, S4D, S5, OptionError
from ssm_zoo.layers import Mamba, Mamba2
from ssm_zoo.reduction import Activations, At, InTrainingReducer, Limits, WhiteNoise, propose
from ssm_zoo.reduction.followers import follow
from ssm_zoo.reduction.surgery import operate

FREE = Limits(output_error=math.inf, condition=math.inf)


class Model(nn.Module):
    def __init__(self, layer, d_model=4, d_state=12, **options):
        super().__init__()
        self.encoder = nn.Linear(2, d_model)
        self.norm = nn.BatchNorm1d(d_model)
        self.layer = layer(d_model, d_state, **options)
        self.head = nn.Linear(d_model, 1)

    def forward(self, x):
        x = self.norm(self.encoder(x).mT).mT
        return self.head(x + torch.tanh(self.layer(x)))


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(0)


def ema(model):
    return AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.9))


def train(model, optimizer, steps, *, after=lambda: None):
    for _ in range(steps):
        loss = (model(torch.randn(8, 30, 2).cumsum(1) / 5) - 1).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        after()


def disturbed(layer, by=0.02):
    """Return a copy with other parameters, as an average of many steps has."""
    twin = copy.deepcopy(layer)
    with torch.no_grad():
        for parameter in twin.parameters():
            parameter += by * torch.randn_like(parameter)
    return twin


def cut_both(layer, follower, x, slots, method):
    surgery = propose(layer, x, method, slots).surgery
    operate([(layer, surgery), (follower, follow(surgery, follower))], None)


def distance(a, b, x):
    with torch.no_grad():
        return float((a(x) - b(x)).norm() / b(x).norm())


LAYERS = {
    "lru": lambda: LRU(4, 12),
    "lru-both-ways": lambda: LRU(4, 12, bidirectional=True),
    "s5": lambda: S5(4, 12),
    "s5-bilinear": lambda: S5(4, 12, discretization="bilinear"),
    "s4d": lambda: S4D(4, 12),
    "s4d-both-ways": lambda: S4D(4, 12, bidirectional=True),
}


@pytest.mark.parametrize("layer", LAYERS.values(), ids=LAYERS)
def test_at_full_order_an_average_stays_the_map_it_was(layer):
    layer = layer().double()
    follower = disturbed(layer)
    before, x = copy.deepcopy(follower), torch.randn(4, 30, 4, dtype=torch.float64)

    cut_both(layer, follower, x, layer.d_state, WhiteNoise())

    assert distance(follower, before, x) < 1e-6


@pytest.mark.parametrize("layer", LAYERS.values(), ids=LAYERS)
def test_an_average_that_equals_the_model_goes_on_equalling_it(layer):
    layer = layer().double()
    follower, x = copy.deepcopy(layer), torch.randn(4, 30, 4, dtype=torch.float64)

    cut_both(layer, follower, x, 5, Activations())

    assert distance(follower, layer, x) < 1e-6
    assert follower.d_state == layer.d_state


@pytest.mark.parametrize("layer", LAYERS.values(), ids=LAYERS)
def test_an_average_is_cut_about_as_well_as_by_a_cut_of_its_own(layer):
    layer, x = layer().double(), torch.randn(8, 60, 4, dtype=torch.float64).cumsum(1) / 8
    follower = disturbed(layer, 1e-2)
    uncut, own = copy.deepcopy(follower), copy.deepcopy(follower)
    operate([(own, propose(own, x, Activations(), 4).surgery)], None)

    cut_both(layer, follower, x, 4, Activations())

    assert distance(follower, uncut, x) < 1.25 * distance(own, uncut, x)
    assert distance(follower, uncut, x) < distance(layer, uncut, x)  # beginning anew


def test_averages_begin_anew_when_s4_becomes_another_layer():
    layer, x = S4(4, 12), torch.randn(8, 60, 4)
    follower = disturbed(layer)
    step = follower.log_dt.clone()

    cut_both(layer, follower, x, 4, Activations())

    assert type(follower) is type(layer) is S4D
    assert torch.equal(follower.C, layer.C)
    assert follower.C.data_ptr() != layer.C.data_ptr()
    assert torch.equal(follower.log_dt, step)


def test_selected_states_of_an_average_stay_and_the_others_are_folded():
    layer, x = Mamba(4, 8), torch.randn(4, 30, 4)
    follower = copy.deepcopy(layer)

    cut_both(layer, follower, x, 3, Activations())

    assert follower.d_state == layer.d_state == 3
    assert follower.x_proj.out_features == layer.x_proj.out_features
    assert distance(follower, layer, x) == 0


def test_a_mixed_average_of_mamba2_stays_the_map_it_was_at_full_order():
    layer, x = Mamba2(8, 6, headdim=4, ngroups=2).double(), torch.randn(4, 30, 8, dtype=torch.float64)
    follower = disturbed(layer)
    before = copy.deepcopy(follower)

    cut_both(layer, follower, x, 6, Activations())

    assert follower.mix_B is not None
    assert distance(follower, before, x) < 1e-6


def test_a_state_that_would_grow_gets_the_pole_of_the_layer():
    layer, x = S5(2, 6).double(), torch.randn(4, 20, 2, dtype=torch.float64)
    follower = copy.deepcopy(layer)
    with torch.no_grad():
        follower.Lambda_re += 60  # averages of logarithms cannot grow; these can

    cut_both(layer, follower, x, 3, WhiteNoise())

    assert follower.system().A.eigenvalues.abs().max() < 1


@pytest.mark.parametrize("layer", [LRU, S5, S4D, S4, Mamba, Mamba2])
def test_averages_of_pytorch_and_plain_copies_follow_a_run(layer):
    options = {"headdim": 4} if layer is Mamba2 else {}
    model = Model(layer, **options)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    average, copied = ema(model), copy.deepcopy(model)
    reducer = InTrainingReducer(model, optimizer, At(3, 5), Order(10), limits=FREE, followers=[average, copied])
    norm = copy.deepcopy(copied.norm.state_dict())

    train(model, optimizer, 8, after=lambda: (reducer.step(), average.update_parameters(model)))

    x = torch.randn(4, 30, 2)
    assert any(cut.status == "cut" for cut in reducer.ledger)
    for follower in (average.module, copied):
        assert follower.layer.d_state == model.layer.d_state
        assert follower.eval()(x).isfinite().all()
        assert [p.shape for p in follower.parameters()] == [p.shape for p in model.parameters()]
    assert all(torch.equal(value, copied.norm.state_dict()[name]) for name, value in norm.items())
    update_bn([x], average)


def test_an_average_is_better_moved_along_than_begun_anew():
    model = Model(LRU, d_state=24).double()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    average = ema(model)
    reducer = InTrainingReducer(model, optimizer, At(40), Order(40), limits=FREE, followers=[average])
    torch.set_default_dtype(torch.float64)
    try:
        train(model, optimizer, 39, after=lambda: (average.update_parameters(model), reducer.step()))
        uncut, x = copy.deepcopy(average.module).eval(), torch.randn(16, 30, 2).cumsum(1) / 5
        anew = ema(model)
        train(model, optimizer, 1, after=reducer.step)
    finally:
        torch.set_default_dtype(torch.float32)

    assert reducer.ledger[0].status == "cut"
    assert distance(average.module.eval(), uncut, x) < distance(anew.module.eval(), uncut, x)


def test_a_refused_cut_leaves_the_followers_alone():
    model = Model(LRU)
    optimizer, average = torch.optim.Adam(model.parameters()), ema(model)
    limits = Limits(output_error=math.inf, condition=math.inf, loss_increase=1e-9)
    reducer = InTrainingReducer(model, optimizer, At(2), Order(4), limits=limits, followers=[average])
    losses = iter([1.0, 2.0])
    before = copy.deepcopy(average.state_dict())

    train(model, optimizer, 2, after=lambda: reducer.step(lambda: next(losses)))

    assert [cut.status for cut in reducer.ledger] == ["refused"]
    assert all(torch.equal(value, average.state_dict()[name]) for name, value in before.items())


def test_a_follower_that_is_no_copy_is_refused():
    model = Model(LRU)
    reducer = lambda follower: InTrainingReducer(model, None, At(1), Order(4), followers=[follower])  # noqa: E731

    for follower in (nn.Linear(2, 2), Model(LRU, d_state=6), model):
        with pytest.raises(OptionError, match="wanted a copy of the model"):
            reducer(follower)


def test_a_follower_made_after_the_reducer_does_not_give_evidence():
    model = Model(LRU)
    optimizer = torch.optim.Adam(model.parameters())
    reducer = InTrainingReducer(model, optimizer, At(1), Order(4), limits=FREE)
    copied = copy.deepcopy(model)

    copied(torch.full((2, 5, 2), math.nan))
    train(model, optimizer, 1, after=reducer.step)

    assert reducer.ledger[0].status == "cut"
