"""Language modelling: a text in windows, each of whose tokens is to be foretold from those before it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import torch

from .._errors import ShapeError, require
from .._seed import seed_of
from .base import Split
from .score import BITS_PER_BYTE, Score

if TYPE_CHECKING:
    from jaxtyping import Int
    from torch import Tensor


@dataclass(frozen=True)
class Text:
    """A language-modelling problem on bytes.

    Parameters
    ----------
    name
        The name by which `load_task` knows it.
    length
        Steps of each window.
    train
        The text to learn from, in one piece.
    test, validation
        What the final score is measured on; what is looked at while training. Both are cut into windows side by side,
        each read by itself: the first bytes of a window are foretold from little.
    prompt
        What samples begin with.
    """

    name: str
    length: int
    train: Int[Tensor, " N"]
    test: Split
    validation: Split
    prompt: bytes = b"def "

    vocab_size = 256

    def __post_init__(self) -> None:
        require(self.length >= 1, f"got length={self.length}, wanted at least 1")
        enough = self.train.ndim == 1 and len(self.train) > self.length
        wanted = f"wanted one text longer than a window of {self.length}"
        require(enough, f"got a training text of shape {tuple(self.train.shape)}, {wanted}", ShapeError)

    @property
    def score(self) -> Score:
        """What the task is judged by."""
        return BITS_PER_BYTE

    @property
    def monitor(self) -> Split:
        """The split that is looked at while training."""
        return self.validation

    @cached_property
    def fingerprint(self) -> str:
        """What tells this training text from another."""
        return hashlib.sha256(self.train.numpy().tobytes()).hexdigest()

    def batch(self, step: int, batch_size: int, seed: int) -> Split:
        """Return the batch of `step`: windows that start anywhere; a pure function of its arguments.

        Parameters
        ----------
        step
            Counted from 0.
        batch_size, seed
            Windows in the batch; what fixes where they start.

        Raises
        ------
        OptionError
            If the batch is empty.
        """
        require(batch_size >= 1, f"got batch_size={batch_size}, wanted at least 1")
        generator = torch.Generator().manual_seed(seed_of(seed, step))
        starts = torch.randint(len(self.train) - self.length, (batch_size, 1), generator=generator)
        rows = self.train[starts + torch.arange(self.length + 1)].long()  # (batch, length + 1)
        return Split(rows[:, :-1], rows[:, 1:])


def windows(text: Int[Tensor, " N"], length: int, most: int) -> Split:
    """Cut a text into windows side by side and return at most so many of them, spread evenly.

    Raises
    ------
    ShapeError
        If the text is shorter than a window.
    """
    count = (len(text) - 1) // length
    require(count >= 1, f"got a text of {len(text)} bytes, wanted more than the {length} of a window", ShapeError)
    picked = torch.arange(min(count, most)) * count // min(count, most)
    rows = text[picked[:, None] * length + torch.arange(length + 1)].long()
    return Split(rows[:, :-1], rows[:, 1:])
