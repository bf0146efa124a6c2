"""Pictures of runs: spectra around each cut, learning over time, time per step, and a comparison on one page.

Each function returns a figure and shows nothing; `save` writes it. *Metrics* are the lines of a run's metrics.jsonl,
*cuts* those of its cuts.jsonl, and *runs* maps a name to the metrics of its runs, one per seed.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator

from .tasks import ACCURACY

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from matplotlib.axes import Axes

    from .reduction import LayerReport
    from .tasks import Score

    Metrics = Sequence[Mapping[str, Any]]
    Runs = Mapping[str, Sequence[Metrics]]

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00")
"""Okabe and Ito's palette, which colour-blind readers can tell apart."""

FLOOR = 1e-6
"""Singular values below this share of the largest are not drawn: the reducer knows them to √eps only."""


def spectra(cuts: Sequence[Mapping[str, Any]]) -> Figure:
    """Return the Hankel singular values of each layer before and after each cut, and where they were cut."""
    cuts = [cut for cut in cuts if cut["hsv"]]
    layers = list(dict.fromkeys(cut["layer"] for cut in cuts))
    steps = sorted({cut["step"] for cut in cuts})
    shades = mpl.colormaps["viridis"](np.linspace(0, 0.85, len(steps)))
    figure = Figure(figsize=(4.6 * len(layers) + 0.6, 3.8), layout="constrained")
    panels = figure.subplots(1, len(layers), sharey=True, squeeze=False)[0]
    for panel, layer in zip(panels, layers, strict=True):
        for cut in (cut for cut in cuts if cut["layer"] == layer):
            _spectrum(panel, cut, shades[steps.index(cut["step"])])
        _label(
            panel,
            title=layer,
            x="index i (two real states for each complex one)",
            y="σᵢ / σ₁" if panel is panels[0] else "",
        )
        panel.set(yscale="log", ylim=(FLOOR, 2))
        panel.legend(title="step: states", fontsize="small", title_fontsize="small")
    figure.suptitle("Hankel singular values before (line) and after (dots) each cut")
    return figure


def values(reports: Sequence[LayerReport], balance: str = "") -> Figure:
    """Return what the states of each layer are worth, and how much of the sum is left out by each size."""
    figure = Figure(figsize=(10, 3.8), layout="constrained")
    left, right = figure.subplots(1, 2)
    for k, one in enumerate(reports):
        worth = np.asarray(one.values)
        slots = np.arange(1, len(worth) + 1) / one.states_per_slot
        colour = mpl.colormaps["viridis"](0.85 * k / max(1, len(reports) - 1))
        left.plot(slots, np.maximum(worth / worth[0], FLOOR), color=colour, label=one.layer)
        rest = np.append(np.cumsum(worth[::-1])[::-1][1:], 0.0) / worth.sum()
        right.plot(slots, np.maximum(rest, FLOOR), color=colour)
    _label(left, title="What the states are worth", x="states (slots)", y="σᵢ / σ₁")
    _label(right, title="Share of the sum that a size leaves out", x="states kept", y="1 - energy")
    for panel in (left, right):
        panel.set(yscale="log", ylim=(FLOOR, 2))
    left.legend(fontsize="small")
    figure.suptitle(f"Balanced by {balance}" if balance else "")
    return figure


def learning(runs: Runs, score: Score = ACCURACY) -> Figure:
    """Return the held-out score and the state size over training time.

    A score that is a loss is also shown of the training batches; a text's run without cuts shows no state size.
    """
    sizes = {tuple(line["d_state"]) for seeds in runs.values() for metrics in seeds for line in metrics}
    if score.field == "loss" and len(sizes) == 1:
        figure = Figure(figsize=(7, 3.6), layout="constrained")
        _score(figure.subplots(), runs, score)
        return figure
    figure = Figure(figsize=(7, 5), layout="constrained")
    top, bottom = figure.subplots(2, 1, sharex=True, height_ratios=(3, 2))
    _score(top, runs, score)
    _states(bottom, runs)
    top.set_xlabel("")
    return figure


