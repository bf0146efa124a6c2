import json
import re
import signal

import pytest
from typer.testing import CliRunner

from ssm_zoo import plots
from ssm_zoo.cli import app
from ssm_zoo.display import Display

TINY = ["train", "--d-state", "6", "--d-model", "4", "--batch-size", "8", "--order", "3", "--threads", "1"]
SHORT = [*TINY, "--steps", "12", "--cuts", "2", "--cut-fraction", "0.5"]


@pytest.fixture
def invoke(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("FORCE_COLOR", "GITHUB_ACTIONS", "TTY_COMPATIBLE", "PY_COLORS"):
        monkeypatch.delenv(name, raising=False)
    return lambda *arguments: CliRunner().invoke(app, list(arguments))


@pytest.fixture
def quick(invoke, monkeypatch):
    """The same without plots, which take most of the time of a short run."""
    monkeypatch.setattr(plots, "save", lambda figure, file: file)
    return invoke


def test_a_run_prints_cuts_a_table_and_where_the_files_are(invoke, tmp_path):
    done = invoke(*SHORT, "--out", "here")

    assert done.exit_code == 0, done.output
    assert re.search(r"step 12/12  loss \d\.\d+  accuracy \d+\.\d %  states \d\+\d", done.output)
    assert "blocks.0.layer" in done.output
    assert "test accuracy" in done.output
    assert "here/plots" in done.output
    assert (tmp_path / "here" / "plots" / "learning.png").exists()


def test_output_that_is_no_terminal_has_no_control_characters(quick):
    output = quick(*SHORT, "--out", "here").output

    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f]", output)


def test_the_same_command_finds_its_finished_run_again(quick, tmp_path):
    first = quick(*SHORT)

    again = quick(*SHORT)

    assert "finished" not in first.output
    assert "finished" in again.output
    assert "step 12/12" not in again.output
    assert len(list((tmp_path / "runs").iterdir())) == 1


def test_fresh_repeats_a_finished_run(quick):
    quick(*SHORT)

    assert "step 12/12" in quick(*SHORT, "--fresh").output


def test_a_comparison_prints_one_table_and_a_verdict(invoke, tmp_path):
    done = invoke(*SHORT, "--compare", "--seeds", "2", "--seed", "5", "--out", "here")

    assert done.exit_code == 0, done.output
    assert "over seeds 5, 6" in done.output
    assert "points, paired by seed" in done.output.splitlines()[-2]
    assert json.loads((tmp_path / "here" / "summary.json").read_text())["seeds"] == [5, 6]
    assert (tmp_path / "here" / "summary.png").stat().st_size > 10_000


@pytest.mark.usefixtures("ctrl_c")
def test_ctrl_c_exits_with_130_and_the_same_command_goes_on(quick, monkeypatch):
    show = Display.__call__

    def interrupt(self, progress):
        show(self, progress)
        if progress.step == 7:
            signal.raise_signal(signal.SIGINT)

    with monkeypatch.context() as patch:
        patch.setattr(Display, "__call__", interrupt)
        stopped = quick(*SHORT)
    resumed = quick(*SHORT)

    assert stopped.exit_code == 130
    assert "same command" in stopped.output
    assert resumed.exit_code == 0
    assert "step 8/12" in resumed.output


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--energy", "1.5"], "energy=1.5"),
        (["--energy", "0.9", "--order", "3"], "exactly one"),
        (["--task", "cifar"], "digits, smnist"),
        (["--layer", "lstm"], "lru, s4, s4d, s5"),
        (["--d-state", "many"], "--d-state 'many'"),
        (["--d-state", "3,4,5"], "one per block"),
        (["--seeds", "2"], "without --compare"),
        (["--compare", "--seeds", "0"], "0 seeds"),
        (["--compare", "--cuts", "0"], "0 cuts"),
        (["--steps", "few"], "--steps"),
        (["--batch-size", "5000"], "batch_size=5000"),
    ],
)
def test_a_bad_option_is_a_message_and_no_traceback(quick, options, message):
    done = quick("train", "--threads", "1", *options)

    assert done.exit_code == 2
    assert message in " ".join(done.output.split())
    assert "Traceback" not in done.output


def test_a_missing_data_file_is_a_message_and_no_traceback(quick, tmp_path, monkeypatch):
    monkeypatch.setenv("SSM_ZOO_DATA", str(tmp_path))

    done = quick("train", "--task", "smnist")

    assert done.exit_code == 1
    assert "is missing" in done.output
    assert "Traceback" not in done.output


def test_one_state_size_per_layer_can_be_given(quick, tmp_path):
    done = quick(*TINY, "--d-state", "5,4", "--steps", "2", "--cuts", "0", "--out", "here")

    assert done.exit_code == 0, done.output
    assert json.loads((tmp_path / "here" / "result.json").read_text())["d_state"] == [5, 4]


def test_help_shows_the_defaults_of_each_task(quick):
    output = " ".join(quick("train", "--help").output.replace("│", " ").split())

    assert "default 128; smnist 256" in output
    assert all(panel in output for panel in ("Model", "Training", "Reduction", "Runs and files"))


def test_version_is_that_of_the_package(quick):
    done = quick("--version")

    assert done.exit_code == 0
    assert re.fullmatch(r"ssm-zoo \d+\.\d+\.\d+\S*\n", done.output)


# Language models


BYTES = ["train", "--task", "bytes", "--layer", "lru,s5", "--d-state", "4", "--d-model", "8", "--length", "32",
         "--batch-size", "2", "--steps", "3", "--threads", "1", "--out", "here"]  # fmt: skip


@pytest.fixture
def trained(quick, monkeypatch, tmp_path):
    (tmp_path / "library").mkdir()
    for k in range(60):
        (tmp_path / "library" / f"m{k}.py").write_text(f"x = {k}\n" * 20)
    monkeypatch.setattr("ssm_zoo.tasks.bytes.library", lambda: tmp_path / "library")
    return quick(*BYTES), quick


def test_a_run_on_a_text_shows_bits_per_byte_and_a_sample(trained, tmp_path):
    done, _ = trained

    assert done.exit_code == 0, done.output
    assert re.search(r"step 3/3  bits per byte \d\.\d+  states 4\+4", done.output)
    assert re.search(r"step 3  held-out bits per byte \d\.\d{3}\n  │ def ", done.output)
    assert "test bits per byte" in done.output
    assert json.loads((tmp_path / "here" / "model" / "config.json").read_text())["layer"] == ["lru", "s5"]


def test_a_trained_model_writes_the_same_text_for_the_same_seed(trained):
    _, invoke = trained
    command = ("generate", "here", "--prompt", "import ", "--max-new-tokens", "12")

    first, again, other = invoke(*command), invoke(*command), invoke(*command, "--seed", "1")

    assert first.exit_code == 0, first.output
    assert first.output.startswith("import ")
    assert first.output == again.output != other.output
    assert invoke("generate", "here/model", *command[2:]).output == first.output


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        (["here", "--temperature", "0"], 2, "temperature=0.0"),
        (["here", "--prompt", ""], 2, "empty prompt"),
        (["nowhere"], 1, "holds no model"),
    ],
)
def test_a_bad_option_of_generate_is_a_message_and_no_traceback(trained, options, code, message):
    _, invoke = trained

    done = invoke("generate", *options)

    assert done.exit_code == code
    assert message in done.output
    assert "Traceback" not in done.output


def test_a_run_that_is_not_finished_has_nothing_to_say_yet(quick, tmp_path):
    (tmp_path / "metrics.jsonl").touch()

    done = quick("generate", str(tmp_path))

    assert done.exit_code == 1
    assert "not finished" in done.output
