"""Turn the JSON of `nox -s bench` into a Markdown report and a picture: speed and accuracy side by side.

Run `nox -s bench_report [-- JSON [FOLDER]]`: reads results/latest.json, writes report.md and report.png beside it.
"""

from __future__ import annotations

import json
import sys
from collections import defaultdict
from math import log10
from pathlib import Path
from statistics import median

RESULTS = Path(__file__).parent / "results"
# Okabe and Ito's colours, which everybody can tell apart, and a shape for each
LOOKS = [("#E69F00", "s"), ("#56B4E9", "o"), ("#009E73", "^"), ("#CC79A7", "D"), ("#D55E00", "v"), ("#0072B2", "P")]
INK, PALE = "#222222", "#8a8a8a"


def read(path):
    """Return what machine it was, and the tasks in order: (subject, task, contestants, absent)."""
    data = json.loads(path.read_text(encoding="utf-8"))
    tasks, alone = [], defaultdict(dict)
    for benchmark in data["benchmarks"]:
        group = benchmark["group"] or benchmark["name"]
        facts = benchmark["extra_info"]
        if "contestants" in facts:
            tasks.append((*split(group), facts["contestants"], facts.get("absent", [])))
        else:
            seconds = {"seconds": median(benchmark["stats"]["data"]) if "data" in benchmark["stats"] else None}
            seconds["seconds"] = seconds["seconds"] or benchmark["stats"]["median"]
            alone[group][benchmark["param"] or benchmark["name"]] = {**seconds, **facts}
    tasks += [(*split(group), contestants, []) for group, contestants in alone.items()]
    subjects = list(dict.fromkeys(task[0] for task in tasks))  # several files may share one
    return data["machine_info"], sorted(tasks, key=lambda task: subjects.index(task[0]))


def split(group):
    """Return the subject, which is what stands before the first comma, and the rest."""
    subject, _, task = group.partition(", ")
    return subject, task or subject


def peers_of(contestants):
    """Return the contestants that are not ours, none if nobody is."""
    return [name for name in contestants if not name.startswith("ours")] if "ours" in contestants else []


def library(peer):
    """Return the first word of a peer's name: one look for all that a library does."""
    return peer.replace(",", " ").split()[0]


def ratio(contestants, name):
    """How many times faster ours is."""
    return contestants[name]["seconds"] / contestants["ours"]["seconds"]


def right_digits(facts):
    """Correct digits, or what the residual says about them; None if nothing is known."""
    if "digits" in facts:
        return float(facts["digits"])
    return min(17.0, -log10(max(facts["residual"], 1e-17))) if "residual" in facts else None


def spell(seconds):
    """Return a time with three digits and the unit that suits it."""
    for unit, size in (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6)):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds / 1e-9:.3g} ns"


def accuracy(facts):
    """Return digits, residual and what else a contestant tells, in words."""
    words = [f"{facts['digits']} digits"] if "digits" in facts else []
    words += [f"residual {facts['residual']:.0e}"] if "residual" in facts else []
    told = {"seconds", "best", "digits", "residual"}
    return words + [f"{key.replace('_', ' ')} {value}" for key, value in facts.items() if key not in told]


def markdown(machine, tasks):
    """Return the report as text: a table for each subject, a row for each contestant."""
    cpu = machine.get("cpu", {}).get("brand_raw", machine.get("machine", "unknown"))
    versions = ", ".join(f"{name} {found}" for name, found in machine.get("versions", {}).items())
    lines = ["# Benchmark report", "", f"{cpu}, threads: {machine.get('threads', 'not recorded')}. {versions}.", ""]
    lines += ["Medians of rounds in which the contestants took turns in one process; *speed-up* is of ours.", ""]
    for subject in dict.fromkeys(task[0] for task in tasks):
        lines += [f"## {subject}", "", "| task | who | time | speed-up | accuracy |", "|---|---|---|---|---|"]
        for _, task, contestants, absent in (entry for entry in tasks if entry[0] == subject):
            peers = peers_of(contestants)
            for name, facts in contestants.items():
                gain = f"{ratio(contestants, name):.2f}x" if name in peers else ""
                words = ", ".join(accuracy(facts))
                lines.append(f"| {task} | {name} | {spell(facts['seconds'])} | {gain} | {words} |")
                task = ""
            lines += [f"|  | {name} | not installed |  |  |" for name in absent]
        lines.append("")
    return "\n".join(lines)


