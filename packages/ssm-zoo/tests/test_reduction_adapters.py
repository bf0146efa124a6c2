"""Every kind of layer is cut by its adapter: what is kept is right, what an optimiser holds follows."""

import copy
import math

import numpy as np
import pytest
import torch
from torch import nn

from ssm_balance import Order
from ssm_zoo import UnsupportedError
from ssm_zoo.layers import LRU, S4, S4D, S5, Mamba, gather_moments
from ssm_zoo.reduction import (
    LAST,
    Activations,
    Adjoints,
    AIREPrune,
    At,
    Evidence,
    InTrainingReducer,
    Limits,
    Magnitude,
    OutputEnergy,
    Random,
    WhiteNoise,
    adapter_for,
    propose,
    register_adapter,
)
from ssm_zoo.reduction.adapters import registry
from ssm_zoo.reduction.adapters.diagonal import DiagonalAdapter
from ssm_zoo.reduction.selected import Selected
from ssm_zoo.reduction.surgery import operate

FREE = Limits(output_error=math.inf, condition=math.inf)
LAYERS = {
    "lru": lambda: LRU(4, 16),
    "s5": lambda: S5(4, 16),
    "s4d": lambda: S4D(4, 16),
    "s4": lambda: S4(4, 8),
    "mamba": lambda: Mamba(4, 16),
}
LTI = ("lru", "s5", "s4d", "s4")


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(0)


@pytest.fixture(params=LAYERS)
def kind(request):
    return request.param


@pytest.fixture
def evidence():
    inputs = torch.randn(16, 60, 4).cumsum(1) / 8
    return Evidence(inputs, torch.randn(16, 60, 4) / 100)


def methods_of(kind):
    ours = [Activations(), Adjoints()] + ([WhiteNoise()] if kind in LTI else [])
    if kind == "s4":
        return ours
    return ours + [Magnitude(), Random(), OutputEnergy()] + ([LAST(), AIREPrune()] if kind in LTI else [])


