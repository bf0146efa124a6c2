"""Mamba-2 is cut in any coordinates by a mixing, or by a selection that keeps its format."""

import argparse
import copy
import inspect
import math
from functools import partial

import numpy as np
import pytest
import torch
from torch import nn

from ssm_zoo import OptionError, UnsupportedError
from ssm_zoo.checkpoints import as_checkpoint
from ssm_zoo.layers import Mamba2
from ssm_zoo.models import LanguageModel, LanguageModelConfig
from ssm_zoo.reduction import (
    Activations,
    Adjoints,
    At,
    Evidence,
    InTrainingReducer,
    Limits,
    Magnitude,
    Mamba2Adapter,
    OutputEnergy,
    Random,
    adapter_for,
    propose,
)
from ssm_zoo.reduction.adapters.base import output_error
from ssm_zoo.reduction.followers import follow
from ssm_zoo.reduction.surgery import operate
from ssm_zoo.streaming import stepper

FREE = Limits(output_error=math.inf)
METHODS = [Activations(), Adjoints(), OutputEnergy(), Magnitude(), Random()]


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(0)


@pytest.fixture
def layer():
    """Two groups, learned initial states, all biases."""
    layer = Mamba2(6, 8, headdim=3, ngroups=2, bias=True, learnable_init_states=True)
    nn.init.normal_(layer.init_states)
    return layer


@pytest.fixture
def evidence():
    return Evidence(torch.randn(8, 40, 6).cumsum(1) / 5, torch.randn(8, 40, 6) / 100)


def cut(layer, evidence, method, slots, form="mix", optimizer=None):
    proposal = propose(Mamba2Adapter(layer, form), evidence, method, slots)
    return proposal, operate([(layer, proposal.surgery)], optimizer)


def change(before, after):
    return float(((after - before).norm() / before.norm()).detach())


# Forms


@pytest.mark.parametrize("form", ["mix", "keep"])
@pytest.mark.parametrize("method", METHODS, ids=lambda method: type(method).__name__)
def test_at_full_order_the_map_stays(method, form, layer, evidence):
    wanted = layer(evidence.inputs)

    cut(layer, evidence, method, 8, form)

    assert change(wanted, layer(evidence.inputs)) < 3e-6


def test_any_orthogonal_coordinates_make_the_same_map(layer, evidence):
    wanted = layer(evidence.inputs)
    T, _ = torch.linalg.qr(torch.randn(2, 8, 8).double())

    operate([(layer, Mamba2Adapter(layer)._mixing(T.mT, T))], None)

    assert change(wanted, layer(evidence.inputs)) < 3e-6


@pytest.mark.parametrize("form", ["mix", "keep"])
@pytest.mark.parametrize("method", METHODS, ids=lambda method: type(method).__name__)
def test_undo_restores_every_bit(method, form, layer, evidence):
    before, wanted = copy.deepcopy(layer.state_dict()), layer(evidence.inputs)

    proposal, undo = cut(layer, evidence, method, 3, form)
    cut_to = layer.d_state
    undo()

    assert proposal.slots == cut_to == 3
    assert list(layer.state_dict()) == list(before)
    assert all(torch.equal(value, before[name]) for name, value in layer.state_dict().items())
    assert torch.equal(layer(evidence.inputs), wanted)


@pytest.mark.parametrize("form", ["mix", "keep"])
def test_the_error_falls_with_the_order(form, layer, evidence):
    adapter = Mamba2Adapter(layer, form)

    errors = [propose(adapter, evidence, Activations(), r).certificate.output_error for r in (1, 2, 4, 6, 8)]

    assert errors == sorted(errors, reverse=True)


def test_the_format_is_kept_where_it_should_be(layer, evidence):
    before = {name: value.shape for name, value in layer.state_dict().items()}

    cut(layer, evidence, Activations(), 3, "keep")

    fresh = Mamba2(6, 3, headdim=3, ngroups=2, bias=True, learnable_init_states=True)
    fresh.load_state_dict(layer.state_dict())
    assert list(layer.state_dict()) == list(before)
    assert torch.equal(fresh(evidence.inputs), layer(evidence.inputs))
    assert (layer.conv1d.in_channels, layer.conv1d.groups) == (layer.conv1d.out_channels,) * 2
    assert layer.in_proj.out_features == len(layer.in_proj.weight)


