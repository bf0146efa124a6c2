import copy
import json
import math

import pytest
import torch
from torch import nn

from ssm_balance import Energy, Order
from ssm_zoo import LRU, S5, OptionError, ReductionError, UnsupportedError
from ssm_zoo.reduction import Activations, At, InTrainingReducer, Limits, WhiteNoise, propose

FREE = Limits(output_error=math.inf, condition=math.inf)


class Stack(nn.Module):
    """Two layers with something non-linear around them: enough of a model."""

    def __init__(self, layer, d_model=4, **options):
        super().__init__()
        self.encoder = nn.Linear(1, d_model)
        self.layers = nn.ModuleList(layer(d_model, 24, **options) for _ in range(2))
        self.head = nn.Linear(d_model, 3)

    def forward(self, x):
        x = self.encoder(x)
        for layer in self.layers:
            x = x + torch.tanh(layer(x))
        return self.head(x.mean(1))


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(0)


@pytest.fixture
def batch():
    walk = torch.randn(16, 40, 1).cumsum(1) / 6  # coloured: unlike white noise
    return walk, torch.arange(16) % 3


def training(layer=LRU, optimizer=torch.optim.Adam, schedule=None, selection=None, lr=1e-2, **options):
    model = Stack(layer)
    optimizer = optimizer(model.parameters(), lr=lr)
    reducer = InTrainingReducer(model, optimizer, schedule or At(3), selection or Order(16), **options)
    return model, optimizer, reducer


