"""The application that commands are added to, and what they have in common."""

from __future__ import annotations

from contextlib import contextmanager
from importlib.metadata import version
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from ssm_balance import BalanceError
from ssm_gramians import GramiansError

from .._errors import OptionError, ZooError

if TYPE_CHECKING:
    from collections.abc import Iterator

app = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False, rich_markup_mode="rich")


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


@contextmanager
def plain_errors(console: Console) -> Iterator[None]:
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
