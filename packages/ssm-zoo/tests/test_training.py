import json
import math
import signal
from dataclasses import replace

import pytest
import torch

from ssm_zoo import plots
from ssm_zoo._errors import OptionError, RunError
from ssm_zoo.models import LanguageModel, LanguageModelConfig, SequenceClassifier
from ssm_zoo.tasks import Text, load_task
from ssm_zoo.tasks.text import windows
from ssm_zoo.training import Comparison, RunFolder, RunResult, TrainConfig, compare, evaluate, train, write
from ssm_zoo.training.loop import _uninterrupted
from ssm_zoo.training.sample import readable

CUT_STEPS = (20, 40)
CONFIG = TrainConfig(
    d_state=6, d_model=4, batch_size=8, steps=50, lr=1e-2, energy=None, order=3, cuts=2, cut_fraction=0.8,
    log_every=4, eval_every=15, checkpoint_every=10, threads=1,
)  # fmt: skip


class KilledError(BaseException):
    """As if the process had ended: nothing of the loop may catch it."""


@pytest.fixture(autouse=True)
def no_plots(monkeypatch):
    """Leave out the slowest part of a short run; fixtures of the module are made before, with plots."""
    monkeypatch.setattr(plots, "save", lambda figure, file: file)


def stop_at(step, error):
    def progress(event):
        if event.step == step:
            raise error

    return progress


def timeless(lines):
    return [{k: v for k, v in line.items() if k not in ("elapsed", "seconds_per_step", "seconds")} for line in lines]


def left_by(folder):
    run = RunFolder(folder)
    return timeless(run.lines()), timeless(run.cuts()), SequenceClassifier.from_pretrained(run.model).state_dict()


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    return train(CONFIG, folder), folder


def test_a_run_cuts_when_it_should_and_leaves_all_its_files(uninterrupted):
    result, folder = uninterrupted

    names = {path.name for path in folder.iterdir()}
    assert names == {"config.json", "metrics.jsonl", "cuts.jsonl", "checkpoint.pt", "result.json", "model", "plots"}
    assert {path.name for path in (folder / "plots").iterdir()} == {"learning.png", "pace.png", "spectra.png"}
    cuts = RunFolder(folder).cuts()
    assert {cut["step"] for cut in cuts} == set(CUT_STEPS)
    assert any(cut["status"] == "cut" for cut in cuts)
    assert result.d_state == SequenceClassifier.from_pretrained(folder / "model").config.d_state
    assert max(result.d_state) < 6


def test_the_result_is_that_of_the_saved_model_on_the_test_set(uninterrupted):
    result, folder = uninterrupted

    loss, accuracy = evaluate(SequenceClassifier.from_pretrained(folder / "model"), load_task("digits").test)

    assert accuracy == result.test_accuracy
    assert loss == pytest.approx(result.test_loss, rel=1e-5)


@pytest.mark.parametrize(
    ("step", "error"),
    [(step, KilledError()) for step in (3, 18, 20, 33, 50)] + [(step, KeyboardInterrupt()) for step in (18, 40, 50)],
)
def test_a_run_that_was_stopped_goes_on_to_the_same_result(uninterrupted, tmp_path, step, error):
    expected, folder = uninterrupted
    with pytest.raises(type(error)):
        train(CONFIG, tmp_path, progress=stop_at(step, error))

    result = train(CONFIG, tmp_path)

    assert replace(result, seconds=0, seconds_per_step=0) == replace(expected, seconds=0, seconds_per_step=0)
    lines, cuts, tensors = left_by(tmp_path)
    wanted_lines, wanted_cuts, wanted_tensors = left_by(folder)
    assert lines == wanted_lines
    assert cuts == wanted_cuts
    assert all(torch.equal(tensors[name], wanted_tensors[name]) for name in wanted_tensors)


def test_a_run_without_cuts_goes_on_to_the_same_result(tmp_path):
    config = replace(CONFIG, cuts=0, steps=24)
    train(config, tmp_path / "whole")
    with pytest.raises(KilledError):
        train(config, tmp_path / "killed", progress=stop_at(13, KilledError()))

    train(config, tmp_path / "killed")

    assert left_by(tmp_path / "killed")[0] == left_by(tmp_path / "whole")[0]


