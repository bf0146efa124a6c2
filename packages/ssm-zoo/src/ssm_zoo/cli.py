"""The command `ssm-zoo`."""

from __future__ import annotations

import hashlib
import json
from contextlib import contextmanager
from dataclasses import asdict, fields
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import torch
import typer
from rich.console import Console

from ssm_balance import BalanceError
from ssm_gramians import GramiansError

from ._errors import OptionError, ZooError
from .display import Display, comparison_table, result_table
from .models import LAYERS
from .process import keep_freed_memory
from .tasks import score_of
from .training import PRESETS, RunFolder, TrainConfig, byte_model, compare, train, write

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

MODEL, TRAINING, CUTS, RUNS = "Model", "Training", "Reduction", "Runs and files"

app = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False, rich_markup_mode="rich")


def _option(panel: str, text: str, field: str = "", *names: str) -> Any:
    """Return an option whose help ends with the default that `TrainConfig` and `PRESETS` have for `field`."""
    defaults = [getattr(TrainConfig(), field)] if field else []
    defaults += [f"{task} {preset[field]}" for task, preset in PRESETS.items() if field in preset]
    shown = f" [dim](default {'; '.join(map(str, defaults))})[/dim]" if field else ""
    return typer.Option(*names, help=text + shown, rich_help_panel=panel, show_default=False)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"ssm-zoo {version('ssm-zoo')}")
        raise typer.Exit


@app.callback()
def main(
    show_version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """State-space sequence models that shrink their state while they train."""


@app.command("train")
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
    energy: Annotated[float | None, _option(CUTS, "Share of the Hankel singular values to keep.", "energy")] = None,
    order: Annotated[int | None, _option(CUTS, "Number of states to keep, instead of --energy.")] = None,
    balance: Annotated[
        str | None, _option(CUTS, "Real activations, or white noise: activations, white.", "balance")
    ] = None,
    cuts: Annotated[int | None, _option(CUTS, "Number of cuts; 0 trains without.", "cuts")] = None,
    cut_fraction: Annotated[float | None, _option(CUTS, "Share of the run in which they fall.", "cut_fraction")] = None,
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
    with _plain_errors(console):
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


@app.command("generate")
def generate_command(
    *,
    run: Annotated[Path, typer.Argument(help="Folder of a run on a text, or of a byte-level model.")],
    prompt: Annotated[str, typer.Option(help="What the text begins with.")] = "def ",
    max_new_tokens: Annotated[int, typer.Option(help="Bytes to write.")] = 400,
    temperature: Annotated[float, typer.Option(help="Below 1 keeps to what the model is surer of.")] = 0.9,
    top_k: Annotated[int | None, typer.Option(help="Draw from so many likeliest bytes only.")] = None,
    top_p: Annotated[float | None, typer.Option(help="Draw from the likeliest bytes of this probability only.")] = None,
    greedy: Annotated[bool, typer.Option("--greedy", help="Always take the likeliest byte.")] = False,
    seed: Annotated[int, typer.Option(help="Equal seeds write equal texts.")] = 0,
) -> None:
    """Let a language model write, byte by byte as it goes."""
    options = {"temperature": temperature, "top_k": top_k, "top_p": top_p, "greedy": greedy}
    with _plain_errors(Console()):
        model = byte_model(run)
        for text in write(model, prompt, max_new_tokens, torch.Generator().manual_seed(seed), **options):
            typer.echo(text, nl=False)
        typer.echo()


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
    for one, other in (("order", "energy"), ("energy", "order")):  # one given replaces the other's default
        if params[one] is not None:
            changes.setdefault(other, None)
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


@contextmanager
def _plain_errors(console: Console) -> Iterator[None]:
    """Turn errors of ours into a message and an exit code: 2 for bad options, 1 for the rest, 130 for Ctrl-C."""
    errors = Console(stderr=True)
    try:
        yield
    except KeyboardInterrupt:
        console.print("Stopped. The same command again goes on from the checkpoint.")
        raise typer.Exit(130) from None
    except (ZooError, BalanceError, GramiansError) as error:
        errors.print(f"Error: {error}", style="red", markup=False, highlight=False, soft_wrap=True)
        raise typer.Exit(2 if isinstance(error, OptionError) else 1) from None
