"""What each method keeps and takes, as a table that is made from the declarations and nothing else.

`python -m ssm_balance.testing FILE.md ...` writes it between the markers in each file.
"""

from __future__ import annotations

import re

from .promises import WORDS, Promises
from .suites import built_in

START = "<!-- method table: start, written by `python -m ssm_balance.testing` -->"
END = "<!-- method table: end -->"
_COLUMNS = ("method", "H∞ bound", "keeps", "optimal", "time", "batch", "sparse `A`", "`E`", "unstable system", "remark")


def method_table(suites: tuple[type[Promises], ...] | None = None) -> str:
    """Return a Markdown table with a row for each suite.

    Parameters
    ----------
    suites
        Classes with declarations; those of the methods of this package if None.
    """
    rows = [list(_COLUMNS), ["---"] * len(_COLUMNS)]
    rows += [_row(suite) for suite in (built_in() if suites is None else suites)]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def written(text: str, table: str) -> str:
    """Return the text with what stands between the markers replaced by the table."""
    return re.sub(f"(?s){re.escape(START)}.*?{re.escape(END)}", lambda _: f"{START}\n\n{table}\n\n{END}", text)


def _row(suite: type[Promises]) -> list[str]:
    keeps = ", ".join(word for word in WORDS if word in suite.keeps)
    unstable = "taken" if suite.takes_unstable else '`unstable="keep"`' if suite.splits_unstable else "refused"
    row = [
        f"`{suite.name}`",
        suite.bound or "–",
        keeps or "–",
        suite.optimal or "–",
        ", ".join(sorted(suite.times)),
        _tick(suite.batched),
        _tick("sparse" in suite.kinds),
        "dense, sparse" if suite.sparse_descriptor else "dense",
        unstable,
        suite.note or ("depends on the coordinates" if not suite.invariant else "–"),
    ]
    return [cell.replace("|", "\\|") for cell in row]


def _tick(said: bool) -> str:
    return "✓" if said else "–"
