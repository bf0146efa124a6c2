"""Reduction after training: what the layers see on batches, and what a cut then costs."""

import copy
import math

import pytest
import torch
from torch import nn

from ssm_balance import Budget, Energy
from ssm_zoo import LRU, OptionError, UnsupportedError
from ssm_zoo.models import ClassifierConfig, LanguageModel, LanguageModelConfig, SequenceClassifier
from ssm_zoo.reduction import Evidence, Limits, LossBudget, Slots, Uniform, adapter_for, inspect_model, reduce_model
from ssm_zoo.reduction.calibration import calibrate
from ssm_zoo.tasks import Split


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(0)


@pytest.fixture
def classifier():
    return SequenceClassifier(ClassifierConfig(d_input=2, n_classes=3, d_model=4, d_state=12, n_layers=2)).eval()


@pytest.fixture
def batches():
    signals = [torch.randn(8, 40, 2).cumsum(1) / 6 for _ in range(2)]
    return [Split(one, torch.randint(3, (8,))) for one in signals]


def language_model(layer, **changes):
    sizes = {"vocab_size": 17, "d_model": 16, "d_state": 12, "n_layers": 2, "options": {}}
    if layer == "mamba2":
        sizes["options"] = {"mamba2": {"headdim": 8}}
    return LanguageModel(LanguageModelConfig(layer=layer, **(sizes | changes))).eval()


def texts(count=2):
    return [Split(torch.randint(17, (6, 20)), torch.randint(17, (6, 20))) for _ in range(count)]


@pytest.mark.parametrize("method", ["activations", "adjoints", "white", "published", "aire"])
def test_a_trained_classifier_shrinks_and_says_what_that_cost(classifier, batches, method):
    cuts = reduce_model(classifier, batches, Slots(7), method=method, limits=Limits(math.inf, condition=math.inf))

    assert [cut.layer for cut in cuts] == ["blocks.0.layer", "blocks.1.layer"]
    assert max(classifier.config.states) <= 7
    assert all(cut.status == "cut" and cut.output_error > 0 for cut in cuts)
    assert all(math.isfinite(cut.loss_before) and math.isfinite(cut.loss_after) for cut in cuts)
    assert not classifier.training


@pytest.mark.parametrize("layer", ["mamba", "mamba2", "lru", "s5"])
@pytest.mark.parametrize("method", ["activations", "adjoints"])
def test_a_language_model_shrinks_to_the_slots_asked_for_whatever_its_layers(layer, method):
    model = language_model(layer)

    reduce_model(model, texts(), Slots(5), method=method, limits=Limits(math.inf, condition=math.inf))

    assert all(1 <= size <= 5 for size in model.config.states)
    if layer.startswith("mamba"):
        assert model.config.states == (5, 5)
    assert model(texts()[0].inputs).isfinite().all()


def test_a_cut_without_loss_of_states_that_matter_changes_nothing(batches):
    model = SequenceClassifier(ClassifierConfig(d_input=2, n_classes=3, d_model=4, d_state=12, n_layers=1)).eval()
    with torch.no_grad():
        model.blocks[0].layer.C_re[:, 5:] = 0
        model.blocks[0].layer.C_im[:, 5:] = 0
    before = model(batches[0].inputs)

    reduce_model(model, batches, Slots(5))

    torch.testing.assert_close(model(batches[0].inputs), before, rtol=1e-3, atol=1e-4)


def test_calibration_leaves_the_model_as_it_was(classifier, batches):
    classifier.train()
    before = copy.deepcopy(classifier.state_dict())
    draws = torch.get_rng_state()

    inspect_model(classifier, batches, method="adjoints")

    after = classifier.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert all(parameter.grad is None for parameter in classifier.parameters())
    assert all(module.training for module in classifier.modules())
    assert torch.equal(draws, torch.get_rng_state())
    assert not any(module._forward_hooks for module in classifier.modules())


def test_batches_of_different_lengths_count_real_steps_only():
    layer = LRU(4, 8)
    long, short = torch.randn(4, 30, 4), torch.randn(4, 20, 4)

    joined = calibrate(layer, {"": layer}, [long, short])[""]

    assert joined.inputs.shape == (8, 30, 4)
    assert joined.lengths.tolist() == [30] * 4 + [20] * 4


