"""`ssm-zoo inspect` and `ssm-zoo reduce`: models that were trained before."""

from __future__ import annotations

import json
import math
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from rich.console import Console

from .. import plots
from .._errors import OptionError, ReductionError, UnsupportedError, require
from ..display import inspection_table, reduction_table
from ..layers import Mamba2
from ..process import keep_freed_memory
from ..reduction import (
    METHODS,
    REFINEMENTS,
    Limits,
    Mamba2Adapter,
    Slots,
    Uniform,
    adapter_for,
    inspect_model,
    reduce_model,
)
from ..training import Opened, calibration_of, evaluate, new_folder, open_model, save_model_as
from ..training.cutting import check_how_many, check_method, selection_from
from .app import plain_errors

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import nn

    from ..reduction import Adapter, Cut
    from ..reduction.selection import HowMany
    from ..training import Calibration

DATA, CUTS, FILES = "Data to calibrate on", "Reduction", "Files"

Source = Annotated[Path, typer.Argument(help="Folder of a run, of save_pretrained, of mamba_ssm or of Transformers.")]
Balance = Annotated[str, typer.Option(help=f"What states are weighed by: {', '.join(METHODS)}.", rich_help_panel=CUTS)]
Task = Annotated[str | None, typer.Option(help="Name of a task; that of the run by default.", rich_help_panel=DATA)]
TextFile = Annotated[
    Path | None, typer.Option("--text", help="A text, or token numbers in a .npy file.", rich_help_panel=DATA)
]
Batches = Annotated[int, typer.Option(help="How many batches.", rich_help_panel=DATA)]
BatchSize = Annotated[int, typer.Option(help="Sequences in a batch.", rich_help_panel=DATA)]
Length = Annotated[int | None, typer.Option(help="Tokens in a sequence of a text.", rich_help_panel=DATA)]
Seed = Annotated[int, typer.Option(help="Which sequences.", rich_help_panel=DATA)]


def inspect_command(
    *,
    source: Source,
    balance: Balance = "activations",
    energy: Annotated[
        list[float] | None, typer.Option(help="Share of the sum of the values to keep; again for more.")
    ] = None,
    error: Annotated[
        list[float] | None, typer.Option(help="Output error of a layer, of the output; again for more.")
    ] = None,
    task: Task = None,
    text: TextFile = None,
    batches: Batches = 4,
    batch_size: BatchSize = 16,
    length: Length = None,
    seed: Seed = 0,
    plot: Annotated[
        Path | None, typer.Option(help="PNG file. [dim](default the name of the folder and -values.png)[/dim]")
    ] = None,
    as_json: Annotated[Path | None, typer.Option("--json", help="Write all values to this file too.")] = None,
) -> None:
    """Show what the states of each layer are worth, and how many a wanted energy or error takes."""
    console = Console()
    keep_freed_memory()
    with plain_errors(console):
        opened = open_model(source)
        check_method(opened.model.config.names, _known(balance))
        data = {"task": task, "text": text, "length": length, "seed": seed}
        calibration = calibration_of(opened, batches=batches, batch_size=batch_size, **data)  # type: ignore[arg-type]
        given = {"energies": energy, "errors": error}
        wanted: Any = {name: values for name, values in given.items() if values}
        reports = inspect_model(opened.model, calibration.batches, method=balance, **wanted)
        console.print(inspection_table(reports))
        file = plot or Path(f"{source.resolve().name}-values.png")
        plots.save(plots.values(reports, balance), file)
        console.print(f"Plot in {file}", highlight=False, soft_wrap=True)
        if as_json:
            as_json.write_text(json.dumps([asdict(report) for report in reports], indent=2) + "\n", encoding="utf-8")


