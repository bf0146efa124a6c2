"""The page of the experiments shows what their files of results say, and every row is that of an arm.

python benchmarks/experiments_page.py
"""

import sys
from importlib import util
from pathlib import Path

import pytest

FILE = Path(__file__).parents[1] / "benchmarks" / "experiments_page.py"


def page():
    spec = util.spec_from_file_location("experiments_page", FILE)
    module = util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


PAGE = page()


def test_the_page_shows_what_the_files_say():
    text = PAGE.PAGE.read_text(encoding="utf-8")

    assert PAGE.written(text) == text, f"run `{Path(sys.executable).name} benchmarks/experiments_page.py`"


@pytest.mark.parametrize("file", sorted(PAGE.RESULTS.glob("*.jsonl")), ids=lambda file: file.stem)
def test_every_row_is_a_run_of_the_experiment_as_it_is_described(file):
    experiment, rows = PAGE.experiment(file.stem), PAGE.read(file.stem)

    arms = {arm.label: arm for arm in experiment.arms}
    assert len({(row["arm"], row["seed"]) for row in rows}) == len(rows)
    for row in rows:
        assert row["seed"] in experiment.seeds
        assert row["steps"] == arms[row["arm"]].config.steps
        if row["size"].startswith("order"):
            assert row["states"] <= int(row["size"].split()[1])