def train(model, optimizer, reducer, batch, steps, *, with_loss=True):
    x, y = batch
    cuts = []
    for _ in range(steps):
        loss = nn.functional.cross_entropy(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        closure = (lambda: nn.functional.cross_entropy(model(x), y).item()) if with_loss else None
        cuts += reducer.step(closure)
    return cuts


def snapshot(model, optimizer):
    return copy.deepcopy((model.state_dict(), optimizer.state_dict()))


def assert_same(first, second):
    (parameters, state), (other_parameters, other_state) = first, second
    torch.testing.assert_close(parameters, other_parameters, rtol=0, atol=0, equal_nan=True)
    torch.testing.assert_close(state["state"], other_state["state"], rtol=0, atol=0, equal_nan=True)
    assert state["param_groups"] == other_state["param_groups"]


def white(layer, order):
    return propose(layer, torch.randn(8, 40, 4), WhiteNoise(), (order + 1) // 2)


@pytest.mark.parametrize("layer", [LRU, S5])
@pytest.mark.parametrize("balance", ["activations", "white"])
def test_a_cut_makes_every_layer_smaller_and_training_goes_on(layer, balance, batch):
    model, optimizer, reducer = training(layer, balance=balance, limits=FREE)

    cuts = train(model, optimizer, reducer, batch, 6)

    assert [cut.status for cut in cuts] == ["cut", "cut"]
    assert [module.d_state for module in model.layers] == [cut.after for cut in cuts]
    assert all(cut.after <= 8 for cut in cuts)
    assert math.isfinite(nn.functional.cross_entropy(model(batch[0]), batch[1]).item())
    assert {id(p) for group in optimizer.param_groups for p in group["params"]} == {id(p) for p in model.parameters()}


@pytest.mark.parametrize("layer", [LRU, S5])
@pytest.mark.parametrize("bidirectional", [False, True])
def test_at_full_order_the_map_stays(layer, bidirectional):
    module = layer(4, 12, bidirectional=bidirectional)
    proposal = white(module, 24)

    assert proposal.certificate.output_error < 2e-5


@pytest.mark.parametrize("layer", [LRU, S5])
@pytest.mark.parametrize("order", [2, 7, 12, 31])
def test_a_white_cut_keeps_within_its_bound(layer, order):
    evidence = white(layer(4, 24), order).certificate

    assert evidence.hinf_error <= evidence.error_bound * (1 + 1e-6)
    assert evidence.spectral_radius < 1


def test_never_more_slots_than_half_the_order_even_with_real_poles():
    for order in range(2, 20, 3):
        assert white(LRU(4, 24, max_phase=0.1), order).slots <= (order + 1) // 2


@pytest.mark.parametrize("order", [8, 12])
def test_real_poles_cost_a_slot_each_and_hardly_more(order):
    layer = LRU(4, 24, max_phase=1e-6)  # real poles, to rounding

    assert order // 2 - 1 <= white(layer, order).slots <= order // 2


@pytest.mark.parametrize("order", [8, 12, 16])
def test_activations_beat_white_noise_on_coloured_activations(order):
    module = LRU(4, 48)
    inputs = torch.randn(32, 64, 4).cumsum(1) / 8

    errors = {
        name: propose(module, inputs, balancing, order // 2).certificate.output_error
        for name, balancing in {"activations": Activations(), "white": WhiteNoise()}.items()
    }

    assert errors["activations"] < errors["white"] / 2


@pytest.mark.parametrize(
    "optimizer",
    [
        lambda parameters, lr: torch.optim.SGD(parameters, lr, momentum=0.9),
        torch.optim.SGD,
        torch.optim.Adam,
        lambda parameters, lr: torch.optim.AdamW(parameters, lr, amsgrad=True),
        torch.optim.RMSprop,
    ],
    ids=["momentum", "sgd", "adam", "adamw-amsgrad", "rmsprop"],
)
def test_the_optimiser_follows(optimizer, batch):
    model, optimizer, reducer = training(optimizer=optimizer, limits=FREE)

    train(model, optimizer, reducer, batch, 5)

    for parameter in model.parameters():
        for key, value in optimizer.state[parameter].items():
            assert not isinstance(value, torch.Tensor) or key == "step" or value.shape == parameter.shape
    assert len(optimizer.state) <= len(list(model.parameters()))


def test_parameter_groups_and_attributes_stay(batch):
    model = Stack(LRU)
    recurrent = [p for name, p in model.named_parameters() if name.endswith("_log")]
    rest = [p for name, p in model.named_parameters() if not name.endswith("_log")]
    recurrent[0]._optim = {"lr": 1e-4}
    optimizer = torch.optim.AdamW([{"params": recurrent, "lr": 1e-3}, {"params": rest, "lr": 1e-2}])
    reducer = InTrainingReducer(model, optimizer, At(2), Order(16), limits=FREE)

    train(model, optimizer, reducer, batch, 4)

    names = {id(p): name for name, p in model.named_parameters()}
    assert all(names[id(p)].endswith("_log") for p in optimizer.param_groups[0]["params"])
    assert [group["lr"] for group in optimizer.param_groups] == [1e-3, 1e-2]
    assert model.layers[0].nu_log._optim == {"lr": 1e-4}


def test_no_loss_jumps_at_a_cut_that_loses_little(batch):
    model, optimizer, reducer = training(selection=Energy(0.99))

    cuts = train(model, optimizer, reducer, batch, 3)

    assert all(cut.status == "cut" for cut in cuts)
    assert cuts[0].loss_after == pytest.approx(cuts[0].loss_before, abs=2e-3)


def test_an_optimiser_that_cannot_follow_leaves_all_untouched(batch):
    class Strange(torch.optim.SGD):
        def step(self, closure=None):
            for p in self.param_groups[0]["params"]:
                self.state[p]["curvature"] = torch.ones_like(p)
            return super().step(closure)

    model, optimizer, reducer = training(optimizer=Strange, limits=FREE)
    train(model, optimizer, reducer, batch, 2)
    before = snapshot(model, optimizer)

    with pytest.raises(UnsupportedError, match="curvature"):
        train(model, SkipStep(optimizer), reducer, batch, 1)

    assert_same(snapshot(model, optimizer), before)


class SkipStep:
    """An optimiser whose step does nothing, so that only the reducer could change anything."""

    def __init__(self, optimizer):
        self.optimizer = optimizer

    def zero_grad(self):
        self.optimizer.zero_grad()

    def step(self):
        pass


@pytest.mark.parametrize("poison", ["nan", "unstable"])
def test_a_sick_layer_is_named_and_nothing_is_changed(poison, batch):
    model, optimizer, reducer = training(limits=FREE)
    train(model, optimizer, reducer, batch, 2)
    with torch.no_grad():
        if poison == "nan":
            model.layers[1].B_re[0, 0] = math.nan
        else:
            model.layers[1].nu_log[0] = -60.0  # |λ| = exp(-exp(-60)) rounds to 1
    before = snapshot(model, optimizer)

    with pytest.raises(ReductionError, match=r"layers\.1"):
        train(model, SkipStep(optimizer), reducer, batch, 1)

    assert_same(snapshot(model, optimizer), before)


def test_a_cut_that_ruins_the_loss_is_undone(batch):
    model, optimizer, reducer = training(limits=FREE)
    x, _ = batch
    train(model, optimizer, reducer, batch, 2)
    model(x)
    before = snapshot(model, optimizer)
    losses = iter([1.0, math.nan])

    cuts = reducer.step(lambda: next(losses))

    assert [cut.status for cut in cuts] == ["refused", "refused"]
    assert_same(snapshot(model, optimizer), before)


def test_an_error_while_the_ledger_is_written_undoes_the_cut(batch):
    model, optimizer, reducer = training(limits=FREE)
    train(model, optimizer, reducer, batch, 2)
    model(batch[0])
    before = snapshot(model, optimizer)

    with pytest.raises(ZeroDivisionError):
        reducer.step(lambda: 1 / (model.layers[0].d_state - 8))

    assert_same(snapshot(model, optimizer), before)


@pytest.mark.parametrize(
    ("limits", "word"), [(Limits(output_error=1e-9), "output error"), (Limits(condition=1.0), "condition")]
)
def test_what_the_evidence_speaks_against_is_refused_with_it(limits, word, batch):
    model, optimizer, reducer = training(selection=Order(6), limits=limits)

    cuts = train(model, optimizer, reducer, batch, 3)

    assert all(cut.status == "refused" and word in cut.reason for cut in cuts)
    assert [module.d_state for module in model.layers] == [24, 24]


def test_a_cut_that_would_save_little_is_not_made(batch):
    model, optimizer, reducer = training(selection=Order(47))

    cuts = train(model, optimizer, reducer, batch, 3)

    assert [cut.status for cut in cuts] == ["kept", "kept"]


def test_without_a_forward_pass_the_reducer_says_what_it_wants():
    _, _, reducer = training(schedule=At(1))

    with pytest.raises(ReductionError, match="forward pass"):
        reducer.step()


def test_unstable_projections_are_pulled_inside_and_refitted():
    torch.manual_seed(4)
    layer = LRU(4, 48, r_min=0.99, r_max=0.9999)
    inputs = torch.randn(16, 64, 4).cumsum(1) / 8

    found = [propose(layer, inputs, Activations(), slots) for slots in range(2, 20)]

    pulled = [p for p in found if p.certificate.spectral_radius >= 1]
    assert pulled
    assert all(p.certificate.output_error < 0.5 for p in pulled)


def test_a_reducer_goes_on_from_its_state(batch):
    model, optimizer, reducer = training(limits=FREE)
    train(model, optimizer, reducer, batch, 3)
    state = json.loads(json.dumps(reducer.state_dict()))
    other = InTrainingReducer(model, optimizer, At(3, 5), Order(8), limits=FREE)

    other.load_state_dict(state)
    cuts = train(model, optimizer, other, batch, 2)

    assert len(other.ledger) == 4
    assert [cut.step for cut in cuts] == [5, 5]


def test_the_loss_measured_for_the_ledger_draws_no_random_numbers_of_the_run(batch):
    model, optimizer, reducer = training(limits=FREE, schedule=At(1))
    x, y = batch
    nn.functional.cross_entropy(model(x), y).backward()
    optimizer.step()
    state = torch.get_rng_state()

    reducer.step(lambda: float(torch.rand(())))

    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize(
    ("options", "word"), [({"balance": "grey"}, "balance"), ({"max_sequences": 0}, "max_sequences")]
)
def test_bad_options_are_refused(options, word):
    with pytest.raises(OptionError, match=word):
        training(**options)


def test_a_model_without_reducible_layers_is_refused():
    with pytest.raises(OptionError, match="no reducible layer"):
        InTrainingReducer(nn.Linear(2, 2), None, At(1), Order(2))
