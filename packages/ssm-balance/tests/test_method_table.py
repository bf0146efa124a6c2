"""The committed table of methods is what the declarations say; one command writes it anew.

python -m ssm_balance.testing docs/reference/methods.md
"""

import subprocess
import sys
from pathlib import Path

import pytest

from ssm_balance import methods
from ssm_balance.testing import method_table, table
from ssm_balance.testing.suites import BalancedTruncation

PAGE = Path(__file__).parents[3] / "docs" / "reference" / "methods.md"
README = Path(__file__).parents[1] / "README.md"


def test_the_page_shows_what_the_declarations_say():
    if not PAGE.exists():
        pytest.skip("the documentation is not part of this distribution")
    text = PAGE.read_text(encoding="utf-8")

    assert table.START in text
    assert table.written(text, method_table()) == text, "run `python -m ssm_balance.testing` on the page"


def test_the_readme_names_every_method():
    text = README.read_text(encoding="utf-8")

    assert {name for name in methods.__all__ if f"`{name}`" not in text} == set()


def test_the_command_fills_a_page(tmp_path):
    page = tmp_path / "page.md"
    page.write_text(f"before\n\n{table.START}\nold\n{table.END}\n\nafter\n", encoding="utf-8")

    subprocess.run([sys.executable, "-W", "error", "-m", "ssm_balance.testing", page], check=True)

    text = page.read_text(encoding="utf-8")
    assert method_table() in text
    assert "old" not in text
    assert text.startswith("before")
    assert text.endswith("after\n")


def test_every_row_has_every_column():
    rows = method_table().replace("\\|", "").splitlines()

    assert {row.count("|") for row in rows} == {rows[0].count("|")}


@pytest.mark.parametrize("change", [{"keeps": frozenset({"poles"})}, {"batched": False}, {"bound": None}])
def test_a_changed_declaration_changes_the_table(monkeypatch, change):
    before = method_table()
    for name, value in change.items():
        monkeypatch.setattr(BalancedTruncation, name, value)

    assert method_table() != before


def test_a_method_of_your_own_has_its_row():
    class Mine(BalancedTruncation):
        name = "mine"
        note = "new"

    rows = method_table((Mine,)).splitlines()

    assert len(rows) == 3
    assert rows[2].startswith("| `mine` |")
    assert rows[2].endswith("| new |")
