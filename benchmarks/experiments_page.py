"""The page docs/reference/experiments.md, and its plot, from results/experiments/*.jsonl, of `ssm-zoo experiment`.

`python benchmarks/experiments_page.py` writes them anew. With folders of experiments as arguments, it first takes in
their results.jsonl: those of the same name are put together, a row for each arm and seed.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from ssm_zoo import plots
from ssm_zoo.experiments import figure_of, load_experiment, table_of

HERE = Path(__file__).parent
RESULTS = HERE / "results" / "experiments"
DOCS = HERE.parent / "docs"
PAGE = DOCS / "reference" / "experiments.md"
START = "<!-- tables: start, written by `python benchmarks/experiments_page.py` -->"
END = "<!-- tables: end -->"
ORDER = ("smnist", "bytes-mamba", "bytes-mamba2", "digits-ablations")


def experiment(name):
    """Return what the file of that name describes."""
    return load_experiment(HERE / "experiments" / f"{name}.toml")


def read(name):
    """Return the rows of an experiment."""
    return [json.loads(line) for line in (RESULTS / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()]


def take_in(folder):
    """Add the rows of a folder's results.jsonl to those of its experiment, in the order of the arms and seeds."""
    name = next(name for name in sorted(ORDER, key=len, reverse=True) if folder.name.startswith(name))
    rows = read(name) if (RESULTS / f"{name}.jsonl").exists() else []
    rows += [json.loads(line) for line in (folder / "results.jsonl").read_text(encoding="utf-8").splitlines()]
    arms = [arm.label for arm in experiment(name).arms]
    kept = {(row["arm"], row["seed"]): row for row in rows if row["arm"] in arms}
    ordered = sorted(kept.values(), key=lambda row: (arms.index(row["arm"]), row["seed"]))
    (RESULTS / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ordered), encoding="utf-8")


def tables():
    """Return the Markdown of all experiments that there are results of."""
    known = [name for name in ORDER if (RESULTS / f"{name}.jsonl").exists()]
    return "\n".join("#" + table_of(experiment(name), read(name)) for name in known)


def written(text):
    """Return the page with the tables between its marks."""
    before, rest = text.split(START)
    return f"{before}{START}\n\n{tables()}\n{END}{rest.split(END)[1]}"


def draw(name):
    """Draw score over states."""
    plots.save(figure_of(experiment(name), read(name)), DOCS / "assets" / f"experiment-{name}.png")


if __name__ == "__main__":
    for argument in sys.argv[1:]:
        take_in(Path(argument))
    PAGE.write_text(written(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
    draw(ORDER[0])
