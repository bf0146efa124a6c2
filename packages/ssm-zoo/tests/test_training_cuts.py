"""What a run can do about its cuts: when, by what, how many; with a teacher, with a regulariser."""

import math
from dataclasses import asdict, replace

import pytest
import torch

from ssm_balance import hankel_singular_values
from ssm_zoo import LRU, S5, Mamba, OptionError, UnsupportedError, plots
from ssm_zoo.models import SequenceClassifier
from ssm_zoo.reduction.regularization import hankel_nuclear_norm
from ssm_zoo.tasks import Split, Text
from ssm_zoo.tasks.text import windows
from ssm_zoo.training import RunFolder, TrainConfig, distillation_loss, open_model, train
from ssm_zoo.training.cutting import cut_steps

CONFIG = TrainConfig(
    d_state=6, d_model=4, batch_size=8, steps=20, lr=1e-2, energy=None, order=3, cuts=1, cut_fraction=0.5,
    log_every=5, eval_every=20, checkpoint_every=4, threads=1, limits=False,
)  # fmt: skip


class KilledError(BaseException):
    """As if the process had ended."""


@pytest.fixture(autouse=True)
def no_plots(monkeypatch):
    monkeypatch.setattr(plots, "save", lambda figure, file: file)


@pytest.fixture
def on_a_small_text(monkeypatch):
    letters = torch.tensor(list(b"def f(x):\n    return x\n\n\n" * 60), dtype=torch.uint8)
    text = Text("bytes", 16, letters, windows(letters, 16, 20), windows(letters, 16, 7))
    monkeypatch.setattr("ssm_zoo.training.loop.load_task", lambda *_: text)
    monkeypatch.setattr("ssm_zoo.training.sample.LENGTH", 5)


TEXT = TrainConfig.preset(
    "bytes", d_model=8, d_state=6, length=16, batch_size=4, steps=20, cuts=1, cut_fraction=0.5, energy=None, order=3,
    log_every=5, eval_every=20, checkpoint_every=4, threads=1, limits=False,
)  # fmt: skip


def killed_at(step):
    def progress(event):
        if event.step == step:
            raise KilledError

    return progress


def timeless(result):
    return replace(result, seconds=0, seconds_per_step=0)


@pytest.mark.parametrize(
    "balance", ["adjoints", "published", "last", "aire", "magnitude", "random", "energy", "leading-removed", "white"]
)
def test_a_run_cuts_by_every_method(tmp_path, balance):
    result = train(replace(CONFIG, balance=balance), tmp_path)

    assert all(1 <= size <= 3 for size in result.d_state)
    assert all(cut["status"] == "cut" for cut in RunFolder(tmp_path).cuts())


@pytest.mark.parametrize("layer", ["mamba", "s4", "s4d", ("s5", "mamba")])
def test_an_order_is_the_state_size_of_every_kind_of_layer(on_a_small_text, tmp_path, layer):
    result = train(replace(TEXT, layer=layer), tmp_path)

    assert max(result.d_state) == 3


@pytest.mark.parametrize("layer", ["mamba", "s4"])
def test_a_run_killed_after_a_cut_goes_on_though_its_layers_changed(on_a_small_text, tmp_path, layer):
    config = replace(TEXT, layer=layer)
    expected = train(config, tmp_path / "whole")
    with pytest.raises(KilledError):
        train(config, tmp_path / "killed", progress=killed_at(15))

    assert timeless(train(config, tmp_path / "killed")) == timeless(expected)


def test_cuts_can_fall_at_the_end(tmp_path):
    config = replace(CONFIG, cut_start=0.8, cut_fraction=0.1)

    train(config, tmp_path)

    assert cut_steps(config) == (18,)
    assert {cut["step"] for cut in RunFolder(tmp_path).cuts()} == {18}


def test_a_delayed_cut_is_that_of_an_earlier_step_also_after_a_kill(tmp_path):
    config = replace(CONFIG, delay=4, checkpoint_every=1)  # measured at step 10, cut at 14
    expected = train(config, tmp_path / "whole")
    with pytest.raises(KilledError):
        train(config, tmp_path / "killed", progress=killed_at(12))

    again = train(config, tmp_path / "killed")

    cuts = RunFolder(tmp_path / "killed").cuts()
    assert {(cut["step"], cut["staleness"]) for cut in cuts} == {(14, 4)}
    assert timeless(again) == timeless(expected)


@pytest.mark.parametrize("balance", ["activations", "adjoints"])
def test_a_budget_is_a_sum_over_the_layers(tmp_path, balance):
    result = train(replace(CONFIG, order=None, budget=7, balance=balance), tmp_path)

    assert 2 <= sum(result.d_state) <= 8


