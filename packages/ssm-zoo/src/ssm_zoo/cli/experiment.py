"""`ssm-zoo experiment`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from .._errors import OptionError
from ..display import Display
from ..experiments import load_experiment, run_experiment
from ..process import keep_freed_memory
from .app import plain_errors


def experiment_command(
    *,
    file: Annotated[Path, typer.Argument(help="TOML file: task, seeds and arms.")],
    out: Annotated[
        Path | None, typer.Option(help="Folder. [dim](default runs/ and the name of the file)[/dim]")
    ] = None,
    seeds: Annotated[str | None, typer.Option(help="Some of the seeds only: 0,1.")] = None,
    only: Annotated[
        list[str] | None, typer.Option(help="Arm or kind to run, besides the full one; again for more.")
    ] = None,
    fresh: Annotated[bool, typer.Option("--fresh", help="Overwrite what the folder holds.")] = False,
) -> None:
    """Run the arms of an experiment. The same command again goes on, and repeats nothing that is finished."""
    console = Console()
    keep_freed_memory()
    with plain_errors(console):
        experiment = load_experiment(file)
        if seeds is not None:
            experiment = replace(experiment, seeds=_seeds(seeds, experiment.seeds))
        known = {name for arm in experiment.arms for name in (arm.label, arm.kind)}
        strange = sorted(set(only or ()) - known)
        if strange:
            message = f"got --only {', '.join(strange)}, wanted some of: {', '.join(sorted(known))}"
            raise OptionError(message)
        folder = out or Path("runs") / experiment.name
        count = len(experiment.arms) * len(experiment.seeds)
        console.print(f"{count} runs at most, in {folder}", highlight=False, soft_wrap=True)
        with Display(console) as display:
            run_experiment(experiment, folder, only=only or (), resume=not fresh, progress=display)
        console.print((folder / "table.md").read_text(encoding="utf-8"), markup=False, highlight=False, soft_wrap=True)
        console.print(f"Table, results.jsonl and plot.png in {folder}", highlight=False, soft_wrap=True)


def _seeds(text: str, known: tuple[int, ...]) -> tuple[int, ...]:
    try:
        seeds = tuple(int(part) for part in text.split(","))
    except ValueError:
        seeds = ()
    if not seeds or not set(seeds) <= set(known):
        message = f"got --seeds {text}, wanted some of: {', '.join(map(str, known))}"
        raise OptionError(message)
    return seeds