def test_ctrl_c_loses_no_step(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        train(CONFIG, tmp_path, progress=stop_at(13, KeyboardInterrupt()))
    steps = []

    train(CONFIG, tmp_path, progress=lambda event: steps.append(event.step))

    assert steps[0] == 14


def test_time_adds_up_over_resumptions(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        train(CONFIG, tmp_path, progress=stop_at(30, KeyboardInterrupt()))
    before = RunFolder(tmp_path).load()["elapsed"]

    result = train(CONFIG, tmp_path)

    assert 0 < before < result.seconds


def test_a_finished_run_is_not_repeated(uninterrupted):
    expected, folder = uninterrupted

    assert train(CONFIG, folder, progress=stop_at(1, KilledError())) == expected


def test_a_fresh_run_forgets_the_old_one(tmp_path):
    config = replace(CONFIG, cuts=0, steps=8)
    train(config, tmp_path)
    steps = []

    train(replace(config, lr=2e-2), tmp_path, resume=False, progress=lambda event: steps.append(event.step))

    assert steps == list(range(1, 9))
    assert [line["step"] for line in RunFolder(tmp_path).lines()] == [4, 8]


def test_a_folder_of_another_run_is_left_alone(uninterrupted):
    _, folder = uninterrupted
    before = (folder / "config.json").read_bytes()

    with pytest.raises(RunError, match=r"lr 0.01 \(here 0.5\)"):
        train(replace(CONFIG, lr=0.5), folder)

    assert (folder / "config.json").read_bytes() == before


def test_a_checkpoint_that_cannot_be_read_is_an_error(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        train(CONFIG, tmp_path, progress=stop_at(2, KeyboardInterrupt()))
    (tmp_path / "checkpoint.pt").write_bytes(b"nonsense")

    with pytest.raises(RunError, match="start the run afresh"):
        train(CONFIG, tmp_path)


def test_a_loss_that_is_not_finite_ends_the_run(tmp_path):
    with pytest.raises(RunError, match=r"the loss is (nan|inf) at step \d"):
        train(replace(CONFIG, lr=1e30, schedule="constant", cuts=0), tmp_path)


def test_a_line_that_was_not_written_to_its_end_is_forgotten(tmp_path):
    run = RunFolder(tmp_path)
    for step in (1, 2, 3):
        run.append({"step": step})
    with run.metrics.open("a") as stream:
        stream.write('{"step": 4')

    run.rewind(2)

    assert run.metrics.read_text() == '{"step": 1}\n{"step": 2}\n'


@pytest.mark.usefixtures("ctrl_c")
def test_an_interruption_waits_for_the_end_of_the_step():
    done = []

    def step():
        with _uninterrupted():
            signal.raise_signal(signal.SIGINT)
            done.append(True)

    with pytest.raises(KeyboardInterrupt):
        step()

    assert done
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_an_interruption_that_is_ignored_stays_ignored():
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)

    try:
        with _uninterrupted():
            signal.raise_signal(signal.SIGINT)
            assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"steps": 0}, "steps=0"),
        ({"lr": -1.0}, "lr=-1.0"),
        ({"lr": math.nan}, "lr=nan"),
        ({"energy": 0.9}, "exactly one"),
        ({"order": None}, "exactly one"),
        ({"order": None, "energy": 1.5}, r"wanted a fraction in \(0, 1\]"),
        ({"order": 0}, "order=0"),
        ({"budget": 9}, "exactly one"),
        ({"cuts": 99}, "99 cuts in the first 40 steps"),
        ({"schedule": "step"}, "wanted one of: constant, warmup-cosine"),
        ({"balance": "pink"}, "wanted one of: activations, adjoints, white"),
        ({"layer": "lstm"}, "lru, s4, s4d, s5"),
        ({"d_state": (1, 2, 3)}, "one per block"),
    ],
)
def test_a_bad_option_says_what_was_got_and_wanted(change, message):
    with pytest.raises(OptionError, match=message):
        replace(CONFIG, **change)