@pytest.mark.parametrize("moments", ["mean", "reset", "slice"])
def test_every_rule_for_the_moments_trains_on(tmp_path, moments):
    assert math.isfinite(train(replace(CONFIG, moments=moments), tmp_path).test_loss)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"cut_start": 0.95}, "end behind the run"),
        ({"cut_start": 1.0}, r"\[0, 1\)"),
        ({"delay": 11}, "at most 10"),
        ({"cuts": 2, "delay": 6}, "at most 5"),
        ({"moments": "keep"}, "transport, mean, reset, slice"),
        ({"order": None, "budget": 1}, "for each layer"),
        ({"order": None, "budget": 9, "layer": ("lru", "mamba")}, "count states alike"),
        ({"balance": "published", "layer": "mamba"}, "wanted activations or adjoints"),
        ({"balance": "leading-removed", "layer": "s4d"}, "which is for lru, s5"),
        ({"device": "tpux"}, "'cpu' or 'cuda'"),
        ({"teacher_weight": 0.0}, "teacher_weight"),
        ({"hankel_weight": 0.1, "layer": "mamba"}, "wanted lru or s5"),
    ],
)
def test_a_bad_option_says_what_was_got_and_wanted(change, message):
    with pytest.raises(OptionError, match=message):
        replace(CONFIG, **change)


def test_a_run_of_before_an_option_was_known_is_recognised(tmp_path):
    config = replace(CONFIG, cuts=0, steps=4, limits=True)
    expected = train(config, tmp_path)
    known = {name: value for name, value in asdict(config).items() if name not in ("delay", "limits", "teacher")}
    RunFolder(tmp_path)._write_json("config.json", known)

    assert train(config, tmp_path) == expected


# Regularisation and distillation


def test_the_hankel_nuclear_norm_is_the_sum_of_all_values():
    torch.manual_seed(0)
    model = torch.nn.Sequential(LRU(3, 5), S5(3, 4))

    total = hankel_nuclear_norm(model).detach()

    assert float(total) == pytest.approx(sum(float(hankel_singular_values(layer.system()).sum()) for layer in model))


def test_the_hankel_nuclear_norm_falls_along_its_gradient():
    torch.manual_seed(0)
    layer = LRU(3, 5)
    before = hankel_nuclear_norm(layer)
    before.backward()

    step, slope = 1e-5, 0.0
    with torch.no_grad():
        for parameter in layer.parameters():
            if parameter.grad is not None:
                slope += float(parameter.grad.square().sum())
                parameter -= step * parameter.grad

    fell = float((before - hankel_nuclear_norm(layer)).detach())
    assert fell == pytest.approx(step * slope, rel=0.05)


def test_a_model_without_hankel_values_is_an_error():
    with pytest.raises(UnsupportedError, match="LRU or S5"):
        hankel_nuclear_norm(Mamba(4, 4))


def test_a_regularised_run_ends_with_a_smaller_norm(tmp_path):
    train(replace(CONFIG, cuts=0), tmp_path / "plain")
    train(replace(CONFIG, cuts=0, hankel_weight=0.05), tmp_path / "regularised")

    norms = [
        float(hankel_nuclear_norm(open_model(tmp_path / name).model).detach()) for name in ("plain", "regularised")
    ]
    assert norms[1] < norms[0]


def test_a_teacher_of_the_same_opinion_costs_nothing_and_the_gradient_is_that_of_the_formula():
    torch.manual_seed(0)
    student, teacher = torch.randn(5, 4, requires_grad=True), torch.randn(5, 4)

    loss = distillation_loss(student, teacher, temperature=2.0)
    loss.backward()

    assert float(distillation_loss(teacher, teacher)) == pytest.approx(0, abs=1e-6)
    wanted = 2.0 * (torch.softmax(student.detach() / 2, 1) - torch.softmax(teacher / 2, 1)) / 5
    torch.testing.assert_close(student.grad, wanted)


def test_a_student_follows_its_teacher(tmp_path):
    train(replace(CONFIG, cuts=0, d_state=12), tmp_path / "teacher")
    student = replace(CONFIG, cuts=0, teacher=str(tmp_path / "teacher"), teacher_weight=1.0, steps=40, dropout=0.0)

    train(student, tmp_path / "near")
    train(replace(student, teacher=None), tmp_path / "far")

    teacher, near, far = (open_model(tmp_path / name).model for name in ("teacher", "near", "far"))
    inputs = torch.rand(50, 64, 1)
    with torch.no_grad():
        losses = [float(distillation_loss(model(inputs), teacher(inputs))) for model in (near, far)]
    assert losses[0] < losses[1]


# Tokens to classify


def test_padding_of_tokens_changes_nothing_and_is_not_computed():
    split = Split(torch.tensor([[3, 1, 0, 0], [2, 0, 0, 0]], dtype=torch.uint8), torch.tensor([0, 1]))

    ready = split.ready()

    assert ready.inputs.tolist() == [[3, 1], [2, 0]]
    assert ready.lengths.tolist() == [2, 1]
    assert ready.inputs.dtype == torch.int64


def test_a_classifier_of_tokens_saves_and_loads(tmp_path):
    torch.manual_seed(0)
    from ssm_zoo.models import ClassifierConfig

    model = SequenceClassifier(ClassifierConfig(d_input=9, n_classes=2, tokens=True, d_state=4)).eval()
    ids = torch.randint(1, 9, (3, 10))

    loaded = SequenceClassifier.from_pretrained(model.save_pretrained(tmp_path))

    assert torch.equal(loaded(ids), model(ids))
    with pytest.raises(ValueError, match="int64"):
        model(ids.float())