def pace(runs: Runs) -> Figure:
    """Return the time per training step over the steps."""
    figure = Figure(figsize=(7, 3.4), layout="constrained")
    _pace(figure.subplots(), runs)
    return figure


def summary(runs: Runs, accuracies: Mapping[str, Sequence[float]]) -> Figure:
    """Return accuracy and state size over time, time per step, and the final accuracies with their standard errors.

    Parameters
    ----------
    runs
        Metrics by name.
    accuracies
        Final test accuracies in [0, 1] by the same names, one per seed.
    """
    figure = Figure(figsize=(11, 7), layout="constrained")
    panels = figure.subplots(2, 2)
    _score(panels[0, 0], runs, ACCURACY)
    _final(panels[0, 1], accuracies)
    _states(panels[1, 0], runs)
    _pace(panels[1, 1], runs)
    return figure


def trade_off(
    panels: Mapping[str, Mapping[str, Sequence[tuple[float, float, float]]]],
    name: str,
    unit: str = "",
    whole: float | None = None,
) -> Figure:
    """Return the score over the states per layer, with standard errors: a panel per kind of cut, a curve per method.

    Parameters
    ----------
    panels
        By title, and in it by method: points (states, score, standard error).
    name, unit
        Of the score.
    whole
        Score of the model that was not cut: a line in every panel.
    """
    methods = list(dict.fromkeys(method for curves in panels.values() for method in curves))
    figure = Figure(figsize=(3.6 * len(panels) + 2, 4.5), layout="constrained")
    legend: dict[str, Any] = {}
    axes = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
    for panel, (title, curves) in zip(axes, panels.items(), strict=True):
        if whole is not None:
            legend["full"] = panel.axhline(whole, color="0.4", linestyle=":", label="full")
        for method, points in curves.items():
            states, score, error = np.asarray(points, dtype=float).T
            k = methods.index(method)
            style = {"fmt": "o-" if k < len(COLOURS) else "s--", "color": COLOURS[k % len(COLOURS)], "markersize": 4}
            legend[method] = panel.errorbar(states, score, error, label=method, capsize=3, alpha=0.8, **style)
        panel.set_xscale("log", base=2)
        panel.xaxis.set_major_formatter("{x:g}")
        panel.set_xticks(_apart(round(point[0]) for points in curves.values() for point in points))
        panel.tick_params("x", labelsize="small")
        _label(panel, title=title, x="states per layer")
    axes[0].set_ylabel(f"{name} ({unit})" if unit else name)
    figure.legend(legend.values(), legend.keys(), loc="outside right center", fontsize="small")
    return figure


def save(figure: Figure, file: str | Path) -> Path:
    """Write the figure to `file`, making its folder if need be; return the path."""
    file = Path(file)
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file, dpi=150)
    return file


def _spectrum(panel: Axes, cut: Mapping[str, Any], colour: Any) -> None:
    before, after = (np.asarray(cut[name]) / cut["hsv"][0] for name in ("hsv", "hsv_after"))
    sizes = f"{cut['before']} → {cut['after']}" if cut["status"] == "cut" else f"{cut['before']} {cut['status']}"
    shown = before > FLOOR
    panel.plot(1 + np.flatnonzero(shown), before[shown], color=colour, label=f"{cut['step']}: {sizes}")
    panel.plot(1 + np.arange(len(after)), after, ".", color=colour, markersize=4)
    if cut["status"] == "cut" and len(after):
        panel.axvline(len(after) + 0.5, color=colour, linewidth=0.8, linestyle=":")


def _score(panel: Axes, runs: Runs, score: Score) -> None:
    unit = f"{score.name} ({score.unit})" if score.unit else score.name
    if score.field == "loss":
        for _, x, y in _points(runs, lambda line: line["elapsed"], score.of):
            panel.plot(x, y, color="0.7", linewidth=1, label="training batches" if len(runs) == 1 else None)
    held_out = _points(runs, lambda line: line["elapsed"], lambda line: score.of(line, "eval_"))
    _curves(panel, held_out, marker=".")
    title = f"Held-out {score.name}"
    if score.field == "loss" and len(runs) == 1:
        panel.get_lines()[-1].set_label("held out")
        panel.legend()
        title = f"{score.name[0].upper()}{score.name[1:]}"
    if score.field == "loss":
        panel.set_yscale("log")
        panel.yaxis.set_major_locator(LogLocator(subs=(1, 1.5, 2, 3, 4, 6, 8)))
        panel.yaxis.set_major_formatter("{x:g}")
        panel.yaxis.set_minor_locator(NullLocator())
    _label(panel, title=title, x="training time (s)", y=unit)


