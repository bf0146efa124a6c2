"""Classification tasks on real sequences: `load_task` by name, or the functions themselves."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .._errors import OptionError
from .base import Split, Task
from .digits import digits
from .smnist import smnist

if TYPE_CHECKING:
    from collections.abc import Callable

TASKS: dict[str, Callable[[int], Task]] = {"digits": digits, "smnist": smnist}
"""Every task by name: a function of the seed that fixes its splits."""


def load_task(name: str, seed: int = 0) -> Task:
    """Return the task called `name`.

    Raises
    ------
    OptionError
        If there is no such task.
    """
    if name not in TASKS:
        message = f"got task {name!r}, wanted one of: {', '.join(TASKS)}"
        raise OptionError(message)
    return TASKS[name](seed)


__all__ = ["TASKS", "Split", "Task", "digits", "load_task", "smnist"]
