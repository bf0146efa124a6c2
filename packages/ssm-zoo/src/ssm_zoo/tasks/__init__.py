"""Tasks on real sequences, to classify or to foretell: `load_task` by name, or the functions themselves."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

from .._errors import OptionError, require
from .base import Split, Task
from .bytes import stdlib_bytes
from .digits import digits
from .imdb import imdb
from .listops import listops
from .score import ACCURACY, BITS_PER_BYTE, Score
from .smnist import smnist
from .text import Text

if TYPE_CHECKING:
    from collections.abc import Callable

AnyTask: TypeAlias = Task | Text
"""Classification, or language modelling."""

TASKS: dict[str, Callable[..., AnyTask]] = {
    "digits": digits,
    "smnist": smnist,
    "bytes": stdlib_bytes,
    "listops": listops,
    "imdb": imdb,
}
"""Every task by name: a function of the seed that fixes its splits, and for those in `OF_ANY_LENGTH` of a length."""

TEXTS = ("bytes",)
"""The tasks that are language modelling."""

OF_ANY_LENGTH = (*TEXTS, "imdb")
"""The tasks that can be told how long a sequence is."""


def load_task(name: str, seed: int = 0, length: int | None = None) -> AnyTask:
    """Return the task called `name`.

    Parameters
    ----------
    name
        A name in `TASKS`.
    seed
        Fixes the splits, where there is a choice.
    length
        Steps of a window of a text, or bytes of a review at most; other tasks have sequences of a length of their own.

    Raises
    ------
    OptionError
        If there is no such task, or it has a length of its own.
    """
    if name not in TASKS:
        message = f"got task {name!r}, wanted one of: {', '.join(TASKS)}"
        raise OptionError(message)
    require(
        length is None or name in OF_ANY_LENGTH,
        f"got length={length} for {name}, whose sequences have a length of their own; wanted None",
    )
    options: dict[str, Any] = {} if length is None else {"length": length}
    return TASKS[name](seed, **options)


def score_of(name: str) -> Score:
    """Return what the task called `name` is judged by."""
    return BITS_PER_BYTE if name in TEXTS else ACCURACY


__all__ = [
    "ACCURACY",
    "BITS_PER_BYTE",
    "OF_ANY_LENGTH",
    "TASKS",
    "TEXTS",
    "AnyTask",
    "Score",
    "Split",
    "Task",
    "Text",
    "digits",
    "imdb",
    "listops",
    "load_task",
    "score_of",
    "smnist",
    "stdlib_bytes",
]