def reduce_command(
    *,
    source: Source,
    out: Annotated[Path, typer.Option(help="Folder to write the smaller model to.", rich_help_panel=FILES)],
    order: Annotated[int | None, typer.Option(help="State size of each layer.", rich_help_panel=CUTS)] = None,
    energy: Annotated[
        float | None, typer.Option(help="Share of the sum of the values to keep.", rich_help_panel=CUTS)
    ] = None,
    budget: Annotated[
        int | None, typer.Option(help="State sizes of all layers together.", rich_help_panel=CUTS)
    ] = None,
    balance: Balance = "activations",
    refinement: Annotated[
        str | None, typer.Option(help=f"What betters a cut layer: {', '.join(REFINEMENTS)}.", rich_help_panel=CUTS)
    ] = None,
    max_error: Annotated[
        float, typer.Option(help="Refuse to cut a layer whose output errs more than this.", rich_help_panel=CUTS)
    ] = 0.5,
    limits: Annotated[
        bool, typer.Option("--limits/--no-limits", help="Refuse bad cuts, or make every cut.", rich_help_panel=CUTS)
    ] = True,
    task: Task = None,
    text: TextFile = None,
    batches: Batches = 4,
    batch_size: BatchSize = 16,
    length: Length = None,
    seed: Seed = 0,
    format: Annotated[  # noqa: A002
        str, typer.Option(help="same (as the source), own, hf, mamba_ssm.", rich_help_panel=FILES)
    ] = "same",
) -> None:
    """Shrink the state of a trained model, without training, and write it in the format that it came in."""
    console = Console()
    keep_freed_memory()
    with plain_errors(console):
        known = ("same", "own", "hf", "mamba_ssm")
        require(format in known, f"got --format {format}, wanted one of: {', '.join(known)}")
        folder, opened = new_folder(out), open_model(source)
        names = opened.model.config.names
        check_how_many(names, energy, order, budget)
        check_method(names, _known(balance))
        form: Any = opened.format if format == "same" else format
        rule = selection_from(names, balance, energy, order, budget)
        selection = _uniform(rule, budget, len(names)) if form != "own" else rule
        data = {"task": task, "text": text, "length": length, "seed": seed}
        calibration = calibration_of(opened, batches=batches, batch_size=batch_size, **data)  # type: ignore[arg-type]
        bounds = Limits(output_error=max_error) if limits else Limits(math.inf, condition=math.inf)
        how: dict[str, Any] = {"method": balance, "refinement": refinement, "limits": bounds, "adapter": _adapter(form)}
        cuts = _reduce(console, opened, calibration, selection, how)
        _write(opened, folder, form, cuts)
        console.print(f"Model in {folder}, evidence in {folder / 'cuts.jsonl'}", highlight=False, soft_wrap=True)


def _reduce(
    console: Console,
    opened: Opened,
    calibration: Calibration,
    selection: HowMany,
    how: dict[str, Any],
) -> list[Cut]:
    model, score = opened.model, calibration.score
    before = _score(opened, calibration)
    cuts = reduce_model(model, calibration.batches, selection, **how)
    console.print(reduction_table(cuts))
    after = _score(opened, calibration)
    told = " → ".join(score.text(value, more=1) for value in (before, after))
    console.print(f"held-out {score.name}: {told}", highlight=False)
    return cuts


def _score(opened: Opened, calibration: Calibration) -> float:
    loss, accuracy = evaluate(opened.model, calibration.held_out)
    return calibration.score.of({"loss": loss, "accuracy": accuracy}) or 0.0


def _write(opened: Opened, folder: Path, form: Any, cuts: list[Cut]) -> None:
    kept = [f"{cut.layer} was {cut.status}: {cut.reason}" for cut in cuts if cut.status != "cut"]
    if len(kept) == len(cuts):
        message = f"no layer was cut, nothing was written: {'; '.join(kept)}"
        raise ReductionError(message)
    if form != "own" and len(set(opened.model.config.states)) > 1:
        message = (
            f"{'; '.join(kept)}; the format {form} holds one size for all layers: try more states, or --format own"
        )
        raise UnsupportedError(message)
    save_model_as(opened, folder, form)
    lines = "".join(json.dumps(asdict(cut)) + "\n" for cut in cuts)
    (folder / "cuts.jsonl").write_text(lines, encoding="utf-8")


def _uniform(rule: HowMany, budget: int | None, layers: int) -> HowMany:
    """Return a rule that gives all layers one size."""
    return Uniform(rule) if budget is None else Slots(budget // layers)  # type: ignore[arg-type]


def _adapter(form: Literal["own", "hf", "mamba_ssm"]) -> Callable[[nn.Module], Adapter]:
    """Return what makes adapters: the formats of others have no place for mixed B and C."""
    if form == "own":
        return adapter_for
    return lambda layer: Mamba2Adapter(layer, form="keep") if isinstance(layer, Mamba2) else adapter_for(layer)


def _known(balance: str) -> str:
    if balance not in METHODS:
        message = f"got --balance {balance}, wanted one of: {', '.join(METHODS)}"
        raise OptionError(message)
    return balance
