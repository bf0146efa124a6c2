"""What a task is: sequences, labels, and a rule that says which of them make the batch of a given step."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

import torch

from .._errors import OptionError, ShapeError, require
from .._seed import seed_of
from .score import ACCURACY, Score

if TYPE_CHECKING:
    from collections.abc import Iterator

    from jaxtyping import Float, Int
    from torch import Tensor


class Split(NamedTuple):
    """Sequences and what is to be said of them.

    Classification: inputs (N, length, d_input) float32, or tokens (N, length) of which 0 fills up the end; labels (N,)
    int64. Language modelling: inputs and labels (N, length) int64, each label the input of the next step.
    """

    inputs: Float[Tensor, "N length d_input"] | Int[Tensor, "N length"]
    labels: Int[Tensor, " N"] | Int[Tensor, "N length"]

    @property
    def lengths(self) -> Int[Tensor, " N"] | None:
        """Real steps of each sequence of tokens to be classified; None where all are."""
        if self.inputs.ndim != 2 or self.labels.ndim != 1:
            return None
        return (self.inputs != 0).sum(1)

    def ready(self) -> Split:
        """Return tokens as int64 and no longer than the longest sequence; anything else as it is."""
        lengths = self.lengths
        return self if lengths is None else Split(self.inputs[:, : int(lengths.max())].long(), self.labels)

    def pieces(self, size: int) -> Iterator[Split]:
        """Yield the sequences in order, so many at a time, ready for a model."""
        for inputs, labels in zip(self.inputs.split(size), self.labels.split(size), strict=True):
            yield Split(inputs, labels).ready()

    def parted(self, seed: int) -> tuple[Split, Split]:
        """Return nine tenths to learn from, and the tenth for validation that the seed picks."""
        order = torch.randperm(len(self.labels), generator=torch.Generator().manual_seed(seed_of(seed)))
        held_out, kept = order[: len(order) // 10], order[len(order) // 10 :]
        return Split(self.inputs[kept], self.labels[kept]), Split(self.inputs[held_out], self.labels[held_out])

    def to(self, device: torch.device | str) -> Split:
        """Return the same on another device."""
        return Split(self.inputs.to(device), self.labels.to(device))


@dataclass(frozen=True)
class Task:
    """A classification problem, on sequences of one length or on tokens.

    Parameters
    ----------
    name
        The name by which `load_task` knows it.
    classes
        Names of the classes; label k means ``classes[k]``.
    train, test
        What is learnt from, and what the final accuracy is measured on.
    validation
        What is looked at while training; without it there is nothing to look at but the test set.
    vocab_size
        Of tokens: their number, the 0 that fills up included. None for signals.
    """

    name: str
    classes: tuple[str, ...]
    train: Split
    test: Split
    validation: Split | None = None
    vocab_size: int | None = None

    def __post_init__(self) -> None:
        for split in filter(None, (self.train, self.test, self.validation)):
            inputs, labels = split
            alike = inputs.ndim == 2 if self.tokens else inputs.shape[1:] == self.train.inputs.shape[1:]
            ok = alike and inputs.ndim == 3 - self.tokens and labels.shape == inputs.shape[:1]
            shapes = f"inputs {tuple(inputs.shape)} and labels {tuple(labels.shape)}"
            wanted = "(N, length)" if self.tokens else "(N, length, d_input)"
            require(ok, f"got {shapes}, wanted {wanted} and (N,), alike in all splits", ShapeError)

    @property
    def score(self) -> Score:
        """What the task is judged by."""
        return ACCURACY

    @property
    def length(self) -> int:
        """Steps of each sequence."""
        return self.train.inputs.shape[1]

    @property
    def tokens(self) -> bool:
        """Whether the sequences are tokens."""
        return self.vocab_size is not None

    @property
    def d_input(self) -> int:
        """Features of each step, or the number of tokens."""
        return self.train.inputs.shape[2] if self.vocab_size is None else self.vocab_size

    @property
    def monitor(self) -> Split:
        """The split that is looked at while training."""
        return self.validation or self.test

    def batch(self, step: int, batch_size: int, seed: int) -> Split:
        """Return the batch of `step`: a pure function of its arguments, whatever was asked before.

        Every epoch goes through the training set in an order of its own; the last incomplete batch is left out.

        Parameters
        ----------
        step
            Counted from 0.
        batch_size, seed
            Sequences in the batch; what fixes the orders.

        Raises
        ------
        OptionError
            If the batch is larger than the training set.
        """
        size = len(self.train.labels)
        if not 1 <= batch_size <= size:
            message = f"got batch_size={batch_size}, wanted 1 to {size}, the training sequences of {self.name}"
            raise OptionError(message)
        epoch, position = divmod(step, size // batch_size)
        rows = _permutation(size, seed, epoch)[position * batch_size : (position + 1) * batch_size]
        return Split(self.train.inputs[rows], self.train.labels[rows]).ready()


@lru_cache(maxsize=2)
def _permutation(size: int, seed: int, epoch: int) -> Int[Tensor, " size"]:
    return torch.randperm(size, generator=torch.Generator().manual_seed(seed_of(seed, epoch)))
