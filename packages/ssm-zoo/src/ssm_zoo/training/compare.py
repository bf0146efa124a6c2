"""Full, reduced and small from scratch, seed by seed: what a reduction is worth."""

from __future__ import annotations

import json
import math
import statistics
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .. import plots
from .._errors import OptionError
from .folder import RunFolder
from .loop import Progress, RunResult, train

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from .config import TrainConfig

KINDS = ("full", "reduced", "small")
"""No cuts; cuts while training; no cuts and, from the start, the states that the reduced run of the seed ended with."""


@dataclass(frozen=True)
class Comparison:
    """The results of all runs, by kind and in the order of the seeds.

    Parameters
    ----------
    seeds
        The seeds, at least one.
    results
        For each of `KINDS`, one result per seed.
    """

    seeds: tuple[int, ...]
    results: dict[str, tuple[RunResult, ...]]

    def rows(self) -> list[dict[str, Any]]:
        """Return one row per kind: accuracy and state size (mean, standard error), seconds, speed-up over full."""
        full = _mean(result.seconds for result in self.results["full"])
        return [self._row(kind, full) for kind in KINDS]

    def verdict(self) -> str:
        """Return whether reduced is as accurate as full within a standard error, its size and its speed."""
        pairs = zip(self.results["reduced"], self.results["full"], strict=True)
        gains = [100 * (reduced.test_accuracy - full.test_accuracy) for reduced, full in pairs]
        gain, error = _mean(gains), _standard_error(gains)
        full, reduced, _ = self.rows()
        share = full["d_state"] / reduced["d_state"]
        doubt = f" ± {error:.2f}" if error is not None else " (one seed: no standard error)"
        word = (
            "at least as accurate as"
            if gain >= 0
            else "within one standard error of"
            if error is not None and gain >= -error
            else "less accurate than"
        )
        return (
            f"Reduced is {word} full: {gain:+.2f}{doubt} points, paired by seed, "
            f"with 1/{share:.1f} of the state and in 1/{reduced['speedup']:.2f} of the time."
        )

    def markdown(self) -> str:
        """Return the table and the verdict."""
        head = ["| model | test accuracy % | states | training s | s/step | speed-up |", "|---|---|---|---|---|---|"]
        rows = ["| " + " | ".join(cells) + " |" for cells in self.cells()]
        seeds = ", ".join(map(str, self.seeds))
        return "\n".join([*head, *rows, "", f"Mean ± standard error over seeds {seeds}.", "", self.verdict(), ""])

    def cells(self) -> list[tuple[str, ...]]:
        """Return the table's rows as text: model, accuracy, states, seconds, seconds per step, speed-up."""
        return [
            (
                row["model"],
                _plus_minus(100 * row["accuracy"], row["accuracy_error"] and 100 * row["accuracy_error"], ".2f"),
                _plus_minus(row["d_state"], row["d_state_error"], ".1f"),
                f"{row['seconds']:.1f}",
                f"{row['seconds_per_step']:.4f}",
                f"{row['speedup']:.2f}x",
            )
            for row in self.rows()
        ]

    def _row(self, kind: str, full_seconds: float) -> dict[str, Any]:
        results = self.results[kind]
        states = [_mean(result.d_state) for result in results]
        seconds = _mean(result.seconds for result in results)
        return {
            "model": kind,
            "accuracy": _mean(result.test_accuracy for result in results),
            "accuracy_error": _standard_error([result.test_accuracy for result in results]),
            "d_state": _mean(states),
            "d_state_error": _standard_error(states),
            "seconds": seconds,
            "seconds_per_step": _mean(result.seconds_per_step for result in results),
            "speedup": full_seconds / seconds,
        }


def compare(
    config: TrainConfig,
    folder: str | Path,
    seeds: Sequence[int] = (0, 1, 2),
    *,
    resume: bool = True,
    progress: Callable[[Progress], None] | None = None,
) -> Comparison:
    """Train full, reduced and small from scratch for every seed; write and return the comparison.

    The three runs of a seed follow each other, so that they share the weather of the machine. Each has a folder of its
    own in `folder`, beside ``summary.json``, ``summary.md`` and ``summary.png``; finished runs are not repeated.

    Parameters
    ----------
    config
        The reduced run; its seed is replaced.
    folder
        Where to.
    seeds
        One comparison each; a standard error needs at least two.
    resume, progress
        See `train`.

    Raises
    ------
    OptionError
        If there are no seeds, or the configuration has no cuts.
    """
    if not seeds or not config.cuts:
        message = f"got {len(seeds)} seeds and {config.cuts} cuts, wanted at least one of each to compare"
        raise OptionError(message)
    folder = Path(folder)
    results: dict[str, list[RunResult]] = {kind: [] for kind in KINDS}
    for seed in seeds:
        reduced = replace(config, seed=seed)
        for kind in KINDS:
            run = reduced if kind == "reduced" else replace(reduced, cuts=0)
            if kind == "small":
                run = replace(run, d_state=results["reduced"][-1].d_state)
            path = folder / f"{kind}-seed{seed}"
            results[kind].append(train(run, path, resume=resume, progress=progress))
    comparison = Comparison(tuple(seeds), {kind: tuple(some) for kind, some in results.items()})
    _write(comparison, folder)
    return comparison


def _write(comparison: Comparison, folder: Path) -> None:
    results = {kind: [asdict(result) for result in some] for kind, some in comparison.results.items()}
    summary = {
        "seeds": comparison.seeds,
        "rows": comparison.rows(),
        "verdict": comparison.verdict(),
        "results": results,
    }
    (folder / "summary.json").write_text(json.dumps(summary, indent=2) + "\n", encoding="utf-8")
    (folder / "summary.md").write_text(comparison.markdown(), encoding="utf-8")
    runs = {kind: [RunFolder(folder / f"{kind}-seed{seed}").lines() for seed in comparison.seeds] for kind in KINDS}
    accuracies = {kind: [result.test_accuracy for result in some] for kind, some in comparison.results.items()}
    plots.save(plots.summary(runs, accuracies), folder / "summary.png")


def _mean(values: Any) -> float:
    return statistics.fmean(values)


def _standard_error(values: Sequence[float]) -> float | None:
    return statistics.stdev(values) / math.sqrt(len(values)) if len(values) > 1 else None


def _plus_minus(value: float, error: float | None, form: str) -> str:
    return f"{value:{form}}" if error is None else f"{value:{form}} ± {error:{form}}"