def test_the_learning_rate_rises_to_one_and_falls_to_zero():
    config = TrainConfig(steps=100, schedule="warmup-cosine")

    factors = [config.lr_factor(step) for step in range(101)]

    assert factors[0] == 0.1
    assert factors[9] == factors[10] == 1
    assert factors[55] == pytest.approx(0.5)
    assert factors[100] == pytest.approx(0)
    assert factors[9:] == sorted(factors[9:], reverse=True)


def test_evaluation_keeps_the_mode_and_does_not_depend_on_the_batch_size():
    torch.manual_seed(0)
    task = load_task("digits")
    model = SequenceClassifier(CONFIG.model(task)).train()

    results = [evaluate(model, task.test, batch_size) for batch_size in (360, 77)]

    assert model.training
    assert results[0] == pytest.approx(results[1], rel=1e-5)


# Texts


@pytest.fixture(scope="module")
def text():
    letters = torch.tensor(list(b"def f(x):\n    return x\n\n\n" * 60), dtype=torch.uint8)
    return Text("bytes", 16, letters, windows(letters, 16, 20), windows(letters, 16, 7))


@pytest.fixture
def on_a_small_text(monkeypatch, text):
    monkeypatch.setattr("ssm_zoo.training.loop.load_task", lambda *_: text)
    monkeypatch.setattr("ssm_zoo.training.sample.LENGTH", 20)


TEXT = TrainConfig.preset(
    "bytes", layer=("lru", "s5"), d_model=8, d_state=4, length=16, batch_size=4, steps=30, log_every=4, eval_every=12,
    checkpoint_every=10, threads=1,
)  # fmt: skip


def of_text(folder):
    run = RunFolder(folder)
    tensors = LanguageModel.from_pretrained(run.model).state_dict()
    return timeless(run.lines()), (folder / "samples.txt").read_text(), tensors


def test_a_run_on_a_text_learns_and_shows_what_it_writes(on_a_small_text, tmp_path, text):
    events = []

    result = train(TEXT, tmp_path, progress=events.append)

    losses = [line["eval_loss"] for line in RunFolder(tmp_path).lines() if line["eval_loss"] is not None]
    assert losses[-1] < losses[0]
    assert result.test_loss == pytest.approx(evaluate(LanguageModel.from_pretrained(tmp_path / "model"), text.test)[0])
    assert [event.step for event in events if event.line and "sample" in event.line] == [12, 24, 30]
    samples = (tmp_path / "samples.txt").read_text()
    assert samples.count("step ") >= 3
    assert "\n\ndef " in samples


@pytest.mark.parametrize("step", [3, 12, 25, 30])
@pytest.mark.parametrize("error", [KilledError(), KeyboardInterrupt()], ids=["killed", "ctrl-c"])
def test_a_run_on_a_text_that_was_stopped_goes_on_to_the_same_result(on_a_small_text, tmp_path, step, error):
    train(TEXT, tmp_path / "whole")
    with pytest.raises(type(error)):
        train(TEXT, tmp_path / "stopped", progress=stop_at(step, error))

    train(TEXT, tmp_path / "stopped")

    lines, samples, tensors = of_text(tmp_path / "stopped")
    wanted_lines, wanted_samples, wanted_tensors = of_text(tmp_path / "whole")
    assert lines == wanted_lines
    assert samples == wanted_samples
    assert all(torch.equal(tensors[name], wanted_tensors[name]) for name in wanted_tensors)


def test_a_run_does_not_go_on_with_another_text(on_a_small_text, tmp_path, text, monkeypatch):
    with pytest.raises(KeyboardInterrupt):
        train(TEXT, tmp_path, progress=stop_at(5, KeyboardInterrupt()))
    monkeypatch.setattr("ssm_zoo.training.loop.load_task", lambda *_: replace(text, train=text.train + 1))

    with pytest.raises(RunError, match="not the one that the run began with"):
        train(TEXT, tmp_path)


