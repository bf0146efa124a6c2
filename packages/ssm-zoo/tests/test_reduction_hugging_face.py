"""Mixers of Transformers are cut by the same arithmetic, and what comes of it is a checkpoint of Transformers."""

import copy
import math

import numpy as np
import pytest
import torch
from torch import nn

from ssm_balance import Budget, Order
from ssm_zoo import UnsupportedError
from ssm_zoo.layers import Mamba, Mamba2
from ssm_zoo.reduction import (
    Activations,
    Adjoints,
    At,
    Evidence,
    InTrainingReducer,
    Limits,
    Magnitude,
    OutputEnergy,
    Random,
    Uniform,
    adapter_for,
    follow_state_size,
    is_reducible,
    propose,
)
from ssm_zoo.reduction.selection import orders
from ssm_zoo.reduction.surgery import operate

transformers = pytest.importorskip("transformers")

FREE = Limits(output_error=math.inf)
SIZES = {"vocab_size": 20, "hidden_size": 8, "state_size": 8, "num_hidden_layers": 2, "pad_token_id": 0}
KINDS = {
    "mamba": lambda **more: transformers.MambaForCausalLM(transformers.MambaConfig(**SIZES, **more)),
    "mamba2": lambda **more: transformers.Mamba2ForCausalLM(
        transformers.Mamba2Config(**SIZES, num_heads=4, head_dim=4, n_groups=2, chunk_size=8, **more)
    ),
}


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(0)


@pytest.fixture(params=KINDS)
def kind(request):
    return request.param


@pytest.fixture
def model(kind):
    return KINDS[kind]()


@pytest.fixture
def ids():
    return torch.randint(1, 20, (6, 18))


@pytest.fixture
def evidence():
    return Evidence(torch.randn(8, 30, 8).cumsum(1) / 5, torch.randn(8, 30, 8) / 100)


def mixer_of(model):
    return model.backbone.layers[0].mixer


def ours(mixer):
    """Return the layer of this package with the values of a mixer."""
    if type(mixer).__name__ == "MambaMixer":
        layer = Mamba(8, mixer.ssm_state_size, dt_rank=mixer.time_step_rank)
    else:
        layer = Mamba2(8, mixer.ssm_state_size, headdim=4, ngroups=2)
    layer.load_state_dict(mixer.state_dict())
    return layer


def trained(model, ids, selection, *, steps=4, mask=None, **options):
    """Train for a few steps with a cut in the third, and return the optimiser and the reducer."""
    model.train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    reducer = InTrainingReducer(model, optimizer, At(3), selection, **{"limits": FREE} | options)
    for _ in range(steps):
        loss = model(ids, labels=ids, attention_mask=torch.ones_like(ids) if mask is None else mask).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        reducer.step()
    return optimizer, reducer


# What is known of a mixer


def test_mixers_are_known_and_nothing_else(model):
    found = [type(module).__name__ for module in model.modules() if is_reducible(module)]

    assert found == [type(mixer_of(model)).__name__] * 2


def test_moments_are_those_of_our_layer(model, evidence):
    mixer = mixer_of(model)
    theirs, same = adapter_for(mixer), adapter_for(ours(mixer))

    for name in ("state_moments", "adjoint_moments", "output_moments"):
        np.testing.assert_allclose(getattr(theirs, name)(evidence), getattr(same, name)(evidence), rtol=1e-5)
    np.testing.assert_allclose(theirs.gains(), same.gains(), rtol=1e-6)


@pytest.mark.parametrize("padding", ["right", "left"])
def test_what_a_mask_hides_counts_for_nothing(padding, model, evidence):
    extra, real = torch.full((8, 5, 8), 3.0), torch.ones(8, 30)
    order = slice(None, None, 1 if padding == "right" else -1)
    padded = Evidence(
        torch.cat([evidence.inputs, extra][order], 1),
        torch.cat([evidence.gradients, 0 * extra][order], 1),
        {"attention_mask": torch.cat([real, torch.zeros(8, 5)][order], 1)},
    )
    adapter = adapter_for(mixer_of(model))

    for name in ("state_moments", "adjoint_moments", "output_moments"):
        found, wanted = getattr(adapter, name)(padded), getattr(adapter, name)(evidence)
        np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-6 * np.abs(wanted).max())


def test_an_activation_that_we_have_not_is_refused(kind):
    with pytest.raises(UnsupportedError, match="gelu"):
        adapter_for(mixer_of(KINDS[kind](hidden_act="gelu")))


