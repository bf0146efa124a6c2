"""How runs look in a terminal: one live line, a line per cut, a table at the end; plain lines where there is none."""

from __future__ import annotations

import time
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bars
from rich.table import Table

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rich.console import Console

    from .reduction import Cut, LayerReport
    from .tasks import Score
    from .training import Comparison, Progress, RunResult

PLAIN_INTERVAL = 5.0
"""Seconds between two plain lines."""

LIVE_INTERVAL = 0.1
"""Seconds between two changes of the live line."""

MEMORY = 0.95
"""What is shown of loss and score is their running mean with this weight on the past."""

SAMPLE_LINES = 6
"""Lines shown of a text that a model wrote."""


class Display:
    """A context that shows the runs whose progress it is called with, one after the other.

    Parameters
    ----------
    console
        Where to. If it is no terminal, no control character is written.
    """

    def __init__(self, console: Console) -> None:
        self.console = console
        self._bars = Bars(
            TextColumn("{task.description}"), BarColumn(20), TextColumn("{task.fields[text]}"), TimeRemainingColumn(),
            console=console, transient=True,
        ) if console.is_terminal else None  # fmt: skip
        self._name = ""
        self._figures: dict[str, float] = {}
        self._shown = 0.0

    def __enter__(self) -> Display:
        if self._bars:
            self._bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._bars:
            self._bars.stop()

    def __call__(self, progress: Progress) -> None:
        """Show where a run is; cheap enough for every step."""
        if progress.name != self._name:
            self._begin(progress)
        self._figures = {
            name: MEMORY * old + (1 - MEMORY) * getattr(progress, name) for name, old in self._figures.items()
        }
        for cut in progress.cuts:
            self.console.print(f"  {cut_line(cut)}", highlight=False, soft_wrap=True)
        if progress.line and "sample" in progress.line:
            self._show_sample(progress, progress.line)
        now = time.monotonic()
        if now - self._shown > (LIVE_INTERVAL if self._bars else PLAIN_INTERVAL) or progress.step == progress.steps:
            self._shown = now
            self._show(progress, now)

    def _begin(self, progress: Progress) -> None:
        self._name, self._figures = progress.name, {"loss": progress.loss, "accuracy": progress.accuracy}
        self._first, self._start, self._shown = progress.step, time.monotonic(), 0.0
        if self._bars:
            for task in self._bars.task_ids:
                self._bars.remove_task(task)
            self._task = self._bars.add_task(progress.name, total=progress.steps, completed=progress.step, text="")

    def _show(self, progress: Progress, now: float) -> None:
        states = "+".join(map(str, progress.d_state))
        score = progress.score
        shown = f"{score.name} {score.text(score.of(self._figures) or 0.0)}"
        loss = "" if score.field == "loss" else f"loss {self._figures['loss']:.3f}  "
        figures = f"{loss}{shown}  states {states}"
        text = f"step {progress.step}/{progress.steps}  {figures}"
        if self._bars:
            self._bars.update(self._task, completed=progress.step, text=text)
            return
        done = progress.step - self._first
        left = f"{(now - self._start) / done * (progress.steps - progress.step):.0f} s left" if done else ""
        self.console.print(f"{progress.name}  {text}  {left}".rstrip(), highlight=False, soft_wrap=True)

    def _show_sample(self, progress: Progress, line: Mapping[str, Any]) -> None:
        """Show what the model writes, and how well it foretells held-out text."""
        score = progress.score
        held_out = score.text(score.of(line, "eval_") or 0.0)
        self.console.print(f"step {progress.step}  held-out {score.name} {held_out}", highlight=False)
        rows = [row for row in line["sample"].expandtabs(4).splitlines() if row.strip()]
        for row in rows[:SAMPLE_LINES]:
            text = f"  │ {row}"[: self.console.width - 1]
            self.console.print(text, style="dim", markup=False, highlight=False, emoji=False, no_wrap=True)
        self.console.print()


def cut_line(cut: Cut) -> str:
    """Return one line that tells what a cut did and how well it is certified."""
    start = f"step {cut.step}  {cut.layer}  "
    if cut.status != "cut":
        return f"{start}{cut.before} states {cut.status}: {cut.reason}"
    facts = [f"{cut.before} → {cut.after} states"]
    if cut.output_error is not None:
        facts.append(f"output error {100 * cut.output_error:.2g} %")
    if cut.hinf_error is not None:
        facts.append(f"H∞ error {_gain(cut)}")
    if cut.loss_before is not None and cut.loss_after is not None:
        facts.append(f"loss {cut.loss_before:.4f} → {cut.loss_after:.4f}")
    return start + ", ".join([*facts, f"{cut.seconds:.2f} s"])


def result_table(result: RunResult, score: Score) -> Table:
    """Return the table of one run."""
    table = Table(f"test {score.name}", "states", "parameters", "training", "per step")
    value = score.of(asdict(result), "test_") or 0.0
    table.add_row(
        f"{value:.2f} {score.unit}" if score.unit else f"{value:.3f}",
        "+".join(map(str, result.d_state)),
        f"{result.parameters:,}",
        f"{result.seconds:.1f} s",
        f"{1e3 * result.seconds_per_step:.1f} ms",
    )
    return table


def comparison_table(comparison: Comparison) -> Table:
    """Return the table of a comparison: mean ± standard error over the seeds."""
    heads = ("model", "test accuracy %", "states per layer", "training s", "s per step", "speed-up")
    table = Table(*heads, caption=f"mean ± standard error over seeds {', '.join(map(str, comparison.seeds))}")
    for cells in comparison.cells():
        table.add_row(*cells)
    return table


def reduction_table(cuts: Sequence[Cut]) -> Table:
    """Return what became of each layer, with the evidence."""
    table = Table("layer", "states", "output error", "H∞ error", "condition", "loss", "")
    for cut in cuts:
        states = f"{cut.before} → {cut.after}" if cut.status == "cut" else str(cut.before)
        table.add_row(
            cut.layer,
            states,
            "" if cut.output_error is None else f"{100 * cut.output_error:.2g} %",
            "" if cut.hinf_error is None else _gain(cut),
            "" if cut.condition is None else f"{cut.condition:.2g}",
            "" if cut.loss_after is None else f"{cut.loss_before:.4f} → {cut.loss_after:.4f}",
            "" if cut.status == "cut" else f"{cut.status}: {cut.reason}",
        )
    return table


def inspection_table(reports: Sequence[LayerReport]) -> Table:
    """Return how many states of each layer carry an energy, and how many keep an output error."""
    energies, errors = list(reports[0].by_energy), list(reports[0].by_error)
    heads = [f"energy {share:g}" for share in energies] + [f"error {100 * error:g} %" for error in errors]
    table = Table("layer", "states", *heads, caption="states that suffice")
    for one in reports:
        numbers = [one.by_energy[share] for share in energies] + [one.by_error[error] for error in errors]
        table.add_row(one.layer, str(one.d_state), *map(str, numbers))
    return table


def _gain(cut: Cut) -> str:
    """Return the H∞ error, and its bound where there is one."""
    return f"{cut.hinf_error:.2g}" + ("" if cut.error_bound is None else f" ≤ {cut.error_bound:.2g}")