def test_a_language_model_is_reduced_while_it_trains(on_a_small_text, tmp_path):
    config = replace(TEXT, layer="lru", d_state=6, cuts=1, cut_fraction=0.5, energy=None, order=3)

    result = train(config, tmp_path)

    assert max(result.d_state) < 6
    assert LanguageModel.from_pretrained(tmp_path / "model").config.states == result.d_state


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"norm": "batch"}, "sees the rest of the sequence"),
        ({"bidirectional": True}, "does not see the next token"),
        ({"length": 0}, "length=0"),
        ({"task": "digits"}, "length=16 for digits"),
        ({"layer": ("lru", "lstm")}, "'lstm'"),
    ],
)
def test_an_option_that_does_not_fit_a_text_is_an_error(change, message):
    with pytest.raises(OptionError, match=message):
        replace(TEXT, **change)


def test_what_a_terminal_would_obey_is_not_shown():
    assert readable("a\x1b[31m\tb\r\n\u202ec") == "a\ufffd[31m\tb\ufffd\n\ufffdc"


def test_writing_begins_with_the_prompt_and_joins_split_characters(text):
    torch.manual_seed(0)
    model = LanguageModel(LanguageModelConfig(vocab_size=256, layer="lru", d_model=4, d_state=2))

    pieces = list(write(model, "é", 12, torch.Generator().manual_seed(0)))

    assert pieces[0] == "é"
    assert len(pieces) == 14


# Comparisons


def test_small_begins_with_the_states_that_reduced_ends_with(tmp_path):
    config = replace(CONFIG, steps=10)

    comparison = compare(config, tmp_path, seeds=[3])

    (reduced,) = comparison.results["reduced"]
    small = json.loads((tmp_path / "small-seed3" / "config.json").read_text())
    assert (tuple(small["d_state"]), small["cuts"], small["seed"]) == (reduced.d_state, 0, 3)
    assert {result.d_state for result in comparison.results["full"]} == {(6, 6)}
    assert json.loads((tmp_path / "summary.json").read_text())["verdict"] == comparison.verdict()
    assert comparison.verdict() in (tmp_path / "summary.md").read_text()


def result_of(accuracy, d_state=8, seconds=10.0):
    return RunResult(accuracy, 1.0, (d_state, d_state), 100, 50, seconds, 0.01)


def comparison_of(full, reduced):
    return Comparison(
        tuple(range(len(full))),
        {
            "full": tuple(result_of(a, 64, 30.0) for a in full),
            "reduced": tuple(result_of(a) for a in reduced),
            "small": tuple(result_of(a) for a in reduced),
        },
    )


def test_rows_hold_means_standard_errors_and_ratios():
    full, reduced, _ = comparison_of([0.5, 0.7], [0.9, 0.9]).rows()

    assert full["accuracy"] == pytest.approx(0.6)
    assert full["accuracy_error"] == pytest.approx(0.1)  # sqrt(0.02) / sqrt(2)
    assert reduced["accuracy_error"] == pytest.approx(0)
    assert (full["d_state"], reduced["d_state"], reduced["speedup"]) == (64, 8, 3)


@pytest.mark.parametrize(
    ("full", "reduced", "words"),
    [
        ([0.90, 0.90], [0.91, 0.90], "at least as accurate as full: +0.50 ± 0.50"),
        ([0.90, 0.90], [0.91, 0.88], "within one standard error of full: -0.50 ± 1.50"),
        ([0.90, 0.90], [0.80, 0.82], "less accurate than full: -9.00 ± 1.00"),
        ([0.90], [0.91], "at least as accurate as full: +1.00 (one seed"),
        ([0.90], [0.89], "less accurate than full: -1.00 (one seed"),
    ],
)
def test_the_verdict_is_paired_by_seed(full, reduced, words):
    verdict = comparison_of(full, reduced).verdict()

    assert words in verdict
    assert "1/8.0 of the state and in 1/3.00 of the time" in verdict


@pytest.mark.parametrize(("seeds", "cuts"), [([], 2), ([0], 0)])
def test_a_comparison_needs_seeds_and_cuts(tmp_path, seeds, cuts):
    with pytest.raises(OptionError, match="to compare"):
        compare(replace(CONFIG, cuts=cuts), tmp_path, seeds)
