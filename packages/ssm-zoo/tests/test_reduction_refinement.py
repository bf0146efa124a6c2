"""A refinement lowers the error of a cut on data it has not seen, or it is not there."""

import copy
import math

import pytest
import torch
from torch import nn

import ssm_balance as sb
import ssm_gramians as sg
from ssm_zoo import LRU, S4, S4D, S5, Mamba, Mamba2, OptionError
from ssm_zoo.reduction import Activations, Distillation, H2Polish, InTrainingReducer, Limits, Slots, reduce_model
from ssm_zoo.reduction.adapters import adapter_for
from ssm_zoo.reduction.evidence import Evidence
from ssm_zoo.training import TrainConfig

ANYTHING = Limits(output_error=math.inf, condition=math.inf)
LAYERS = {
    "lru": lambda: LRU(4, 12),
    "s5": lambda: S5(4, 12),
    "s4d": lambda: S4D(4, 12),
    "s4": lambda: S4(4, 12),
    "mamba": lambda: Mamba(4, 12),
    "mamba2": lambda: Mamba2(4, 12, headdim=2),
}


def model_of(kind, seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(LAYERS[kind]())


def batches(count=1, seed=1):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(8, 60, 4, generator=generator).cumsum(1) / 5 for _ in range(count)]


@pytest.mark.parametrize("kind", LAYERS)
def test_distillation_lowers_the_error_on_held_out_sequences_or_does_nothing(kind):
    plain, refined = model_of(kind), model_of(kind)
    options = {"method": "activations", "limits": ANYTHING}

    (cut,) = reduce_model(plain, batches(), Slots(3), **options)
    (better,) = reduce_model(refined, batches(), Slots(3), refinement="distillation", **options)

    assert better.after == cut.after == 3
    if better.unrefined_error is None:
        assert better.output_error == cut.output_error
    else:
        assert better.output_error < better.unrefined_error
        assert better.unrefined_error == pytest.approx(cut.output_error, rel=1e-6)
    for wanted, got in zip(plain.parameters(), refined.parameters(), strict=True):
        assert got.shape == wanted.shape
        assert got.requires_grad == wanted.requires_grad
        assert got.isfinite().all()


def test_distillation_gains_where_the_cut_is_rough():
    cut, better = (
        reduce_model(model_of("lru"), batches(), Slots(3), method="white", refinement=choice, limits=ANYTHING)[0]
        for choice in (None, Distillation(steps=20))
    )

    assert better.output_error < 0.8 * cut.output_error


@pytest.mark.parametrize("kind", ["lru", "s5"])
def test_the_h2_polish_lowers_the_error_to_white_noise(kind):
    plain, refined = model_of(kind), model_of(kind)
    full = adapter_for(plain[0]).system()
    noise = [torch.randn(32, 200, 4, generator=torch.Generator().manual_seed(2))]
    options = {"method": "white", "limits": ANYTHING}

    reduce_model(plain, noise, Slots(2), **options)
    (cut,) = reduce_model(refined, noise, Slots(2), refinement=H2Polish(50), **options)

    before, after = (
        float(sb.h2_norm(sb.difference(full, adapter_for(model[0]).system()).to_dense())) for model in (plain, refined)
    )
    assert cut.unrefined_error is not None
    assert cut.output_error < cut.unrefined_error
    assert after < before


class Spoiling:
    """Makes everything worse."""

    def suits(self, layer):
        return True

    def refine(self, full, reduced, seen):
        with torch.no_grad():
            for parameter in reduced.layer.parameters():
                parameter.mul_(-3)


def test_what_raises_the_error_is_dropped():
    plain, spoiled = model_of("lru"), model_of("lru")

    reduce_model(plain, batches(), Slots(3), limits=ANYTHING)
    (cut,) = reduce_model(spoiled, batches(), Slots(3), refinement=Spoiling(), limits=ANYTHING)

    assert cut.unrefined_error is None
    for wanted, got in zip(plain.parameters(), spoiled.parameters(), strict=True):
        assert torch.equal(got, wanted)


def test_what_is_not_resized_stays_as_it_is():
    model = model_of("lru")
    feedthrough = model[0].D.clone()

    reduce_model(model, batches(), Slots(3), method="white", refinement="distillation", limits=ANYTHING)

    assert torch.equal(model[0].D, feedthrough)


def test_training_goes_on_with_a_refined_layer():
    model = model_of("lru")
    twin = copy.deepcopy(model)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    reducer = InTrainingReducer(
        model, optimizer, [2].__contains__, Slots(3), balance="white", refinement="distillation", limits=ANYTHING
    )
    (inputs,) = batches()

    for _ in range(4):
        loss = (model(inputs) - twin(inputs).detach().roll(1, 0)).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        reducer.step()

    (cut,) = reducer.ledger
    assert cut.output_error < cut.unrefined_error
    assert model[0].d_state == 3
    for parameter in model.parameters():
        assert parameter.isfinite().all()
        assert optimizer.state[parameter]["exp_avg"].shape == parameter.shape


def test_what_does_not_suit_is_named():
    with pytest.raises(OptionError, match="'distillation'"):
        reduce_model(model_of("mamba"), batches(), Slots(3), refinement="h2")
    with pytest.raises(OptionError, match="'polish'"):
        reduce_model(model_of("lru"), batches(), Slots(3), refinement="polish")
    with pytest.raises(OptionError, match="mamba"):
        TrainConfig(layer="mamba", order=4, energy=None, refinement="h2")
    with pytest.raises(OptionError, match="steps=0"):
        H2Polish(steps=0)
    with pytest.raises(OptionError, match="steps=0"):
        Distillation(steps=0)


@pytest.mark.parametrize("kind", ["lru", "s4d"])
def test_an_infinite_horizon_is_the_gramian_of_the_outputs(kind):
    adapter = adapter_for(model_of(kind)[0])
    evidence = Evidence(*batches())
    long, infinite = (Activations(horizon).plan(adapter, evidence).values for horizon in (10_000_000, math.inf))

    assert infinite == pytest.approx(long, rel=1e-4)
    assert sg.observability_gramian(adapter.system()).shape[-1] == adapter.system().order