def _states(panel: Axes, runs: Runs) -> None:
    sizes = list(_points(runs, lambda line: line["elapsed"], lambda line: np.mean(line["d_state"])))
    _curves(panel, sizes, drawstyle="steps-pre")
    if len(sizes) == 1:
        _, x, y = sizes[0]
        panel.annotate(f"{y[-1]:g}", (x[-1], y[-1]), (0, 5), textcoords="offset points", ha="right")
    panel.set_yscale("log", base=2)
    panel.yaxis.set_major_formatter("{x:g}")
    _label(panel, title="State size", x="training time (s)", y="states per layer, mean")


def _pace(panel: Axes, runs: Runs) -> None:
    paces = _points(runs, lambda line: line["step"], lambda line: 1e3 * line["seconds_per_step"])
    paces = list(paces)
    _curves(panel, paces)
    usual = np.percentile(np.concatenate([y for _, _, y in paces]), 98)
    panel.set_ylim(0, 1.2 * usual)  # a busy machine makes peaks that would hide the rest
    _label(panel, title="Time per training step", x="step", y="ms")


def _final(panel: Axes, accuracies: Mapping[str, Sequence[float]]) -> None:
    for k, values in enumerate(accuracies.values()):
        percent = 100 * np.asarray(values)
        error = percent.std(ddof=1) / np.sqrt(len(percent)) if len(percent) > 1 else 0.0
        panel.errorbar(k, percent.mean(), error, fmt="o", color=COLOURS[k], capsize=6, markersize=8)
        panel.plot(k + 0.15 + np.zeros(len(percent)), percent, "o", color=COLOURS[k], alpha=0.4, markersize=4)
        panel.annotate(
            f"{percent.mean():.2f}", (k, percent.mean()), (-12, 0), textcoords="offset points", ha="right", va="center"
        )
    panel.set_xticks(range(len(accuracies)), list(accuracies))
    panel.set_xlim(-0.6, len(accuracies) - 0.4)
    _label(panel, title="Final test accuracy: mean ± standard error, and each seed", y="accuracy (%)")


def _points(runs: Runs, x: Any, y: Any) -> Iterable[tuple[str, np.ndarray, np.ndarray]]:
    """Yield name, abscissae and ordinates of every run, without the lines for which y is None."""
    for name, seeds in runs.items():
        for metrics in seeds:
            points = [(x(line), y(line)) for line in metrics if y(line) is not None]
            yield (name, *np.asarray(points, dtype=float).reshape(-1, 2).T)


def _curves(panel: Axes, curves: Iterable[tuple[str, np.ndarray, np.ndarray]], **style: Any) -> None:
    """Draw the curves, one colour and one entry of the legend per name."""
    names: list[str] = []
    for name, x, y in curves:
        label = name if name not in names else None
        names += [name] if label else []
        panel.plot(
            x, y, color=COLOURS[names.index(name) % len(COLOURS)], label=label, alpha=0.8, linewidth=1.4, **style
        )
    if len(names) > 1:
        panel.legend()


def _apart(sizes: Iterable[int]) -> list[int]:
    """Return the sizes, without those so near a smaller one that their labels would overlap."""
    ticks: list[int] = []
    for size in sorted(set(sizes)):
        if not ticks or size > 1.15 * ticks[-1]:
            ticks.append(size)
    return ticks


def _label(panel: Axes, *, title: str, x: str = "", y: str = "") -> None:
    panel.set_title(title, fontsize="medium")
    panel.set_xlabel(x)
    panel.set_ylabel(y)
    panel.grid(alpha=0.3)
    panel.spines[["top", "right"]].set_visible(False)
