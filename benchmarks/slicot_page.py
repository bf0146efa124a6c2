"""The table of docs/reference/slicot.md from results/slicot.json: `python benchmarks/slicot_page.py` writes it anew."""

from __future__ import annotations

import json
from itertools import groupby
from pathlib import Path

RESULTS = Path(__file__).parent / "results" / "slicot.json"
PAGE = Path(__file__).parents[1] / "docs" / "reference" / "slicot.md"
START = "<!-- slicot table: start, written by `python benchmarks/slicot_page.py` -->"
END = "<!-- slicot table: end -->"
SAME = 1e-8  # of the gain: as near as a peer has to be
HEAD = ("method", "r", "bound", "measured", "peers", "H2 error", "refined", "lower by")
# Where a peer is farther away: who says that it is the peer.
REASONS = {
    ("modal_truncation", "pyMOR"): "keeps other poles than it means to",
    ("lqg_truncation", "pyMOR"): "fewer digits of the Riccati equation",
    ("bounded_real_truncation", "pyMOR"): "fewer digits of the Riccati equation",
    ("positive_real_truncation", "pyMOR"): "fewer digits of the Riccati equation",
}


def read(path=RESULTS):
    """Return the rows."""
    return json.loads(path.read_text(encoding="utf-8"))["rows"]


def tables(rows):
    """Return the Markdown of all systems."""
    parts = []
    for name, group in groupby(rows, key=lambda row: row["system"]):
        members = list(group)
        done = [row for row in members if "refused" not in row]
        title = f"### {name}\n\n{members[0]['n']} states"
        parts.append(title + (f", gain {done[0]['gain']:.4g}." if done else "."))
        if done:
            lines = [HEAD, ["---"] * len(HEAD), *map(cells, done)]
            parts.append("\n".join("| " + " | ".join(line) + " |" for line in lines))
        parts.append("\n".join(f"* {text}" for text in refusals(members)))
    return "\n\n".join(part for part in parts if part)


def cells(row):
    """Return one line of a table."""
    h2 = row["h2"]
    if "refused" in h2:
        refined = ["–", "–", "–"]
    elif h2["before"] is None:
        refined = ["∞", spell(h2["after"]), "–"]
    else:
        refined = [spell(h2["before"]), spell(h2["after"]), lowered(h2)]
    mark = "¹" if row["kind"] == "coprime" else ""
    bound = "–" if row["bound"] is None else spell(row["bound"]) + mark
    verdict = {True: "", False: " **above**", None: "" if row["bound"] is None else " (from below)"}[row["holds"]]
    return [f"`{row['method']}`", str(row["order"]), bound, spell(row["error"]) + mark + verdict, said(row), *refined]


def said(row):
    """Return the distances of the peers, in words."""
    words = []
    for name, distance in row["peers"].items():
        if isinstance(distance, float):
            reason = REASONS.get((row["method"], name)) if distance > SAME else None
            words.append(f"{name} {distance:.0e}" + (f" ({reason})" if reason else ""))
        elif not distance.startswith("NotImplementedError"):
            words.append(f"{name}: {distance.split(':')[0]}")
    return ", ".join(words) or "–"


def refusals(rows):
    """Return each reason once, with the methods that give it."""
    reasons = {}
    for row in rows:
        if "refused" in row:
            reasons.setdefault(row["refused"].replace("|", "\\|"), []).append(f"`{row['method']}`")
        elif "refused" in row["h2"]:
            text = f"not refined, {row['h2']['refused']}"
            reasons.setdefault(text, []).append(f"`{row['method']}`")
    return [f"{', '.join(methods)}: {reason}" for reason, methods in reasons.items()]


def irka(rows):
    """Return the comparison with IRKA."""
    head = ("system", "r", "truncated", "refined", "lower by", "pyMOR's IRKA from the same start")
    lines = [head, ["---"] * len(head)]
    for row in rows:
        if row["method"] == "balanced_truncation" and "refused" not in row:
            h2 = row["h2"]
            theirs = h2.get("irka", "continuous time only")
            gain = lowered(h2)
            theirs = spell(theirs) if isinstance(theirs, float) else theirs
            lines.append([row["system"], str(row["order"]), spell(h2["before"]), spell(h2["after"]), gain, theirs])
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def lowered(h2):
    """Return by how much refinement lowers the H2 error."""
    gain = 100 * (1 - h2["after"] / h2["before"])
    return f"{gain:.4g} %" if gain > 99 else f"{gain:.2g} %"


def spell(number):
    """Return four digits."""
    return f"{number:.4g}"


def rendered(rows):
    """Return all that stands between the marks."""
    return f"## H2 refinement\n\n{irka(rows)}\n\n## Every method on every system\n\n{tables(rows)}"


def written(text, rows):
    """Return the page with the part between the marks made anew."""
    before, rest = text.split(START)
    return f"{before}{START}\n\n{rendered(rows)}\n\n{END}{rest.split(END)[1]}"


def write(results=RESULTS):
    """Write the page."""
    PAGE.write_text(written(PAGE.read_text(encoding="utf-8"), read(results)), encoding="utf-8")


if __name__ == "__main__":
    write()
