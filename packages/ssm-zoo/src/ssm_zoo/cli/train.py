"""`ssm-zoo train`."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from .._errors import OptionError
from ..display import Display, comparison_table, result_table
from ..models import LAYERS
from ..process import keep_freed_memory
from ..reduction import METHODS
from ..tasks import score_of
from ..training import PRESETS, RunFolder, TrainConfig, compare, train
from ..training.config import CHOICES
from .app import plain_errors

if TYPE_CHECKING:
    from collections.abc import Mapping

MODEL, TRAINING, CUTS, EXTRAS, RUNS = "Model", "Training", "Reduction", "Additions to the loss", "Runs and files"


def _option(panel: str, text: str, field: str = "", *names: str) -> Any:
    """Return an option whose help ends with the default that `TrainConfig` and `PRESETS` have for `field`."""
    defaults = [getattr(TrainConfig(), field)] if field else []
    defaults += [f"{task} {preset[field]}" for task, preset in PRESETS.items() if field in preset]
    shown = f" [dim](default {'; '.join(map(str, defaults))})[/dim]" if field else ""
    return typer.Option(*names, help=text + shown, rich_help_panel=panel, show_default=False)


def train_command(
    context: typer.Context,
    *,
    task: Annotated[str, _option(MODEL, f"What to learn: {', '.join(PRESETS)}.", "task")] = "digits",
    layer: Annotated[
        str | None, _option(MODEL, f"Kind of layer: {', '.join(LAYERS)}; or one each: lru,s5.", "layer")
    ] = None,
    d_state: Annotated[str | None, _option(MODEL, "States of a layer; or one number each: 64,32.", "d_state")] = None,
    d_model: Annotated[int | None, _option(MODEL, "Features between the layers.", "d_model")] = None,
    layers: Annotated[int | None, _option(MODEL, "Number of layers.", "n_layers")] = None,
    dropout: Annotated[float | None, _option(MODEL, "Probability of dropping a feature.", "dropout")] = None,
    norm: Annotated[str | None, _option(MODEL, "Normalisation: batch, layer, rms.", "norm")] = None,
    bidirectional: Annotated[bool, _option(MODEL, "Read in both directions.", "", "--bidirectional")] = False,
    length: Annotated[int | None, _option(TRAINING, "Bytes in a sequence of a text.", "length")] = None,
    steps: Annotated[int | None, _option(TRAINING, "Length of the run.", "steps")] = None,
    batch_size: Annotated[int | None, _option(TRAINING, "Sequences in a batch.", "batch_size")] = None,
    lr: Annotated[float | None, _option(TRAINING, "Learning rate.", "lr")] = None,
    ssm_lr_factor: Annotated[float | None, _option(TRAINING, "Rate of the recurrences / lr.", "ssm_lr_factor")] = None,
    weight_decay: Annotated[float | None, _option(TRAINING, "Decay of the weights.", "weight_decay")] = None,
    schedule: Annotated[str | None, _option(TRAINING, "Of lr: constant, warmup-cosine.", "schedule")] = None,
    seed: Annotated[int | None, _option(TRAINING, "Fixes weights, data order and dropout.", "seed")] = None,
    threads: Annotated[int | None, _option(TRAINING, "0 lets PyTorch choose.", "threads")] = None,
    device: Annotated[str | None, _option(TRAINING, "Where: cpu, cuda.", "device")] = None,
    energy: Annotated[float | None, _option(CUTS, "Share of the sum of the values to keep.", "energy")] = None,
    order: Annotated[int | None, _option(CUTS, "State size of each layer after a cut, instead of --energy.")] = None,
    budget: Annotated[int | None, _option(CUTS, "State sizes of all layers together, instead of --energy.")] = None,
    balance: Annotated[
        str | None, _option(CUTS, f"What states are weighed by: {', '.join(METHODS)}.", "balance")
    ] = None,
    cuts: Annotated[int | None, _option(CUTS, "Number of cuts; 0 trains without.", "cuts")] = None,
    cut_start: Annotated[float | None, _option(CUTS, "Share of the run before the cuts.", "cut_start")] = None,
    cut_fraction: Annotated[float | None, _option(CUTS, "Share of the run in which they fall.", "cut_fraction")] = None,
    delay: Annotated[int | None, _option(CUTS, "Steps for which a thread works out a cut.", "delay")] = None,
    refinement: Annotated[
        str | None, _option(CUTS, f"What betters a cut layer: {', '.join(CHOICES['refinement'])}.", "refinement")
    ] = None,
    moments: Annotated[
        str | None, _option(CUTS, f"What the optimiser's moments do: {', '.join(CHOICES['moments'])}.", "moments")
    ] = None,
    limits: Annotated[
        bool | None,
        _option(CUTS, "Refuse bad cuts, or make every cut.", "limits", "--limits/--no-limits"),
    ] = None,
    teacher: Annotated[str | None, _option(EXTRAS, "Folder of a trained model to distil from.")] = None,
    teacher_weight: Annotated[float | None, _option(EXTRAS, "Share of the loss.", "teacher_weight")] = None,
    temperature: Annotated[float | None, _option(EXTRAS, "What logits are divided by.", "temperature")] = None,
    hankel_weight: Annotated[
        float | None, _option(EXTRAS, "Weight of the sum of Hankel singular values.", "hankel_weight")
    ] = None,
    comparison: Annotated[bool, _option(RUNS, "Also train full, and small from scratch.", "", "--compare")] = False,
    seeds: Annotated[int | None, _option(RUNS, "Seeds to compare over. [dim](default 3)[/dim]")] = None,
    out: Annotated[Path | None, _option(RUNS, "Folder. [dim](default runs/ and a name)[/dim]")] = None,
    fresh: Annotated[bool, _option(RUNS, "Overwrite what the folder holds.", "", "--fresh")] = False,
) -> None:
    """Train a classifier or a language model, and shrink its state on the way.

    The same command again goes on with a run that was stopped, and shows one that is finished.
    """
    console = Console()
    keep_freed_memory()
    with plain_errors(console):
        if seeds is not None and not comparison:
            message = f"got --seeds {seeds} without --compare; add it, or name one run by --seed"
            raise OptionError(message)
        config = _config(context.params)
        folder = out or Path("runs") / _name(config, comparison)
        console.print(f"Training in {folder}", highlight=False, soft_wrap=True)
        if comparison:
            _compare(console, config, folder, 3 if seeds is None else seeds, fresh)
        else:
            _train(console, config, folder, fresh)


def _train(console: Console, config: TrainConfig, folder: Path, fresh: bool) -> None:
    if not fresh and RunFolder(folder).result():
        console.print("This run is finished; --fresh repeats it.")
    with Display(console) as display:
        result = train(config, folder, resume=not fresh, progress=display)
    console.print(result_table(result, score_of(config.task)))
    console.print(f"Model in {folder / 'model'}, plots in {folder / 'plots'}", highlight=False, soft_wrap=True)


def _compare(console: Console, config: TrainConfig, folder: Path, seeds: int, fresh: bool) -> None:
    numbers = range(config.seed, config.seed + seeds)
    with Display(console) as display:
        comparison = compare(config, folder, numbers, resume=not fresh, progress=display)
    console.print(comparison_table(comparison))
    console.print(comparison.verdict(), highlight=False, soft_wrap=True)
    plots = f"{folder / 'summary.png'}, and in the plots/ of each run beside it"
    console.print(f"Table in {folder / 'summary.md'}; plots in {plots}", highlight=False, soft_wrap=True)


def _config(params: Mapping[str, Any]) -> TrainConfig:
    """Return the configuration: the task's preset, changed by the options that were given."""
    known = {field.name for field in fields(TrainConfig)} - {"task"}
    changes = {name: value for name, value in params.items() if name in known and value is not None}
    if params["layers"] is not None:
        changes["n_layers"] = params["layers"]
    if "d_state" in changes:
        changes["d_state"] = _sizes(changes["d_state"])
    if "," in changes.get("layer", ""):
        changes["layer"] = tuple(changes["layer"].split(","))
    if {"order", "budget"} & set(changes):  # one given replaces the default of the other
        changes.setdefault("energy", None)
    return TrainConfig.preset(params["task"], **changes)


def _sizes(text: str) -> int | tuple[int, ...]:
    try:
        sizes = tuple(int(part) for part in text.split(","))
    except ValueError as error:
        message = f"got --d-state {text!r}, wanted a number, or one per layer: 64,32"
        raise OptionError(message) from error
    return sizes if len(sizes) > 1 else sizes[0]


def _name(config: TrainConfig, comparison: bool) -> str:
    """Return a name that is the same for the same settings, so that the same command finds its run again."""
    digest = hashlib.sha256(json.dumps(asdict(config)).encode()).hexdigest()[:6]
    size = config.d_state if isinstance(config.d_state, int) else "-".join(map(str, config.d_state))
    layer = config.layer if isinstance(config.layer, str) else "-".join(config.layer)
    return f"{config.task}-{layer}{size}-{'compare-' if comparison else ''}{digest}"
