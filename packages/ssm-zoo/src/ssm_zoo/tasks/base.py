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
    from jaxtyping import Float, Int
    from torch import Tensor


class Split(NamedTuple):
    """Sequences and what is to be said of them.

    Classification: inputs (N, length, d_input) float32, labels (N,) int64. Language modelling: inputs and labels
    (N, length) int64, each label the input of the next step.
    """

    inputs: Float[Tensor, "N length d_input"] | Int[Tensor, "N length"]
    labels: Int[Tensor, " N"] | Int[Tensor, "N length"]


@dataclass(frozen=True)
class Task:
    """A classification problem on sequences of one length.

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
    """

    name: str
    classes: tuple[str, ...]
    train: Split
    test: Split
    validation: Split | None = None

    def __post_init__(self) -> None:
        for split in filter(None, (self.train, self.test, self.validation)):
            inputs, labels = split
            alike = inputs.ndim == 3 and inputs.shape[1:] == self.train.inputs.shape[1:]
            ok = alike and labels.shape == inputs.shape[:1]
            shapes = f"inputs {tuple(inputs.shape)} and labels {tuple(labels.shape)}"
            require(ok, f"got {shapes}, wanted (N, length, d_input) and (N,), alike in all splits", ShapeError)

    @property
    def score(self) -> Score:
        """What the task is judged by."""
        return ACCURACY

    @property
    def length(self) -> int:
        """Steps of each sequence."""
        return self.train.inputs.shape[1]

    @property
    def d_input(self) -> int:
        """Features of each step."""
        return self.train.inputs.shape[2]

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
        return Split(self.train.inputs[rows], self.train.labels[rows])


@lru_cache(maxsize=2)
def _permutation(size: int, seed: int, epoch: int) -> Int[Tensor, " size"]:
    return torch.randperm(size, generator=torch.Generator().manual_seed(seed_of(seed, epoch)))
