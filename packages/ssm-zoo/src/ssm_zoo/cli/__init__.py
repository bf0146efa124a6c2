"""The command `ssm-zoo`."""

from __future__ import annotations

from .app import app
from .experiment import experiment_command
from .generate import generate_command
from .reduce import inspect_command, reduce_command
from .train import train_command

app.command("train")(train_command)
app.command("inspect")(inspect_command)
app.command("reduce")(reduce_command)
app.command("generate")(generate_command)
app.command("experiment")(experiment_command)

__all__ = ["app"]
