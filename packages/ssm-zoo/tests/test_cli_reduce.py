"""`ssm-zoo inspect` and `ssm-zoo reduce`, on folders of every format."""

import json
import re

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from ssm_zoo import LRU, load_checkpoint, plots, save_checkpoint
from ssm_zoo.cli import app
from ssm_zoo.models import (
    ClassifierConfig,
    LanguageModel,
    LanguageModelConfig,
    RegressorConfig,
    SequenceClassifier,
    SequenceRegressor,
)
from ssm_zoo.training import RunFolder, TrainConfig

SMALL = ["--batches", "1", "--batch-size", "8", "--length", "24"]


@pytest.fixture
def invoke(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "180")
    for name in ("FORCE_COLOR", "GITHUB_ACTIONS", "TTY_COMPATIBLE", "PY_COLORS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(plots, "save", lambda figure, file: file)
    return lambda *arguments: CliRunner().invoke(app, list(map(str, arguments)))


@pytest.fixture
def text(tmp_path):
    (tmp_path / "text.txt").write_text("the cat sat on the mat and the dog lay on the log. " * 40)
    return tmp_path / "text.txt"


@pytest.fixture
def classifier(tmp_path):
    torch.manual_seed(0)
    config = ClassifierConfig(d_input=1, n_classes=10, d_model=4, d_state=8, n_layers=2)
    return SequenceClassifier(config).save_pretrained(tmp_path / "classifier")


def mamba(layer="mamba", vocab_size=256):
    torch.manual_seed(0)
    options = {"mamba2": {"headdim": 8}} if layer == "mamba2" else {}
    sizes = {"d_model": 16, "d_state": 8, "n_layers": 2, "options": options}
    return LanguageModel(LanguageModelConfig(vocab_size=vocab_size, layer=layer, **sizes)).eval()


def test_inspect_shows_how_many_states_suffice(invoke, classifier, tmp_path, monkeypatch):
    files = []
    monkeypatch.setattr(plots, "save", lambda figure, file: files.append(file))

    done = invoke("inspect", classifier, "--task", "digits", "--error", 0.1, "--energy", 0.9, "--json", "all.json")

    assert done.exit_code == 0, done.output
    assert "energy 0.9" in done.output
    assert "error 10 %" in done.output
    assert [str(file) for file in files] == ["classifier-values.png"]
    first, _ = json.loads((tmp_path / "all.json").read_text())
    assert first["layer"] == "blocks.0.layer"
    assert len(first["values"]) == 16


def test_a_plot_of_the_values_is_drawn(classifier, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(app, ["inspect", str(classifier), "--task", "digits", "--plot", "here.png"])

    assert done.exit_code == 0, done.output
    assert (tmp_path / "here.png").stat().st_size > 10_000


@pytest.mark.parametrize("choice", [("--order", 3), ("--energy", 0.8), ("--budget", 7)])
def test_a_classifier_is_cut_and_loads(invoke, classifier, tmp_path, choice):
    done = invoke("reduce", classifier, "--task", "digits", *choice, "--out", "small", "--no-limits")

    assert done.exit_code == 0, done.output
    assert re.search(r"blocks\.0\.layer +│ +8 → \d", done.output)
    assert re.search(r"held-out accuracy: \d+\.\d\d( %)? → \d+\.\d\d %", done.output)
    assert max(SequenceClassifier.from_pretrained(tmp_path / "small").config.states) < 8
    assert len((tmp_path / "small" / "cuts.jsonl").read_text().splitlines()) == 2


def test_a_run_knows_its_task(invoke, tmp_path):
    invoke("train", "--d-state", 6, "--d-model", 4, "--batch-size", 8, "--steps", 3, "--cuts", 0, "--threads", 1,
           "--out", "run")  # fmt: skip

    done = invoke("reduce", "run", "--order", 3, "--out", "small", "--balance", "adjoints", "--no-limits")

    assert done.exit_code == 0, done.output
    assert max(SequenceClassifier.from_pretrained(tmp_path / "small").config.states) <= 3
    assert RunFolder(tmp_path / "run").result()["d_state"] == [6, 6]


@pytest.mark.parametrize("form", ["hf", "mamba_ssm"])
@pytest.mark.parametrize("layer", ["mamba", "mamba2"])
def test_a_checkpoint_of_others_keeps_its_format(invoke, text, tmp_path, layer, form):
    save_checkpoint(mamba(layer), tmp_path / "full", form)

    done = invoke("reduce", "full", "--text", text, *SMALL, "--order", 3, "--out", "small", "--no-limits")

    assert done.exit_code == 0, done.output
    assert "held-out bits per byte" in done.output
    small = load_checkpoint(tmp_path / "small")
    assert small.config.states == (3, 3)
    assert small(torch.randint(256, (2, 9))).isfinite().all()
    names = [{file.name for file in (tmp_path / folder).iterdir()} for folder in ("full", "small")]
    assert names[1] - names[0] == {"cuts.jsonl"}


def test_what_else_a_folder_of_transformers_says_is_handed_on(invoke, text, tmp_path):
    save_checkpoint(mamba(), tmp_path / "full", "hf")
    config = json.loads((tmp_path / "full" / "config.json").read_text())
    (tmp_path / "full" / "config.json").write_text(json.dumps(config | {"eos_token_id": 7, "note": "mine"}))
    (tmp_path / "full" / "tokenizer_config.json").write_text("{}")

    invoke("reduce", "full", "--text", text, *SMALL, "--order", 3, "--out", "small", "--no-limits")

    small = json.loads((tmp_path / "small" / "config.json").read_text())
    assert (small["eos_token_id"], small["note"], small["state_size"]) == (7, "mine", 3)
    assert (tmp_path / "small" / "tokenizer_config.json").exists()


def test_token_numbers_serve_where_there_is_no_tokenizer(invoke, tmp_path):
    save_checkpoint(mamba(vocab_size=40), tmp_path / "full", "hf")
    np.save(tmp_path / "ids.npy", np.random.default_rng(0).integers(0, 40, 600))

    done = invoke("reduce", "full", "--text", "ids.npy", *SMALL, "--energy", 0.9, "--out", "small", "--no-limits")

    assert done.exit_code == 0, done.output
    assert "held-out loss" in done.output


def test_own_format_keeps_a_size_for_each_layer(invoke, text, tmp_path):
    save_checkpoint(mamba("mamba2"), tmp_path / "full", "mamba_ssm")

    done = invoke("reduce", "full", "--text", text, *SMALL, "--energy", 0.8, "--out", "small", "--format", "own",
                  "--no-limits")  # fmt: skip

    assert done.exit_code == 0, done.output
    assert LanguageModel.from_pretrained(tmp_path / "small").config.d_unmixed is not None


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        (["--out", "x"], 2, "exactly one of energy, order and budget"),
        (["--out", "x", "--order", "2", "--energy", "0.5"], 2, "energy=0.5 and order=2"),
        (["--out", "x", "--order", "2"], 2, "name a task or a text"),
        (["--out", "x", "--order", "2", "--task", "cifar"], 2, "digits, smnist"),
        (["--out", "x", "--order", "2", "--task", "bytes"], 2, "name another task"),
        (["--out", "x", "--order", "2", "--text", "classifier/config.json"], 2, "wanted a task"),
        (["--out", "x", "--order", "2", "--task", "digits", "--balance", "best"], 2, "--balance best"),
        (["--out", "x", "--order", "2", "--task", "digits", "--format", "onnx"], 2, "--format onnx"),
        (["--out", "x", "--order", "9", "--task", "digits"], 1, "no layer was cut"),
        (["--out", "x", "--order", "2", "--task", "digits", "--max-error", "1e-9"], 1, "output error is"),
        (["--out", "classifier", "--order", "2", "--task", "digits"], 2, "not empty"),
        (["--out", "x", "--order", "2", "--task", "digits", "--format", "hf"], 1, "holds language models"),
        (["--out", "x", "--order", "2", "--task", "digits", "--batches", "0"], 2, "at least one of each"),
    ],
)
def test_a_bad_option_is_a_message_and_no_traceback(invoke, classifier, options, code, message):
    done = invoke("reduce", classifier, *options)

    assert done.exit_code == code, done.output
    assert message in " ".join(done.output.split())
    assert "Traceback" not in done.output


