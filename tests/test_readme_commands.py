"""The two commands at the top of README.md: they exist, call sessions that exist, and are the ones that CI runs."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
CI = (ROOT / ".ci" / "run").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def sessions():
    """Return each session that nox lists, without its parameters, and what it says about itself."""
    # Not --json: it leaves out the sessions that do not run by default.
    listing = subprocess.check_output([sys.executable, "-m", "nox", "-l", "--nocolor"], cwd=ROOT, text=True)
    return dict(re.findall(r"^[*-] (\w+)(?:\(.*\))?(?: -> (.*))?$", listing, re.MULTILINE))


def command(name):
    """Return the line that README.md gives under the marker of this name."""
    found = re.findall(rf"<!-- command: {name} -->\n+```bash\n(.*)\n```", README)
    assert len(found) == 1, f"README.md shows {len(found)} one-line commands after the marker {name!r}, wanted one"
    return found[0]


@pytest.mark.parametrize("name", ["train", "tests"])
def test_a_readme_command_starts_from_python_and_pip_alone(name):
    steps = command(name).split(" && ")

    assert steps[0] == "python3 -m venv .venv"
    assert re.fullmatch(r"\.venv/bin/pip install -q nox", steps[1])
    assert steps[2] == f".venv/bin/nox -s {name}"


def test_the_commands_stand_before_everything_else_in_the_readme():
    first_heading = README.index("\n## ")

    assert README.index("<!-- command: train -->") < README.index("<!-- command: tests -->") < first_heading


def test_sessions_named_in_documents_exist(sessions):
    pages = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "RELEASING.md", ROOT / "benchmarks" / "README.md"]
    pages += [*(ROOT / "docs").rglob("*.md"), *(ROOT / "packages").glob("*/README.md"), ROOT / ".ci" / "run"]
    pages += (ROOT / ".github" / "workflows").glob("*.yml")
    texts = {page: page.read_text(encoding="utf-8") for page in pages}

    named = {(page.name, name) for page, text in texts.items() for name in re.findall(r"nox -s \"?(\w+)", text)}

    assert named
    assert {(page, name) for page, name in named if name not in sessions} == set()


def test_the_ci_script_runs_the_test_command_of_the_readme():
    assert "<!-- command: tests -->" in CI
    assert "README.md" in CI
    assert command("tests") not in CI, "the script reads the command, it does not repeat it"


def test_every_session_explains_itself(sessions):
    assert {"train", "tests", "bench"} <= set(sessions)
    assert [name for name, description in sessions.items() if not description] == []
