"""The committed support tables are what the declarations say; one command writes them anew.

python -m ssm_gramians.testing docs/reference/support.md
"""

from pathlib import Path

import pytest

import ssm_gramians as sg
from ssm_gramians.backends._registry import _BUILT_IN
from ssm_gramians.testing import support

PAGE = Path(__file__).parents[3] / "docs" / "reference" / "support.md"


@pytest.fixture(scope="module")
def table():
    return support.built_in_table()


def test_the_page_shows_what_the_declarations_say(table):
    if not PAGE.exists():
        pytest.skip("the documentation is not part of this distribution")
    text = PAGE.read_text(encoding="utf-8")

    assert support.START in text
    assert support.written(text, table) == text, "run `python -m ssm_gramians.testing` on the page"


@pytest.mark.parametrize("name", sorted(_BUILT_IN))
def test_what_is_read_from_the_source_is_what_the_class_says(name):
    if name not in sg.available_backends():
        pytest.skip(f"{name} is not installed")

    provided = type(sg.get_backend(name)).provides
    assert provided <= support.declared_words(name)  # the source speaks for the newest version of the library
    assert name == "cupy" or provided == support.declared_words(name)


def test_a_backend_that_is_not_installed_has_its_column(monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "torch", None)  # as if it were absent: importing it fails

    assert support.declared_words("torch") >= {"array", "autograd"}


def test_every_solver_has_its_row(table):
    solvers = [getattr(sg.solvers, name) for name in sg.solvers.__all__]
    wanted = {f"| `{solver.__name__}` |" for solver in solvers if hasattr(solver, "solve") and hasattr(solver, "needs")}

    assert wanted
    assert {row for row in wanted if row not in table} == set()


def test_a_changed_declaration_changes_the_table(monkeypatch, table):
    monkeypatch.setattr(sg.ClosedForm, "needs", frozenset({"array", "schur"}))

    assert support.built_in_table() != table
