"""Every way to weigh states, ours and the rivals', cuts; the budget shares what there is."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from ssm_balance import Budget, Order
from ssm_zoo import LRU, S5, OptionError, ReductionError
from ssm_zoo.reduction import (
    LAST,
    Activations,
    Adjoints,
    AIREPrune,
    At,
    Evidence,
    InTrainingReducer,
    LeadingRemoved,
    Limits,
    LossBudget,
    Magnitude,
    Published,
    Random,
    WhiteNoise,
    adapter_for,
    propose,
)
from ssm_zoo.reduction.selection import orders
from ssm_zoo.reduction.surgery import operate

FREE = Limits(output_error=math.inf, condition=math.inf)
METHODS = [
    WhiteNoise(),
    Activations(),
    Activations(horizon=10),
    Adjoints(),
    LAST(),
    AIREPrune(),
    Magnitude(),
    Random(),
    Published(),
    LeadingRemoved(),
]


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(0)


@pytest.fixture
def layer():
    return LRU(4, 24)


@pytest.fixture
def evidence(layer):
    inputs = torch.randn(16, 60, 4).cumsum(1) / 8  # coloured: unlike white noise
    return Evidence(inputs, torch.randn(16, 60, 4) / 100)


def error_of(method, layer, evidence, slots):
    return propose(layer, evidence, method, slots).certificate.output_error


@pytest.mark.parametrize("method", METHODS, ids=lambda method: str(method).partition("(")[0])
@pytest.mark.parametrize("make", [LRU, S5])
def test_every_method_makes_a_smaller_stable_layer(method, make, evidence):
    layer = make(4, 24)

    proposal = propose(layer, evidence, method, 9)
    operate([(layer, proposal.surgery)], None)

    assert layer.d_state == proposal.slots <= 9
    assert np.abs(layer.system().A.eigenvalues.numpy()).max() < 1
    assert layer(evidence.inputs).isfinite().all()


@pytest.mark.parametrize("method", METHODS, ids=lambda method: str(method).partition("(")[0])
def test_values_descend_and_count_two_states_to_a_slot(method, layer, evidence):
    values = method.plan(adapter_for(layer), evidence).values

    assert values.shape == (48,)
    assert (np.diff(values) <= 0).all()
    assert (values >= 0).all()


def test_what_sees_the_data_beats_what_does_not(layer, evidence):
    errors = {type(method).__name__: error_of(method, layer, evidence, 8) for method in METHODS}

    ours = max(errors["Activations"], errors["Adjoints"])
    assert all(ours < error for name, error in errors.items() if name not in ("Activations", "Adjoints"))


def test_removing_the_leading_states_fails(layer, evidence):
    assert error_of(LeadingRemoved(), layer, evidence, 8) > 10 * error_of(Activations(), layer, evidence, 8)


def test_scores_are_those_of_the_papers():
    layer = LRU(3, 5).double()
    system = layer.system()
    poles, B, C = (matrix.numpy() for matrix in (system.A.eigenvalues, system.B, 2 * system.C))
    adapter, seen = adapter_for(layer), Evidence(torch.randn(2, 10, 3))

    last = LAST().plan(adapter, seen).values[::2]
    aire = AIREPrune().plan(adapter, seen).values[::2]

    peak = [np.linalg.norm(np.outer(C[:, k], B[k]), 2) / (1 - abs(poles[k])) for k in range(5)]
    steps = np.arange(20_000)
    energy = [np.linalg.norm(np.outer(C[:, k], B[k])) ** 2 * (abs(poles[k]) ** (2 * steps)).sum() for k in range(5)]
    np.testing.assert_allclose(last, sorted(peak, reverse=True), rtol=1e-9)
    np.testing.assert_allclose(aire, sorted(energy, reverse=True), rtol=1e-6)


def test_adjoints_are_the_gradients_of_the_states():
    layer = LRU(2, 3).double()
    inputs, gradients = torch.randn(4, 20, 2).double(), torch.randn(4, 20, 2).double()
    poles, B, C = layer._modes(layer)
    drives = (inputs.to(B.dtype) @ B.mT).detach().requires_grad_()
    states, x = [], torch.zeros(4, 3, dtype=B.dtype)
    for drive in drives.unbind(1):
        x = poles * x + drive
        states.append(x)
    ((torch.stack(states, 1) @ C.mT).real * gradients).sum().backward()

    found = adapter_for(layer).adjoint_moments(Evidence(inputs, gradients))

    adjoints = torch.cat([drives.grad.real, drives.grad.imag], -1).flatten(0, 1)
    wanted = adjoints.mT @ adjoints / len(adjoints)
    np.testing.assert_allclose(found, wanted.numpy(), rtol=1e-9, atol=1e-12)


def test_without_a_backward_pass_adjoints_say_what_they_want(layer):
    with pytest.raises(ReductionError, match="backward"):
        propose(layer, torch.randn(4, 20, 4), Adjoints(), 8)


def test_padding_does_not_enter_the_moments(layer):
    inputs, gradients = torch.randn(4, 30, 4), torch.randn(4, 30, 4)
    padded = torch.cat([inputs, torch.full((4, 10, 4), 50.0)], 1)
    behind = torch.cat([gradients, torch.zeros(4, 10, 4)], 1)
    adapter = adapter_for(layer)

    seen = Evidence(padded, behind, {"lengths": torch.full((4,), 30)})

    plain = Evidence(inputs, gradients)
    np.testing.assert_allclose(adapter.state_moments(seen), adapter.state_moments(plain), rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(adapter.adjoint_moments(seen), adapter.adjoint_moments(plain), rtol=1e-4, atol=1e-5)


# How many


def test_a_budget_is_shared_by_what_the_states_are_worth():
    values = [np.array([8.0, 4.0, 2.0, 1.0]), np.array([3.0, 0.1, 0.0, 0.0])]
    seen = [Evidence(torch.randn(2, 5, 3))] * 2

    assert orders(Budget(total=4), values, seen) == (3, 1)
    assert orders(Order(2), values, seen) == (2, 2)


def test_a_loss_budget_gives_more_to_the_layer_whose_errors_cost_more():
    values = [np.array([4.0, 2.0, 1.0, 0.5])] * 2
    inputs = torch.randn(2, 5, 3)
    seen = [Evidence(inputs, 0.01 * torch.ones(2, 5, 3)), Evidence(inputs, torch.ones(2, 5, 3))]

    assert orders(LossBudget(total=6), values, seen) == (2, 4)


def test_more_than_there_is_keeps_everything():
    values = [np.array([4.0, 2.0])] * 2

    assert orders(Budget(total=100), values, [Evidence(torch.randn(1, 2, 3))] * 2) == (2, 2)


class Two(nn.Module):
    def __init__(self, d_state=24):
        super().__init__()
        self.layers = nn.ModuleList(LRU(4, d_state) for _ in range(2))
        self.head = nn.Linear(4, 3)

    def forward(self, x):
        for layer in self.layers:
            x = x + torch.tanh(layer(x))
        return self.head(x.mean(1))


def run(steps, batch, until=lambda _: None, model=None, **options):
    """Train, and return the model, the optimiser and the reducer."""
    torch.manual_seed(1)
    model = model or Two()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    reducer = InTrainingReducer(model, optimizer, **{"limits": FREE} | options)
    for step in range(steps):
        train_step(model, optimizer, reducer, batch)
        until(step)
    return model, optimizer, reducer


def train_step(model, optimizer, reducer, batch):
    x, y = batch
    loss = nn.functional.cross_entropy(model(x), y)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return reducer.step(lambda: nn.functional.cross_entropy(model(x), y).item())


@pytest.fixture
def batch():
    return torch.randn(16, 40, 4).cumsum(1) / 6, torch.arange(16) % 3


@pytest.mark.parametrize("selection", [Budget(total=40), LossBudget(total=40, of=4)], ids=["budget", "loss"])
@pytest.mark.parametrize("balance", ["activations", "adjoints"])
def test_layers_share_a_budget_while_training(selection, balance, batch):
    model, _, reducer = run(4, batch, schedule=At(3), selection=selection, balance=balance)

    assert [cut.status for cut in reducer.ledger] == ["cut", "cut"]
    assert sum(layer.d_state for layer in model.layers) <= 20


# When a thread works it out


def test_a_delayed_cut_is_that_of_the_moment_applied_to_the_parameters_of_its_own(batch):
    model, _, reducer = run(6, batch, schedule=At(2), selection=Order(16), delay=3)

    assert [(cut.step, cut.staleness, cut.status) for cut in reducer.ledger] == [(5, 3, "cut")] * 2
    assert [layer.d_state for layer in model.layers] == [cut.after for cut in reducer.ledger]
    assert all(cut.output_error < 0.3 for cut in reducer.ledger)


def test_training_before_a_delayed_cut_is_as_without_it(batch):
    plain = run(4, batch, schedule=At(100), selection=Order(16))[0].state_dict()

    delayed = run(4, batch, schedule=At(2), selection=Order(16), delay=3)[0].state_dict()

    assert all(torch.equal(plain[name], value) for name, value in delayed.items())


def test_a_run_that_stops_while_the_thread_works_goes_on_to_the_same_bits(batch):
    options = {"schedule": At(2), "selection": Order(16), "delay": 3}
    wanted = run(7, batch, **options)[0].state_dict()
    model, optimizer, reducer = run(3, batch, **options)
    saved = model.state_dict(), optimizer.state_dict(), reducer.state_dict()

    model = Two()
    model.load_state_dict(saved[0])
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    optimizer.load_state_dict(saved[1])
    reducer = InTrainingReducer(model, optimizer, limits=FREE, **options)
    reducer.load_state_dict(saved[2])
    for _ in range(4):
        train_step(model, optimizer, reducer, batch)

    assert all(torch.equal(wanted[name], value) for name, value in model.state_dict().items())


def test_a_sick_layer_is_named_when_its_delayed_cut_falls_due(batch):
    def poison(step):
        if step == 0:
            model.layers[1].B_re.data[0, 0] = torch.nan

    model = Two()

    with pytest.raises(ReductionError, match=r"layers\.0.*NaN"):
        run(5, batch, poison, model, schedule=At(2), selection=Order(16), delay=2)


# What a cut may cost


def test_a_rise_of_the_loss_beyond_the_limit_puts_everything_back(batch):
    limits = Limits(output_error=math.inf, condition=math.inf, loss_increase=1e-9)

    model, _, reducer = run(4, batch, schedule=At(3), selection=Order(2), limits=limits, balance=LeadingRemoved())

    rises = [cut for cut in reducer.ledger if "rose" in cut.reason or cut.status == "cut"]
    assert rises
    assert all(layer.d_state == 24 for layer in model.layers) or reducer.ledger[0].status == "cut"


def test_errors_of_repeated_cuts_add_up(batch):
    limits = Limits(output_error=math.inf, condition=math.inf, total_output_error=0.02)

    _, _, reducer = run(8, batch, schedule=At(2, 4, 6, 8), selection=_Fewer(), limits=limits)

    for name in ("layers.0", "layers.1"):
        made = [cut.output_error for cut in reducer.ledger if cut.layer == name and cut.status == "cut"]
        assert sum(made) <= 0.02
    assert any("add up" in cut.reason for cut in reducer.ledger)


class _Fewer:
    """Keep two thirds."""

    def select(self, hsv):
        return max(2, len(hsv) * 2 // 3)


@pytest.mark.parametrize(("options", "word"), [({"delay": -1}, "delay"), ({"balance": "none"}, "balance")])
def test_bad_options_are_named(options, word, batch):
    with pytest.raises(OptionError, match=word):
        run(1, batch, schedule=At(1), selection=Order(4), **options)