def test_every_method_cuts_every_kind_of_layer(kind, evidence):
    for method in methods_of(kind):
        layer = LAYERS[kind]()
        full = layer.d_state
        wanted = layer(evidence.inputs)

        proposal = propose(layer, evidence, method, full // 2)
        undo = operate([(layer, proposal.surgery)], None)
        y = layer(evidence.inputs)
        undo()

        assert proposal.slots <= full // 2
        assert y.isfinite().all()
        torch.testing.assert_close(layer(evidence.inputs), wanted, rtol=0, atol=0)
        assert layer.d_state == full


@pytest.mark.parametrize("kind", [kind for kind in LAYERS if kind != "s4"])  # HiPPO has no diagonal form of full order
def test_at_full_order_balanced_cuts_keep_the_map(kind, evidence):
    layer = LAYERS[kind]()
    wanted = layer(evidence.inputs)

    proposal = propose(layer, evidence, Activations(), layer.d_state)
    operate([(layer, proposal.surgery)], None)

    error = torch.linalg.vector_norm(layer(evidence.inputs) - wanted) / torch.linalg.vector_norm(wanted)
    assert error < 2e-3


def test_the_error_grows_as_the_layer_shrinks(kind, evidence):
    layer = LAYERS[kind]()
    sizes = [layer.d_state // 8, layer.d_state // 4, layer.d_state // 2]

    errors = [propose(layer, evidence, Activations(), size).certificate.output_error for size in sizes]

    assert errors[0] >= errors[1] >= errors[2] - 1e-3


def test_a_cut_layer_trains_on_with_its_optimiser(kind):
    model = nn.ModuleDict({"layer": LAYERS[kind](), "head": nn.Linear(4, 3)})
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    reducer = InTrainingReducer(model, optimizer, At(3), _Half(), limits=FREE, balance="adjoints")
    x, labels = torch.randn(8, 30, 4), torch.arange(8) % 3

    for _ in range(6):
        loss = nn.functional.cross_entropy(model["head"](model["layer"](x).mean(1)), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        reducer.step()

    (cut,) = reducer.ledger
    assert cut.status == "cut"
    assert model["layer"].d_state == cut.after < cut.before
    held = {id(p) for group in optimizer.param_groups for p in group["params"]}
    assert held == {id(p) for p in model.parameters()} == {id(p) for p in optimizer.state}
    for parameter in model.parameters():
        assert optimizer.state[parameter]["exp_avg"].shape == parameter.shape


class _Half:
    def select(self, hsv):
        return len(hsv) // 2


def test_a_selective_layer_says_that_white_noise_means_nothing_to_it(evidence):
    for method in (WhiteNoise(), LAST(), AIREPrune()):
        with pytest.raises(UnsupportedError, match="selective"):
            propose(Mamba(4, 8), evidence, method, 4)


# S4


def test_s4_becomes_diagonal_and_can_be_cut_again(evidence):
    layer = S4(4, 8)
    names = set(dict(layer.named_parameters()))

    operate([(layer, propose(layer, evidence, WhiteNoise(), 5).surgery)], None)
    again = propose(layer, evidence, WhiteNoise(), 2)

    assert isinstance(layer, S4D)
    assert names - set(dict(layer.named_parameters())) == {"B", "P"}
    assert again.slots <= 2
    twin = S4D(4, layer.d_state, discretization="bilinear")
    twin.load_state_dict(layer.state_dict())
    torch.testing.assert_close(twin(evidence.inputs), layer(evidence.inputs))


def test_a_cut_of_s4_can_be_undone(evidence):
    layer = S4(4, 8)
    optimizer = torch.optim.Adam(layer.parameters())
    layer(evidence.inputs).square().mean().backward()
    optimizer.step()
    before = copy.deepcopy((layer.state_dict(), optimizer.state_dict()))

    operate([(layer, propose(layer, evidence, WhiteNoise(), 4).surgery)], optimizer)()

    assert type(layer) is S4
    assert all(torch.equal(value, before[0][name]) for name, value in layer.state_dict().items())
    torch.testing.assert_close(optimizer.state_dict()["state"], before[1]["state"], rtol=0, atol=0)


# S4D


def test_features_of_s4d_are_balanced_each_for_itself(evidence):
    layer = S4D(4, 16)
    plan = WhiteNoise().plan(adapter_for(layer), evidence)

    system = layer.system()
    for h, one in enumerate(plan.plans):
        poles, C = system.A.eigenvalues[h].numpy(), system.C[h].numpy()
        dense = np.concatenate([poles, poles.conj()])
        B, C = np.ones((32, 1)), np.concatenate([C, C.conj()], 1)
        P = B @ B.conj().T / (1 - np.outer(dense, dense.conj()))
        Q = C.conj().T @ C / (1 - np.outer(dense.conj(), dense))
        exact = np.sort(np.sqrt(np.abs(np.linalg.eigvals(P @ Q))))[::-1]
        np.testing.assert_allclose(one.values[:6], exact[:6], rtol=1e-6)


# Mamba


def test_what_is_dropped_is_folded_into_what_is_kept():
    random = np.random.default_rng(0)
    factor = random.standard_normal((8, 3))
    P = factor @ factor.T  # eight states that only know three directions
    selected = Selected.by_moments(P, np.eye(8))

    M, kept = selected.fold(3), selected.kept(3)

    states = factor @ random.standard_normal((3, 50))
    np.testing.assert_allclose(M @ states[kept], states, atol=1e-9)
    assert (selected.values[3:] < 1e-5 * selected.values[0]).all()


def test_picking_minds_what_an_error_costs():
    P, Q = np.diag([1.0, 2.0, 3.0]), np.diag([9.0, 0.1, 1.0])

    selected = Selected.by_moments(P, Q)

    assert selected.ranking.tolist() == [0, 2, 1]
    np.testing.assert_allclose(selected.values, np.sqrt([9.0, 3.0, 0.2]))


def test_values_tell_the_cost_of_a_cut():
    random = np.random.default_rng(1)
    P, Q = (Z @ Z.T for Z in random.standard_normal((2, 6, 6)))
    selected = Selected.by_moments(P, Q)

    for count in (2, 4, 6):
        kept = selected.kept(count)
        rest = P - P[:, kept] @ np.linalg.solve(P[np.ix_(kept, kept)], P[kept])
        assert np.trace(Q @ rest) == pytest.approx(np.trace(Q @ P) - _saved(P, Q, selected.ranking[:count]), abs=1e-9)


def _saved(P, Q, order):
    total = 0.0
    for j in order:
        total += P[j] @ Q @ P[:, j] / P[j, j]
        P = P - np.outer(P[:, j], P[j]) / P[j, j]
    return total


def test_folding_beats_dropping(evidence):
    layer = Mamba(4, 16)
    adapter = adapter_for(layer)
    selected = Activations().plan(adapter, evidence)

    folded = adapter.propose(selected, 6, evidence).certificate.output_error
    dropped = adapter.propose(Selected(selected.values, selected.ranking), 6, evidence).certificate.output_error

    assert folded < dropped


def test_moments_of_mamba_are_those_of_its_states(evidence):
    layer = Mamba(4, 8).double()
    seen = Evidence(evidence.inputs.double())

    found = adapter_for(layer).state_moments(seen)

    state, total = layer.init_state(16), torch.zeros(8, 8, dtype=torch.float64)
    for x_t in seen.inputs.unbind(1):
        _, state = layer.step(x_t, state)
        total += torch.einsum("bdn,bdm->nm", state.ssm, state.ssm).detach()
    np.testing.assert_allclose(found, (total / (16 * 60 * layer.d_inner)).numpy(), rtol=1e-8)


def test_gathering_leaves_no_trace(evidence):
    layer = Mamba(4, 8)

    adapter_for(layer).adjoint_moments(evidence)

    assert layer.moments is None
    assert all(parameter.grad is None for parameter in layer.parameters())
    with gather_moments(layer) as moments:
        assert moments[""].count == 0


# One's own


def test_a_module_of_ones_own_joins_by_an_adapter(evidence, monkeypatch):
    class Wrapped(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = LRU(4, 16)

        def forward(self, x):
            return self.inner(x)

    class WrappedAdapter(DiagonalAdapter):
        def __init__(self, module):
            super().__init__(module.inner)

    monkeypatch.setattr(registry, "_REGISTERED", list(registry._REGISTERED))
    register_adapter(lambda module: isinstance(module, Wrapped), WrappedAdapter)
    module = Wrapped()

    operate([(module.inner, propose(module, evidence, Activations(), 6).surgery)], None)

    assert module.inner.d_state <= 6


def test_a_module_without_an_adapter_is_named():
    with pytest.raises(UnsupportedError, match="Linear"):
        adapter_for(nn.Linear(2, 2))


# What becomes of an optimiser's moments


@pytest.mark.parametrize("moments", ["transport", "mean", "reset", "slice"])
def test_moments_follow_by_every_rule(moments, kind):
    layer = LAYERS[kind]()
    optimizer = torch.optim.Adam(layer.parameters(), lr=1e-3)
    x = torch.randn(8, 30, 4)
    layer(x).square().mean().backward()
    optimizer.step()
    steps = {float(state["step"]) for state in optimizer.state.values()}

    operate([(layer, propose(layer, x, Activations(), layer.d_state // 2).surgery)], optimizer, moments)

    for parameter in layer.parameters():
        state = optimizer.state[parameter] if parameter in optimizer.state else {"step": torch.tensor(1.0)}
        assert float(state["step"]) in steps
        for key in ("exp_avg", "exp_avg_sq"):
            assert key not in state or state[key].shape == parameter.shape
        assert "exp_avg_sq" not in state or (state["exp_avg_sq"] >= 0).all()


def test_an_order_is_that_of_the_layer_s_states():
    layer = Mamba(4, 16)
    reducer = InTrainingReducer(layer, None, At(1), Order(5), limits=FREE)

    layer.train()(torch.randn(4, 20, 4))
    (cut,) = reducer.step()

    assert cut.after == 5