def test_states_selected_from_a_mixed_layer_take_the_others_in(layer, evidence):
    cut(layer, evidence, Activations(), 6)
    mixed = copy.deepcopy(layer)

    folded = propose(Mamba2Adapter(mixed, "keep"), evidence, Activations(), 4).certificate.output_error
    dropped = propose(Mamba2Adapter(mixed, "keep"), evidence, Random(), 4).certificate.output_error

    assert folded < dropped / 2
    assert mixed.d_unmixed == 8


def test_an_unknown_form_is_named(layer):
    with pytest.raises(OptionError, match="fold"):
        Mamba2Adapter(layer, "fold")


def test_moments_are_those_of_the_states_of_every_group(layer, evidence):
    state, states = layer.init_state(8), []
    for x_t in evidence.inputs.unbind(1):
        _, state = layer.step(x_t, state)
        states.append(state.ssm.detach().double())
    groups = torch.stack(states).unflatten(2, (2, -1)).permute(2, 0, 1, 3, 4, 5).flatten(1, -2)

    found = adapter_for(layer).state_moments(evidence)

    np.testing.assert_allclose(found, (groups.mT @ groups / groups.shape[1]).numpy(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("padding", ["right", "left"])
def test_padding_counts_for_nothing(padding, layer, evidence):
    extra = torch.full((8, 7, 6), 50.0)
    parts = [evidence.inputs, extra] if padding == "right" else [extra, evidence.inputs]
    padded = Evidence(torch.cat(parts, 1), None, {"lengths": torch.full((8,), 40), "padding": padding})
    adapter = adapter_for(layer)

    for moments in (adapter.state_moments, adapter.output_moments):
        np.testing.assert_allclose(moments(padded), moments(evidence), rtol=1e-5, atol=1e-6)


# A mixed layer is a layer like any other


@pytest.fixture
def mixed(layer, evidence):
    cut(layer, evidence, Activations(), 3)
    return layer


def test_a_mixed_layer_steps_as_it_runs(mixed, evidence):
    wanted, last = mixed(evidence.inputs, return_state=True)

    with torch.no_grad():
        state, frozen = mixed.init_state(8), stepper(mixed, 8)
        y = []
        for x_t in evidence.inputs.unbind(1):
            y_t, state = mixed.step(x_t, state)
            y.append(y_t)
        frozen_y = np.stack([frozen.step(x_t.numpy()).copy() for x_t in evidence.inputs.unbind(1)], 1)

    torch.testing.assert_close(torch.stack(y, 1), wanted, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(frozen_y, wanted.detach().numpy(), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(state.ssm, last.ssm, rtol=1e-4, atol=1e-5)
    assert state.ssm.shape[-1] == 3


def test_a_layer_without_mixing_has_no_more_in_its_state_dict():
    assert not [name for name in Mamba2(4, 4, headdim=4).state_dict() if "mix" in name]


def test_mixings_are_cut_again(mixed, evidence):
    wanted = mixed(evidence.inputs)

    proposal, _ = cut(mixed, evidence, Adjoints(), 2)

    assert (mixed.d_state, mixed.d_unmixed) == (2, 8)
    assert change(wanted, mixed(evidence.inputs)) < 10 * proposal.certificate.output_error + 1e-3


# While training


def trained(form="mix", cuts=(3,), steps=5):
    """Train a model on nothing in particular and return it, its optimiser and its reducer."""
    torch.manual_seed(1)
    model = LanguageModel(
        LanguageModelConfig(vocab_size=8, layer="mamba2", d_model=8, d_state=8, options={"mamba2": {"headdim": 4}})
    )
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    reducer = InTrainingReducer(
        model, optimizer, At(*cuts), _Half(), limits=FREE, balance="adjoints", adapter=partial(Mamba2Adapter, form=form)
    )
    ids = torch.randint(8, (8, 20))
    for _ in range(steps):
        loss = nn.functional.cross_entropy(model(ids)[:, :-1].flatten(0, 1), ids[:, 1:].flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        reducer.step()
    return model, optimizer, reducer, ids


class _Half:
    """Keep every other."""

    def select(self, hsv):
        return len(hsv) // 2


@pytest.mark.parametrize("form", ["mix", "keep"])
def test_the_optimiser_holds_the_parameters_in_the_order_of_a_fresh_one(form):
    model, optimizer, reducer, _ = trained(form)

    fresh = torch.optim.AdamW(LanguageModel(model.config).parameters())
    held = [p for group in optimizer.param_groups for p in group["params"]]
    assert [cut.status for cut in reducer.ledger] == ["cut", "cut"]
    assert [id(p) for p in held] == [id(p) for p in model.parameters()]
    assert [p.shape for p in held] == [p.shape for group in fresh.param_groups for p in group["params"]]
    assert all(optimizer.state[p]["exp_avg"].shape == p.shape for p in held)


def test_a_run_with_mixings_is_resumed_to_the_same_bits():
    model, optimizer, _, ids = trained()
    twin = LanguageModel(model.config)
    twin.load_state_dict(model.state_dict())
    resumed = torch.optim.AdamW(twin.parameters(), lr=1e-3)
    resumed.load_state_dict(copy.deepcopy(optimizer.state_dict()))  # loaded moments are those that were saved

    for one, optim in ((model, optimizer), (twin, resumed)):
        for _ in range(2):
            loss = nn.functional.cross_entropy(one(ids)[:, :-1].flatten(0, 1), ids[:, 1:].flatten())
            optim.zero_grad()
            loss.backward()
            optim.step()

    assert all(torch.equal(value, twin.state_dict()[name]) for name, value in model.state_dict().items())


def test_first_moments_of_mixings_move_as_gradients_do(mixed, evidence):
    adapter = Mamba2Adapter(mixed)
    T = torch.linalg.qr(torch.randn(2, 3, 3).double())[0] * torch.tensor([1.0, 2.0, 3.0])
    old = dict(zip(("mix_B", "mix_C", "init_states"), gradients(mixed, evidence), strict=True))

    surgery = adapter._mixing(torch.linalg.inv(T), T)
    operate([(mixed, surgery)], None)

    for name, new in zip(old, gradients(mixed, evidence), strict=True):
        torch.testing.assert_close(surgery.moments[name](old, 1), new, rtol=1e-3, atol=1e-5)


def gradients(layer, evidence):
    wanted = [layer.mix_B, layer.mix_C, layer.init_states]
    return torch.autograd.grad((layer(evidence.inputs) * evidence.gradients * 100).sum(), wanted)


def test_moments_of_kept_rows_are_those_they_had(layer, evidence):
    optimizer = torch.optim.Adam(layer.parameters())
    layer(evidence.inputs).square().mean().backward()
    optimizer.step()
    before = optimizer.state[layer.in_proj.weight]["exp_avg"]
    kept_before = {tuple(row.tolist()) for row in before}

    cut(layer, evidence, Activations(), 3, "keep", optimizer)

    after = optimizer.state[layer.in_proj.weight]["exp_avg"]
    assert after.shape == layer.in_proj.weight.shape
    assert {tuple(row.tolist()) for row in after} <= kept_before


@pytest.mark.parametrize("form", ["mix", "keep"])
@pytest.mark.parametrize("slots", [8, 3])
def test_a_running_average_is_cut_in_the_same_coordinates(slots, form, layer, evidence):
    averaged = copy.deepcopy(layer)
    for parameter in averaged.parameters():
        parameter.data *= 0.99
    wanted = averaged(evidence.inputs)

    surgery = propose(Mamba2Adapter(layer, form), evidence, Activations(), slots).surgery
    operate([(averaged, follow(surgery, averaged))], None)

    assert change(wanted, averaged(evidence.inputs)) < (3e-6 if slots == 8 else 0.5)
    assert averaged.d_state == slots


# Models


def test_a_mixed_model_is_saved_and_loaded(tmp_path):
    model, _, _, ids = trained()
    model.eval()

    model.save_pretrained(tmp_path)
    loaded = LanguageModel.from_pretrained(tmp_path)

    assert model.config.d_unmixed == (8, 8)
    assert model.config.d_state == (4, 4)
    assert loaded.config == model.config
    assert torch.equal(loaded(ids), model(ids))
    assert torch.equal(loaded.generate(ids, 5, greedy=True), model.generate(ids, 5, greedy=True))


def test_formats_of_others_have_no_place_for_a_mixing():
    mixed, kept = trained()[0], trained("keep")[0]

    with pytest.raises(UnsupportedError, match="keep"):
        as_checkpoint(mixed, "hf")

    assert as_checkpoint(kept, "hf")


# What it is for


@pytest.fixture(scope="module")
def learned():
    """A model that has learned a little of what comes next in a text."""
    torch.manual_seed(0)
    config = LanguageModelConfig(
        vocab_size=128, layer="mamba2", d_model=24, d_state=16, n_layers=1, options={"mamba2": {"headdim": 8}}
    )
    model = LanguageModel(config)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    for _ in range(60):
        ids = texts(12)
        loss = nn.functional.cross_entropy(model(ids)[:, :-1].flatten(0, 1), ids[:, 1:].flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return model


def texts(count, length=48):
    """Return pieces of a file of the standard library."""
    data = torch.tensor(list(inspect.getsource(argparse).encode())) % 128
    return torch.stack([data[i : i + length] for i in torch.randint(len(data) - length, (count,))])


def test_mixing_beats_selecting_beats_chance(learned):
    layer, (seen, fresh) = (
        learned.blocks[0].layer,
        learned.blocks[0].norm(learned.embedding(texts(64))).detach().chunk(2),
    )
    options = {"mix": ("mix", Activations()), "keep": ("keep", Activations()), "chance": ("keep", Random())}

    errors = {}
    for name, (form, method) in options.items():
        smaller = copy.deepcopy(layer)
        cut(smaller, Evidence(seen), method, 8, form)
        errors[name] = change(layer(fresh), smaller(fresh))

    assert errors["mix"] < errors["keep"] < errors["chance"]


def test_a_refit_brings_a_selection_closer(learned):
    layer = learned.blocks[0].layer
    seen = Evidence(learned.blocks[0].norm(learned.embedding(texts(32))).detach())

    plain, refitted = (propose(Mamba2Adapter(layer, "keep", steps), seen, Activations(), 8) for steps in (0, 50))

    assert refitted.certificate.output_error < 0.95 * plain.certificate.output_error


@pytest.mark.parametrize("conv_bias", [True, False])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("ngroups", [1, 2])
def test_a_refit_is_taken_where_it_helps_and_changes_rows_of_C_only(bias, conv_bias, ngroups, evidence):
    layer = Mamba2(6, 8, headdim=3, ngroups=ngroups, bias=bias, conv_bias=conv_bias)
    before = copy.deepcopy(layer.state_dict())

    adapters = [Mamba2Adapter(layer, "keep", refit) for refit in (0, 50)]
    plan = Activations().plan(adapters[0], evidence)
    plain, refitted = (adapter.surgery(plan, 4, evidence)[1] for adapter in adapters)

    assert output_error(adapters[0], refitted, evidence) <= output_error(adapters[0], plain, evidence)
    assert all(torch.equal(value, before[name]) for name, value in layer.state_dict().items())
    others = len(before["in_proj.weight"]) - layer.nheads - 2 * ngroups * 8
    old, new = (one.parameters["in_proj.weight"] for one in (plain, refitted))
    assert torch.equal(old[: others + 4 * ngroups], new[: others + 4 * ngroups])
    assert torch.equal(old[-layer.nheads :], new[-layer.nheads :])
