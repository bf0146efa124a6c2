"""Experiments: what a file says, what is run once and never again, what is written."""

import json
import re
import statistics
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from ssm_zoo import DataError, OptionError, plots
from ssm_zoo.cli import app
from ssm_zoo.experiments import load_experiment, run_experiment
from ssm_zoo.models import SequenceClassifier
from ssm_zoo.training import RunFolder, train

SHIPPED = sorted((Path(__file__).parents[3] / "benchmarks" / "experiments").glob("*.toml"))
TINY = """
task = "digits"
seeds = [3, 4]
note = "A tiny one."

[train]
d_state = 6
d_model = 4
n_layers = 1
batch_size = 8
steps = 10
lr = 1e-2
schedule = "constant"
cuts = 1
cut_fraction = 0.3
log_every = 5
eval_every = 10
checkpoint_every = 5
threads = 1
limits = false

[[arm]]
kind = "full"

[[arm]]
kind = "reduced"
name = "early"
balance = ["activations", "published"]
order = [3, 2]

[[arm]]
kind = "late"
order = 3
train = { cut_start = 0.8, cut_fraction = 0.1 }

[[arm]]
kind = "post"
balance = "aire"
order = 3

[[arm]]
kind = "small"
order = 3

[[arm]]
kind = "distilled"
order = 3
"""


@pytest.fixture
def drawn(monkeypatch):
    """Leave out the pictures and remember them."""
    figures = {}

    def save(figure, file):
        figures[Path(file).name] = figure
        return file

    monkeypatch.setattr(plots, "save", save)
    return figures


@pytest.fixture
def file(tmp_path):
    (tmp_path / "tiny.toml").write_text(TINY)
    return tmp_path / "tiny.toml"


def test_every_combination_is_an_arm_and_the_full_one_comes_first(file):
    experiment = load_experiment(file)

    assert [arm.label for arm in experiment.arms] == [
        "full", "early-activations-order-3", "early-activations-order-2", "early-published-order-3",
        "early-published-order-2", "late-activations-order-3", "post-aire-order-3", "small-order-3",
        "distilled-order-3",
    ]  # fmt: skip
    assert {arm.family for arm in experiment.arms[1:3]} == {"early-activations"}
    assert [arm.config.cuts for arm in experiment.arms] == [0, 1, 1, 1, 1, 1, 1, 0, 0]
    assert experiment.arms[-2].config.d_state == 3


def test_all_arms_run_once_and_leave_rows_a_table_and_a_plot(file, tmp_path, drawn):
    experiment = load_experiment(file)

    rows = run_experiment(experiment, tmp_path / "out")

    steps = []
    again = run_experiment(experiment, tmp_path / "out", progress=lambda event: steps.append(event.step))
    assert again == rows
    assert steps == []
    assert len(rows) == 18
    assert {(row["arm"], row["seed"]) for row in rows} == {(arm.label, s) for arm in experiment.arms for s in (3, 4)}
    assert all(row["states"] <= 3 for row in rows if row["kind"] != "full")
    assert [json.loads(line) for line in (tmp_path / "out" / "results.jsonl").read_text().splitlines()] == rows
    table = (tmp_path / "out" / "table.md").read_text()
    assert "18 of 18 runs finished" in table
    assert "| full | 6.0 |" in table
    assert table.count("| early-published-order-2 |") == 1
    assert "| reduced | order 3 | order 2 |" in table
    full = {row["seed"]: row["accuracy"] for row in rows if row["kind"] == "full"}
    published = [row for row in rows if row["arm"] == "early-published-order-2"]
    gain = statistics.fmean(row["accuracy"] - full[row["seed"]] for row in published)
    assert re.search(rf"\| early-published \|[^|]*\| {re.escape(f'{gain:+.2f}')} ± ", table)
    curves = {
        panel.get_title(): {line.get_label() for line in panel.containers} for panel in drawn["plot.png"].get_axes()
    }
    assert curves == {
        "cut early": {"early-activations", "early-published", "small", "distilled"},
        "cut late": {"activations"},
        "cut after training": {"aire"},
    }


