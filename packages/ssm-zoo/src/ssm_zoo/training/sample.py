"""What a language model writes while it learns."""

from __future__ import annotations

import codecs
import unicodedata
from typing import TYPE_CHECKING, Any

import torch

from .._errors import OptionError, RunError, require
from ..models import LanguageModel
from .open import open_model

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from ..tasks import Text

LENGTH, TEMPERATURE = 200, 0.9
"""Bytes of a sample; below 1, it keeps to what the model is surer of."""


def sample(model: LanguageModel, task: Text, seed: int) -> str:
    """Return a text that goes on from the task's prompt; equal models and seeds write equal texts."""
    device = next(model.parameters()).device
    prompt = torch.tensor([list(task.prompt)], device=device)
    generator = torch.Generator(device).manual_seed(seed)
    written = model.generate(prompt, LENGTH, temperature=TEMPERATURE, generator=generator)
    return readable((task.prompt + bytes(written[0].tolist())).decode("utf-8", errors="replace"))


def byte_model(folder: str | Path) -> LanguageModel:
    """Return the byte-level language model of a run, or of any other folder that `open_model` reads.

    Raises
    ------
    RunError
        If there is no such model; that of a run is there when the run is finished.
    """
    model = open_model(folder).model
    kind = type(model).__name__
    require(isinstance(model, LanguageModel), f"{folder} holds a {kind}, wanted a LanguageModel", RunError)
    size = model.config.vocab_size
    require(size == 256, f"{folder} holds a model of {size} tokens, wanted one of 256 bytes", RunError)
    return model


def write(
    model: LanguageModel, prompt: str, max_new_tokens: int, generator: torch.Generator | None = None, **options: Any
) -> Iterator[str]:
    """Yield a text that begins with the prompt, in pieces as they are written.

    Parameters
    ----------
    model
        A byte-level model.
    prompt
        At least one character.
    max_new_tokens, generator, options
        See `LanguageModel.generate`.

    Raises
    ------
    OptionError
        If the prompt is empty, or an option is outside its range.
    """
    require(bool(prompt), "got an empty prompt, wanted at least one character", OptionError)
    tokens = model.stream(torch.tensor([list(prompt.encode())]), max_new_tokens, generator=generator, **options)
    decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
    yield readable(prompt)
    for token in tokens:
        yield readable(decoder.decode(bytes(token.tolist())))
    yield readable(decoder.decode(b"", final=True))


def readable(text: str) -> str:
    """Return the text with a mark in place of what would do something to a terminal."""
    return "".join("\ufffd" if unicodedata.category(c) in ("Cc", "Cf") and c not in "\n\t" else c for c in text)