# Cuts


@pytest.mark.parametrize("method", [Activations(), Adjoints(), OutputEnergy(), Magnitude(), Random()], ids=str)
def test_the_cut_mixer_is_our_cut_layer(method, model, evidence):
    mixer = mixer_of(model)
    layer = ours(mixer)

    proposal = propose(mixer, evidence, method, 3)
    undo = operate([(mixer, proposal.surgery)], None)

    cut = ours(mixer)
    assert mixer.ssm_state_size == cut.d_state == proposal.slots == 3
    torch.testing.assert_close(mixer(evidence.inputs), cut(evidence.inputs), rtol=1e-4, atol=1e-6)
    undo()
    assert all(torch.equal(value, layer.state_dict()[name]) for name, value in mixer.state_dict().items())
    assert mixer.ssm_state_size == 8


def test_at_full_order_the_map_stays(model, evidence):
    mixer = mixer_of(model)
    wanted = mixer(evidence.inputs).detach()

    proposal = propose(mixer, evidence, Activations(), 8)
    operate([(mixer, proposal.surgery)], None)

    assert float((mixer(evidence.inputs).detach() - wanted).norm() / wanted.norm()) < 1e-5


def test_the_error_falls_with_the_order(model, evidence):
    mixer = mixer_of(model)

    errors = [propose(mixer, evidence, Activations(), r).certificate.output_error for r in (2, 6, 8)]

    assert errors == sorted(errors, reverse=True)


# While training


@pytest.mark.parametrize("balance", ["activations", "adjoints"])
def test_a_reduced_checkpoint_loads_with_the_same_logits(balance, model, ids, tmp_path):
    optimizer, reducer = trained(model, ids, Uniform(Order(5)), balance=balance)
    size = follow_state_size(model)
    model.eval()

    model.save_pretrained(tmp_path)
    loaded = type(model).from_pretrained(tmp_path).eval()

    assert [cut.status for cut in reducer.ledger] == ["cut", "cut"]
    assert size == model.config.state_size == loaded.config.state_size == 5
    assert torch.equal(loaded(ids).logits, model(ids).logits)
    assert all(optimizer.state[p]["exp_avg"].shape == p.shape for p in model.parameters())


def test_a_reduced_model_generates(model, ids):
    trained(model, ids, Uniform(Order(5)))
    follow_state_size(model)
    model.eval()
    options = {"attention_mask": torch.ones_like(ids), "max_new_tokens": 4, "do_sample": False, "pad_token_id": 0}

    tokens = model.generate(ids, **options, eos_token_id=None)

    step_by_step = ids
    for _ in range(4):
        step_by_step = torch.cat([step_by_step, model(step_by_step).logits[:, -1:].argmax(-1)], 1)
    assert torch.equal(tokens, step_by_step)


def test_masks_reach_the_reducer(model, ids):
    mask = torch.ones_like(ids)
    mask[:, 12:] = 0
    other = ids.clone()
    other[:, 12:] = 1
    spectra = []

    for tokens in (ids, other):
        twin = copy.deepcopy(model)
        labels_free = nn.CrossEntropyLoss()
        reducer = InTrainingReducer(twin.train(), None, At(1), Order(5), limits=FREE)
        labels_free(
            twin(tokens, attention_mask=mask).logits[:, :11].flatten(0, 1), tokens[:, 1:12].flatten()
        ).backward()
        spectra.append([cut.hsv for cut in reducer.step()])

    np.testing.assert_allclose(spectra[0], spectra[1], rtol=1e-4)


# One size for all


def test_uniform_gives_every_layer_the_largest_order():
    values = [np.array([8.0, 4.0, 2.0, 1.0]), np.array([3.0, 0.1, 0.0, 0.0]), np.array([1.0, 1.0])]
    seen = [Evidence(torch.randn(2, 5, 3))] * 3

    assert orders(Budget(total=5), values, seen) == (3, 1, 1)
    assert orders(Uniform(Budget(total=5)), values, seen) == (3, 3, 2)


def test_mixers_of_different_sizes_fit_no_configuration(model, evidence):
    operate([(mixer_of(model), propose(mixer_of(model), evidence, Activations(), 3).surgery)], None)

    with pytest.raises(UnsupportedError, match=r"layers\.0\.mixer: 3.*Uniform"):
        follow_state_size(model)

    assert model.config.state_size == 8