@pytest.mark.parametrize(
    ("make", "code", "message"),
    [
        (lambda folder: folder.mkdir(), 1, "holds no model"),
        (lambda folder: RunFolder(folder).claim(TrainConfig()), 1, "holds no model"),
        (lambda folder: RunFolder(folder).rewind(0), 1, "not finished"),
        (lambda folder: save_checkpoint(LRU(4, 4), folder, "lru"), 1, "without a model around it"),
        (
            lambda folder: SequenceRegressor(RegressorConfig(d_input=1, d_output=1, d_state=4)).save_pretrained(folder),
            2,
            "SequenceRegressor",
        ),
    ],
)
def test_a_folder_that_cannot_be_reduced_says_why(invoke, tmp_path, make, code, message):
    make(tmp_path / "odd")

    done = invoke("inspect", "odd", "--task", "digits")

    assert done.exit_code == code
    assert message in " ".join(done.output.split())
    assert "Traceback" not in done.output


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("nothing.txt", None, "is missing"),
        ("short.txt", b"abc", "wanted more than"),
        ("table.npy", np.zeros((2, 2)), "one row of integers"),
        ("large.npy", np.full(500, 300), "token 300"),
    ],
)
def test_a_text_that_does_not_fit_says_why(invoke, tmp_path, file, content, message):
    save_checkpoint(mamba(), tmp_path / "full", "hf")
    if isinstance(content, bytes):
        (tmp_path / file).write_bytes(content)
    elif content is not None:
        np.save(tmp_path / file, content)

    done = invoke("inspect", "full", "--text", file)

    assert done.exit_code in (1, 2)
    assert message in " ".join(done.output.split())
    assert "Traceback" not in done.output


@pytest.mark.parametrize(("layer", "kind"), [("mamba", "MambaForCausalLM"), ("mamba2", "Mamba2ForCausalLM")])
def test_a_reduced_folder_of_transformers_gives_the_same_logits_there(invoke, text, tmp_path, layer, kind):
    transformers = pytest.importorskip("transformers")
    save_checkpoint(mamba(layer), tmp_path / "full", "hf")
    invoke("reduce", "full", "--text", text, *SMALL, "--order", 3, "--out", "small", "--no-limits")
    ids = torch.randint(256, (2, 12))

    theirs = getattr(transformers, kind).from_pretrained(tmp_path / "small").eval()

    with torch.no_grad():
        torch.testing.assert_close(theirs(ids).logits, load_checkpoint(tmp_path / "small")(ids), rtol=1e-3, atol=1e-4)