@pytest.mark.parametrize("padding", ["left", "right"])
def test_padded_batches_of_different_lengths_are_as_if_they_had_been_padded_together(padding):
    class Padded(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = LRU(3, 6)

        def forward(self, x):
            return self.layer(x, lengths=torch.full((len(x),), 9), padding=padding)

    model = Padded()
    batches = [torch.randn(4, 9, 3), torch.randn(4, 14, 3), torch.randn(4, 11, 3)]
    real = [x[:, -9:] if padding == "left" else x[:, :9] for x in batches]

    evidence = calibrate(model, {"layer": model.layer}, batches)["layer"]

    adapter = adapter_for(model.layer)
    wanted = adapter.state_moments(Evidence(torch.cat(real)))
    assert evidence.inputs.shape == (12, 14, 3)
    torch.testing.assert_close(*map(torch.as_tensor, (adapter.state_moments(evidence), wanted)))


def test_keyword_batches_and_a_loss_of_ones_own_are_understood():
    class Head(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = LRU(4, 8)

        def forward(self, x, gain=1.0):
            return gain * self.layer(x)

    model = Head()
    batch = {"x": torch.randn(8, 20, 4), "gain": 2.0}

    cuts = reduce_model(
        model, [batch], Slots(4), method="adjoints", loss=lambda model, batch: model(**batch).square().mean(),
        limits=Limits(math.inf, condition=math.inf),
    )  # fmt: skip

    assert model.layer.d_state <= 4
    assert cuts[0].loss_before > 0


@pytest.mark.parametrize("layer", ["lru", "s4", "s4d", "mamba2"])
def test_a_reduced_model_saves_and_loads(layer, tmp_path):
    model = language_model(layer)
    (batch,) = texts(1)
    reduce_model(model, [batch], Slots(5), limits=Limits(math.inf, condition=math.inf))

    loaded = LanguageModel.from_pretrained(model.save_pretrained(tmp_path))

    torch.testing.assert_close(loaded(batch.inputs), model(batch.inputs))


@pytest.mark.parametrize("rule", [Budget(20), LossBudget(20)], ids=["budget", "loss-budget"])
def test_a_budget_is_shared_by_all_layers(classifier, batches, rule):
    reduce_model(classifier, batches, rule, limits=Limits(math.inf, condition=math.inf))

    assert sum(classifier.config.states) <= 11  # 20 real states, each layer's last slot perhaps half filled


def test_uniform_slots_suit_formats_with_one_state_size():
    model = language_model("mamba")

    reduce_model(model, texts(), Uniform(Energy(0.9)), limits=Limits(math.inf))

    assert len(set(model.config.states)) == 1


def test_a_layer_that_has_no_more_slots_stays(classifier, batches):
    cuts = reduce_model(classifier, batches, Slots(50))

    assert [cut.status for cut in cuts] == ["kept", "kept"]
    assert classifier.config.states == (12, 12)


def test_limits_refuse_a_cut_and_leave_the_model(classifier, batches):
    before = classifier(batches[0].inputs)

    cuts = reduce_model(classifier, batches, Slots(1), limits=Limits(output_error=1e-6))

    assert [cut.status for cut in cuts] == ["refused", "refused"]
    assert torch.equal(classifier(batches[0].inputs), before)


def test_a_cut_that_costs_too_much_loss_is_put_back(classifier, batches):
    confident = [Split(one.inputs, classifier(one.inputs).argmax(1)) for one in batches]
    limits = Limits(math.inf, condition=math.inf, loss_increase=1e-12)

    cuts = reduce_model(classifier, confident, Slots(1), method="leading-removed", limits=limits)

    rose = cuts[0].status == "refused"
    assert rose == (classifier.config.states == (12, 12))


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda model, batches: reduce_model(model, [], Slots(3)), OptionError, "no batches"),
        (lambda model, batches: reduce_model(nn.Linear(2, 2), batches, Slots(3)), OptionError, "no reducible layer"),
        (lambda model, batches: reduce_model(model, batches, Slots(0)), OptionError, "at least 1"),
        (lambda model, batches: reduce_model(model, batches, Slots(3), method="best"), OptionError, "'last'"),
        (lambda model, batches: inspect_model(model, batches, energies=[2.0]), OptionError, r"\(0, 1\]"),
        (lambda model, batches: inspect_model(model, batches, errors=[0.0]), OptionError, "positive"),
    ],
)
def test_what_makes_no_sense_is_an_error(classifier, batches, call, error, message):
    with pytest.raises(error, match=message):
        call(classifier, batches)


def test_a_method_that_a_layer_does_not_know_is_an_error_that_names_the_way_out():
    with pytest.raises(UnsupportedError, match="'activations' or 'adjoints'"):
        reduce_model(language_model("mamba"), texts(), Slots(3), method="white")


# Inspection


def test_suggested_orders_keep_what_they_promise(classifier, batches):
    reports = inspect_model(classifier, batches, errors=(0.2, 0.05), energies=(0.9,))

    for report in reports:
        assert report.d_state == 12
        assert len(report.values) == 24
        total, slots = sum(report.values), report.by_energy[0.9]
        assert sum(report.values[: 2 * slots]) >= 0.9 * total > sum(report.values[: 2 * (slots - 1)])
        assert report.by_error[0.2] <= report.by_error[0.05] <= 12


def test_the_order_suggested_for_an_error_has_it(batches):
    model = SequenceClassifier(ClassifierConfig(d_input=2, n_classes=3, d_model=4, d_state=12, n_layers=1)).eval()
    (report,) = inspect_model(model, batches, errors=(0.1,))

    (cut,) = reduce_model(model, batches, Slots(report.by_error[0.1]), limits=Limits(least_saving=0))

    assert cut.status == "kept" or cut.output_error <= 0.1
