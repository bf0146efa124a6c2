"""The page of the SLICOT table is what its JSON says, and every row of the JSON keeps its promises.

python benchmarks/slicot_page.py
"""

import sys
from importlib import util
from pathlib import Path

import pytest

from ssm_balance import methods

FILE = Path(__file__).parents[1] / "benchmarks" / "slicot_page.py"


def page():
    spec = util.spec_from_file_location("slicot_page", FILE)
    module = util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


PAGE = page()
ROWS = PAGE.read()
DONE = [row for row in ROWS if "refused" not in row]
REFINED = [row for row in DONE if "refused" not in row["h2"]]


def each(rows):
    return pytest.mark.parametrize("row", rows, ids=[f"{row['system']}-{row['method']}" for row in rows])


def test_the_page_shows_what_the_file_says():
    text = PAGE.PAGE.read_text(encoding="utf-8")

    assert PAGE.written(text, ROWS) == text, f"run `{Path(sys.executable).name} benchmarks/slicot_page.py`"


@pytest.mark.parametrize("system", ["build", "pde", "heat-cont", "heat-disc", "random", "fom", "MNA_1", "peec"])
def test_every_method_has_its_row(system):
    found = {row["method"].split("(")[0] for row in ROWS if row["system"] == system}

    assert found == set(methods.__all__)


@each([row for row in DONE if row["bound"] is not None])
def test_the_bound_holds(row):
    assert row["holds"] is True
    assert row["upper"] <= row["bound"] * (1 + 2e-8) + row["rounding"]


@each([row for row in DONE if row["peers"]])
def test_a_peer_finds_the_same_map(row):
    distances = {name: value for name, value in row["peers"].items() if isinstance(value, float)}
    far = {name for name, value in distances.items() if value > PAGE.SAME}

    assert all((row["method"], name) in PAGE.REASONS for name in far)
    assert not far or min(distances.values()) <= PAGE.SAME  # another reference says who is wrong


@each(REFINED)
def test_refinement_never_raises_the_h2_error(row):
    before = row["h2"]["before"]

    assert before is None or row["h2"]["after"] <= before


@pytest.mark.parametrize("system", sorted({row["system"] for row in DONE}))
def test_refinement_lowers_the_h2_error_of_truncation(system):
    (h2,) = (row["h2"] for row in DONE if (row["system"], row["method"]) == (system, "balanced_truncation"))

    assert h2["after"] < h2["before"]


@each([row for row in DONE if "hankel" in row])
def test_the_hankel_error_is_the_next_value(row):
    error, value = row["hankel"]

    assert abs(error - value) <= 1e-8 * value + 1e-10 * row["gain"]


@each([row for row in ROWS if row["system"] in ("MNA_1", "peec")])
def test_a_singular_descriptor_is_refused_with_the_reason(row):
    assert row["refused"].startswith("SingularDescriptorError: E is singular")
