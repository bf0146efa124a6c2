"""What came out: results.jsonl, table.md and plot.png, from whatever runs are finished."""

from __future__ import annotations

import json
import math
import statistics
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .. import plots
from ..tasks import Score, score_of
from ..training import RunFolder

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.figure import Figure

    from .file import Arm, Experiment


PANELS = {"post": "cut after training", "late": "cut late", "reduced": "cut early"} | dict.fromkeys(
    ("small", "distilled"), "cut early"
)
"""The panel of the plot in which a kind of arm is: small models are the rivals of early cuts."""


def run_name(arm: Arm, seed: int) -> str:
    """Return the name of the folder of a run."""
    return f"{arm.label}-seed{seed}"


def rows_of(experiment: Experiment, folder: str | Path) -> list[dict[str, Any]]:
    """Return one row for each finished run: arm, seed, score, states, seconds, and the seconds that cuts took."""
    rows = []
    for arm in experiment.arms:
        score = score_of(arm.config.task)
        for seed in experiment.seeds:
            run = RunFolder(Path(folder) / run_name(arm, seed))
            result = run.result()
            if result is None:
                continue
            cuts = run.cuts()
            rows.append(
                {
                    "arm": arm.label,
                    "family": arm.family,
                    "kind": arm.kind,
                    "balance": arm.config.balance if cuts else None,
                    "size": arm.size,
                    "seed": seed,
                    score.name: score.of(result, "test_"),
                    "states": statistics.fmean(result["d_state"]),
                    "reduction_seconds": sum(cut["seconds"] for cut in cuts),
                    "refused": sum(cut["status"] == "refused" for cut in cuts),
                    **result,
                }
            )
    return rows


def write_report(experiment: Experiment, folder: str | Path) -> list[dict[str, Any]]:
    """Write results.jsonl, table.md and plot.png of all runs that are finished, and return the rows."""
    folder, rows = Path(folder), rows_of(experiment, folder)
    (folder / "results.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    (folder / "table.md").write_text(table_of(experiment, rows), encoding="utf-8")
    if any(row["size"] for row in rows):
        plots.save(figure_of(experiment, rows), folder / "plot.png")
    return rows


def figure_of(experiment: Experiment, rows: Sequence[dict[str, Any]]) -> Figure:
    """Return the score over the states, a panel for each kind of arm that was run at several sizes."""
    score = score_of(experiment.arms[0].config.task)
    whole = [row[score.name] for row in rows if row["kind"] == "full"]
    mean = statistics.fmean(whole) if whole else None
    return plots.trade_off(
        _panels([row for row in rows if row["size"]], score.name), f"test {score.name}", score.unit, mean
    )


def table_of(experiment: Experiment, rows: Sequence[dict[str, Any]]) -> str:
    """Return the table in Markdown: means and standard errors, and every seed."""
    task = experiment.arms[0].config.task
    score = score_of(task)
    full = [row["seconds"] for row in rows if row["kind"] == "full"]
    unit = f" {score.unit}" if score.unit else ""
    head = f"| arm | states | test {score.name}{unit} | each seed | training s | speed-up | cuts / training |"
    lines = [head, "|---|---|---|---|---|---|---|"]
    for arm in experiment.arms:
        own = [row for row in rows if row["arm"] == arm.label]
        if own:
            lines.append(_line(arm.label, own, score.name, ".2f" if score.unit else ".4f", full))
    done = f"{len(rows)} of {len(experiment.arms) * len(experiment.seeds)} runs finished"
    seeds = ", ".join(map(str, experiment.seeds))
    about = [f"# {experiment.name}", "", *([experiment.note.strip(), ""] if experiment.note else [])]
    means = f"Mean ± standard error over seeds {seeds}; {done}."
    return "\n".join([*about, *summary_of(rows, score), means, "", *lines, ""])


def summary_of(rows: Sequence[dict[str, Any]], score: Score) -> list[str]:
    """Return a table for each kind of arm, by family and size, as lines of Markdown: less the full run of the seed."""
    form, lines = ".2f" if score.unit else ".4f", []
    whole = {row["seed"]: row[score.name] for row in rows if row["kind"] == "full"}
    for kind in dict.fromkeys(row["kind"] for row in rows if row["size"]):
        own = [row for row in rows if row["kind"] == kind]
        sizes = list(dict.fromkeys(row["size"] for row in own))
        lines += [f"| {kind} | " + " | ".join(sizes) + " |", "|---" * (len(sizes) + 1) + "|"]
        for family in dict.fromkeys(row["family"] for row in own):
            chosen = [[row for row in own if (row["family"], row["size"]) == (family, size)] for size in sizes]
            gains = [[row[score.name] - whole.get(row["seed"], 0.0) for row in some] for some in chosen]
            cells = [_mean(some, f"+{form}" if whole else form) for some in gains]
            lines.append(f"| {family.removeprefix(kind + '-')} | " + " | ".join(cells) + " |")
        lines.append("")
    if not whole:
        return lines
    full = f"{_mean(list(whole.values()), form)} {score.unit}".rstrip()
    return [f"Full: {full}. What others have more or less than the full run of their seed:", "", *lines]


def _mean(scores: Sequence[float], form: str) -> str:
    if not scores:
        return ""
    error = f" ± {_standard_error(scores):{form.lstrip('+')}}" if len(scores) > 1 else ""
    return f"{statistics.fmean(scores):{form}}{error}"


def _line(label: str, rows: Sequence[dict[str, Any]], name: str, form: str, full: Sequence[float]) -> str:
    scores = [row[name] for row in rows]
    seconds = statistics.fmean(row["seconds"] for row in rows)
    share = sum(row["reduction_seconds"] for row in rows) / sum(row["seconds"] for row in rows)
    cells = [
        label,
        f"{statistics.fmean(row['states'] for row in rows):.1f}",
        _mean(scores, form),
        " ".join(f"{row['seed']}: {row[name]:{form}}" for row in rows),
        f"{seconds:.1f}",
        f"{statistics.fmean(full) / seconds:.2f}x" if full else "",
        f"{100 * share:.2f} %" if share else "",
    ]
    refused = sum(row["refused"] for row in rows)
    cells[0] += f" ({refused} refused)" if refused else ""
    return "| " + " | ".join(cells) + " |"


def _panels(rows: Sequence[dict[str, Any]], name: str) -> dict[str, dict[str, list[tuple[float, float, float]]]]:
    """Return by panel and family the points (states, score, standard error)."""
    arms: dict[str, dict[str, dict[str, list[dict[str, Any]]]]] = {}
    for row in rows:
        kind = PANELS[row["kind"]]
        family = row["family"].removeprefix(row["kind"] + "-")
        arms.setdefault(kind, {}).setdefault(family, {}).setdefault(row["arm"], []).append(row)
    return {
        kind: {family: sorted(_point(own, name) for own in sizes.values()) for family, sizes in families.items()}
        for kind, families in arms.items()
    }


def _point(rows: Sequence[dict[str, Any]], name: str) -> tuple[float, float, float]:
    scores = [row[name] for row in rows]
    return statistics.fmean(row["states"] for row in rows), statistics.fmean(scores), _standard_error(scores)


def _standard_error(values: Sequence[float]) -> float:
    return statistics.stdev(values) / math.sqrt(len(values)) if len(values) > 1 else 0.0
