"""The command `ssm-zoo`."""

from __future__ import annotations

from .app import app
from .experiment import experiment_command
from .generate import generate_command
from .reduce import inspect_command, reduce_command
from .train import train_command

for name, command in {
    "train": train_command,
    "inspect": inspect_command,
    "reduce": reduce_command,
    "generate": generate_command,
    "experiment": experiment_command,
}.items():
    app.command(name)(command)

__all__ = ["app"]