def draw(machine, tasks, path):
    """Draw one row for each race: how many times faster ours is, and how many digits are right."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    races = [task for task in tasks if peers_of(task[2])]
    rows, labels, headings = place(races)
    names = list(dict.fromkeys(library(name) for _, _, contestants, _ in races for name in peers_of(contestants)))
    looks = dict(zip(names, LOOKS * (1 + len(names) // len(LOOKS)), strict=False))
    height = max([*rows, 0]) + 1
    figure, (speed, right) = plt.subplots(
        1, 2, figsize=(11, 1.5 + 0.3 * height), sharey=True, width_ratios=[3, 2], layout="constrained"
    )
    for y, (_, _, contestants, _) in zip(rows, races, strict=True):
        draw_row(speed, right, y, contestants, looks)
    decorate(speed, right, rows, labels, headings, height)
    if not right.lines:  # races of speed alone
        right.remove()
    handles = [plt.Line2D([], [], color=c, marker=m, ls="", ms=7, label=name) for name, (c, m) in looks.items()]
    handles.insert(0, plt.Line2D([], [], color=INK, marker="|", ls="", ms=11, mew=2.5, label="ours"))
    figure.legend(handles=handles, loc="outside upper right", ncols=len(handles), frameon=False, handletextpad=0.2)
    cpu = machine.get("cpu", {}).get("brand_raw", "")
    figure.supxlabel(
        f"{cpu} · threads: {machine.get('threads', '?')} · medians", color=PALE, fontsize=8, x=0.99, ha="right"
    )
    figure.savefig(path, dpi=160)


def place(races):
    """Return a height for each race and its label, and a heading with its height for each subject."""
    rows, labels, headings, y, last = [], [], [], 0.0, None
    for subject, task, _, _ in races:
        if subject != last:
            y += 0.6 if headings else 0.0
            headings.append((y, subject))
            y, last = y + 1, subject
        rows.append(y)
        labels.append(task)
        y += 1
    return rows, labels, headings


def draw_row(speed, right, y, contestants, looks):
    """Draw the marks of one race in both panels."""
    gains = [ratio(contestants, name) for name in peers_of(contestants)]
    speed.plot(
        [min([1.0, *gains]), max([1.0, *gains])], [y, y], color="#dddddd", lw=2, zorder=1, solid_capstyle="round"
    )
    for name, gain in zip(peers_of(contestants), gains, strict=True):
        color, marker = looks[library(name)]
        speed.plot(gain, y, marker, color=color, ms=7, mec="white", mew=0.8, zorder=3)
        if (found := right_digits(contestants[name])) is not None:
            right.plot(max(found, 0), y, marker, color=color, ms=7, mec="white", mew=0.8, zorder=2)
    if (found := right_digits(contestants["ours"])) is not None:
        right.plot(max(found, 0), y, "|", color=INK, ms=13, mew=2.5, zorder=3)
    nearest = min(gains)
    speed.annotate(
        f"{nearest:.2g}x" if nearest < 100 else f"{nearest:.0f}x",
        (max([1.0, *gains]), y),
        (8, 0),
        textcoords="offset points",
        va="center",
        fontsize=8,
        color=PALE,
    )


def decorate(speed, right, rows, labels, headings, height):
    """Name the rows, and leave of the frame what helps reading."""
    speed.set_xscale("log")
    speed.axvline(1, color=INK, lw=1, zorder=2)
    low, high = speed.get_xlim()
    speed.set_xlim(min(low, 0.5), max(high * 1.6, 4))
    speed.axvspan(speed.get_xlim()[0], 1, color="#f6ecec", zorder=0, lw=0)
    speed.set_yticks(rows, labels)
    speed.set_ylim(height - 0.3, -0.7)
    speed.xaxis.set_major_formatter(lambda x, _: f"{x:g}x")
    speed.set_title("speed-up of ours over each peer   (number: over the fastest)", loc="left", fontsize=10, color=INK)
    right.set_title("correct digits, or those of the residual", loc="left", fontsize=10, color=INK)
    right.set_xlim(-0.6, 17.2)
    right.set_xticks(range(0, 17, 4))
    for axes in (speed, right):
        axes.spines[:].set_visible(False)
        axes.grid(axis="x", color="#ececec", lw=0.8, zorder=0)
        axes.tick_params(which="both", length=0, colors=INK, labelsize=9)
    for y, subject in headings:
        speed.annotate(
            subject, (0, y), (-6, 0), ("axes fraction", "data"), "offset points", weight="bold", ha="right", va="center"
        )


def main(path=RESULTS / "latest.json", folder=None):
    """Write both files beside the JSON, or into the folder."""
    path = Path(path)
    folder = Path(folder or path.parent)
    machine, tasks = read(path)
    (folder / "report.md").write_text(markdown(machine, tasks), encoding="utf-8")
    draw(machine, tasks, folder / "report.png")
    print(folder / "report.md", folder / "report.png", sep="\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