def test_a_late_arm_is_the_run_from_its_beginning(file, tmp_path, drawn):
    experiment = load_experiment(file)
    late = next(arm for arm in experiment.arms if arm.kind == "late")
    steps = []
    run_experiment(
        replace(experiment, seeds=(3,)), tmp_path / "out", only=["late"],
        progress=lambda event: steps.append(event.step),
    )  # fmt: skip

    whole = train(replace(late.config, seed=3), tmp_path / "whole")

    forked = RunFolder(tmp_path / "out" / f"{late.label}-seed3")
    assert steps == [*range(1, 11), 9, 10]
    assert forked.result()["test_loss"] == whole.test_loss
    assert [line["step"] for line in forked.lines()] == [5, 10]
    one, other = (
        SequenceClassifier.from_pretrained(run.model).state_dict() for run in (forked, RunFolder(tmp_path / "whole"))
    )
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_an_experiment_that_was_stopped_goes_on(file, tmp_path, drawn):
    experiment = replace(load_experiment(file), seeds=(3,))

    def stop(event):
        if event.name == "full-seed3" and event.step == 7:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_experiment(experiment, tmp_path / "stopped", only=["post"], progress=stop)
    rows = run_experiment(experiment, tmp_path / "stopped", only=["post"])

    wanted = run_experiment(experiment, tmp_path / "whole", only=["post"])
    assert [row["test_loss"] for row in rows] == [row["test_loss"] for row in wanted]


def test_the_command_runs_some_arms_and_shows_the_table(file, tmp_path, drawn, monkeypatch):
    monkeypatch.chdir(tmp_path)

    done = CliRunner().invoke(app, ["experiment", str(file), "--seeds", "4", "--only", "small"])

    assert done.exit_code == 0, done.output
    assert "2 of 9 runs finished" in done.output
    assert (tmp_path / "runs" / "tiny" / "small-order-3-seed4" / "result.json").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [(["--only", "best"], "--only best"), (["--seeds", "9"], "wanted some of: 3, 4"), (["--seeds", "x"], "--seeds x")],
)
def test_a_bad_option_is_a_message_and_no_traceback(file, options, message):
    done = CliRunner().invoke(app, ["experiment", str(file), *options])

    assert done.exit_code == 2
    assert message in done.output


@pytest.mark.parametrize(
    ("old", "new", "error", "message"),
    [
        ("[train]", "[training]", OptionError, "unknown names: training"),
        ("d_state = 6", "d_states = 6", OptionError, "unknown names: d_states"),
        ("seeds = [3, 4]", "seeds = [3, 3]", OptionError, "different whole numbers"),
        ("seeds = [3, 4]", "", OptionError, "has no seeds"),
        ('kind = "late"', 'kind = "later"', OptionError, "full, reduced, late"),
        ("cut_start = 0.8, ", "", OptionError, "where the cuts begin"),
        ('name = "early"', 'name = "early"\nenergy = 0.9', OptionError, "wanted one of order"),
        ('balance = "aire"', 'balance = "best"', OptionError, "arm 'post-best-order-3': got balance"),
        ('kind = "full"', 'kind = "small"\norder = 4', OptionError, "of kind 'full'"),
        ('kind = "distilled"', 'kind = "small"', OptionError, "several arms called small-order-3"),
        ("seeds =", "seeds", DataError, "cannot be read"),
    ],
)
def test_a_file_that_makes_no_sense_says_why(file, old, new, error, message):
    file.write_text(TINY.replace(old, new, 1))

    with pytest.raises(error, match=message):
        load_experiment(file)


def test_a_missing_file_is_an_error(tmp_path):
    with pytest.raises(DataError, match="cannot be read"):
        load_experiment(tmp_path / "none.toml")


@pytest.mark.parametrize("file", SHIPPED, ids=lambda file: file.stem)
def test_the_experiments_that_are_shipped_make_sense(file):
    experiment = load_experiment(file)

    assert experiment.note
    assert experiment.arms[0].kind == "full"
