"""Batches of a task or of a text file for a model that was trained before: to look at it, to cut it, to judge that."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from .._errors import DataError, ImplementationNotAvailableError, OptionError, require
from ..models import LanguageModel, SequenceClassifier
from ..tasks import BITS_PER_BYTE, Score, Split, Text, load_task
from ..tasks.text import windows

if TYPE_CHECKING:
    from ..tasks import AnyTask
    from .open import Opened

LENGTH = 256
"""Tokens of a window of a text, unless it is named."""

HELD_OUT = 250
"""Sequences at most that a model is judged by before and after."""

NATS = Score("loss", "", "loss", 1.0)
"""The score of language models whose tokens are no bytes."""


@dataclass(frozen=True)
class Calibration:
    """What a model is calibrated on, and what it is judged by.

    Parameters
    ----------
    batches
        To calibrate on.
    held_out
        Others.
    score
        In which unit.
    """

    batches: list[Split]
    held_out: Split
    score: Score


def calibration_of(
    opened: Opened,
    *,
    task: str | None = None,
    text: str | Path | None = None,
    batches: int = 4,
    batch_size: int = 16,
    length: int | None = None,
    seed: int = 0,
) -> Calibration:
    """Return batches of a task, of a text file, or of the task that the model was trained on.

    Parameters
    ----------
    opened
        The model.
    task
        A name in `ssm_zoo.tasks.TASKS`.
    text
        A file: bytes for a model of 256 tokens; token numbers in a .npy file; or text for the ``tokenizer.json`` of the
        model's folder. Four fifths are calibrated on.
    batches, batch_size, seed
        How many, and of which sequences.
    length
        Tokens of a window of a text.

    Raises
    ------
    OptionError
        If there is nothing to calibrate on, or it does not fit the model.
    DataError
        If the file cannot be read.
    """
    require(batches >= 1 and batch_size >= 1, f"got {batches} batches of {batch_size}, wanted at least one of each")
    require(task is None or text is None, f"got a task ({task}) and a text ({text}), wanted one of them")
    if text is not None:
        return _of_text(opened, _tokens(Path(text), opened), length or LENGTH, batches, batch_size)
    config = opened.config or {}
    name = task or config.get("task")
    if name is None:
        message = f"{opened.folder} does not say what it was trained on; name a task or a text file"
        raise OptionError(message)
    same = name == config.get("task")
    length = length or (config.get("length") if same else None)
    loaded = load_task(name, config.get("seed", seed) if same else seed, length)
    _check_fit(opened.model, loaded)
    some = [loaded.batch(k, batch_size, seed) for k in range(batches)]
    return Calibration(some, Split(*(tensor[:HELD_OUT] for tensor in loaded.monitor)), loaded.score)


def _of_text(opened: Opened, tokens: Any, length: int, batches: int, batch_size: int) -> Calibration:
    model = opened.model
    require(isinstance(model, LanguageModel), f"got a text for a {type(model).__name__}, wanted a task")
    size = model.config.vocab_size
    most = int(tokens.max()) if len(tokens) else 0
    require(most < size, f"got token {most} for a model of {size} tokens; wanted numbers below that")
    most_of_it = len(tokens) * 4 // 5
    seen = windows(tokens[:most_of_it], length, batches * batch_size)
    some = [Split(*pair) for pair in zip(*(tensor.split(batch_size) for tensor in seen), strict=True)]
    rest = windows(tokens[most_of_it:], length, HELD_OUT)
    return Calibration(some, rest, BITS_PER_BYTE if size == 256 else NATS)


def _tokens(file: Path, opened: Opened) -> Any:
    if not file.is_file():
        message = f"{file} is missing; wanted a text, or token numbers in a .npy file"
        raise DataError(message)
    if file.suffix == ".npy":
        ids = np.load(file, allow_pickle=False)
        integers = ids.ndim == 1 and np.issubdtype(ids.dtype, np.integer)
        require(integers, f"{file} holds {ids.dtype} of shape {ids.shape}, wanted one row of integers", DataError)
        return torch.from_numpy(ids.astype(np.int64))
    size = getattr(opened.model.config, "vocab_size", 256)
    if size == 256:
        return torch.frombuffer(bytearray(file.read_bytes()), dtype=torch.uint8)
    return _tokenized(file, opened.folder / "tokenizer.json", size)


def _tokenized(file: Path, tokenizer: Path, size: int) -> Any:
    wanted = "wanted a tokenizer.json beside the model, or token numbers in a .npy file"
    require(tokenizer.is_file(), f"got a text for a model of {size} tokens and no {tokenizer}; {wanted}")
    try:
        from tokenizers import Tokenizer
    except ImportError as error:
        message = "a text for a model with a tokenizer needs the package tokenizers: pip install tokenizers"
        raise ImplementationNotAvailableError(message) from error
    text = file.read_text(encoding="utf-8")
    return torch.tensor(Tokenizer.from_file(str(tokenizer)).encode(text).ids)


def _check_fit(model: Any, task: AnyTask) -> None:
    if isinstance(task, Text):
        got: Any = {"tokens": task.vocab_size}
        wanted: Any = {"tokens": model.config.vocab_size} if isinstance(model, LanguageModel) else type(model).__name__
    else:
        got = {"d_input": task.d_input, "n_classes": len(task.classes)}
        sizes = ("d_input", "n_classes")
        fits = isinstance(model, SequenceClassifier)
        wanted = {name: getattr(model.config, name) for name in sizes} if fits else type(model).__name__
    require(got == wanted, f"the task {task.name} has {got}, and the model {wanted}; name another task or a text")
