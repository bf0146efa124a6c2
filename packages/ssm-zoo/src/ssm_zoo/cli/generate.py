"""`ssm-zoo generate`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import torch
import typer
from rich.console import Console

from ..training import byte_model, write
from .app import plain_errors


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
    with plain_errors(Console()):
        model = byte_model(run)
        for text in write(model, prompt, max_new_tokens, torch.Generator().manual_seed(seed), **options):
            typer.echo(text, nl=False)
        typer.echo()
