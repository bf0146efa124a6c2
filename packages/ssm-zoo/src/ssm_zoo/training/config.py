"""What a training run is: one frozen object that fixes the result."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Literal, cast

from ssm_balance import Energy, Order

from .._errors import OptionError, require
from ..models import ClassifierConfig, LanguageModelConfig, StackConfig
from ..tasks import TEXTS, Text

if TYPE_CHECKING:
    from ssm_balance import Selection

    from ..tasks import AnyTask

PRESETS: dict[str, dict[str, Any]] = {
    "digits": {},
    "smnist": {
        "d_state": 256,
        "n_layers": 1,
        "steps": 200_000,
        "lr": 4e-4,
        "schedule": "constant",
        "eval_every": 5000,
        "checkpoint_every": 1000,
        "log_every": 100,
    },
    "bytes": {
        "layer": "mamba",
        "d_model": 128,
        "d_state": 16,
        "dropout": 0.0,
        "norm": "rms",
        "length": 256,
        "steps": 800,
        "batch_size": 16,
        "lr": 4e-3,
        "weight_decay": 0.1,
        "cuts": 0,
        "log_every": 10,
        "checkpoint_every": 100,
    },
}
"""Settings of each task that differ from the defaults of `TrainConfig`; those of smnist are the CompreSSM paper's."""


@dataclass(frozen=True)
class TrainConfig:
    """Everything that fixes a training run; equal configurations give equal metrics.

    Parameters
    ----------
    task
        A name in `ssm_zoo.tasks.TASKS`.
    layer, d_model, d_state, n_layers, dropout, norm, bidirectional
        See `ssm_zoo.models.StackConfig`.
    length
        Steps of each sequence, for texts; None for the length that the task has.
    steps, batch_size
        Length of the run; sequences in each batch.
    lr, ssm_lr_factor, weight_decay
        See `ssm_zoo.models.param_groups`; the optimiser is AdamW.
    schedule
        ``"constant"``, or ``"warmup-cosine"``: linear from 0 over the first tenth, then a half cosine to 0.
    seed
        Fixes the initial weights, the order of the data, the dropout and the validation set.
    cuts
        Reductions of the state; 0 trains the model as it is.
    cut_fraction
        Share of the run, from its beginning, over which the cuts are spread evenly.
    energy, order
        States that a cut keeps: the fewest that carry this share of the sum of the Hankel singular values, or a
        fixed number per layer. Exactly one of the two, the other None.
    balance
        ``"activations"`` (what the layer does to the signals it really sees) or ``"white"`` (to white noise).
    log_every, eval_every, checkpoint_every
        Steps between lines in the metrics; between looks at the held-out split; between checkpoints.
    threads
        Threads of the arithmetic; 0 leaves them as they are.

    Raises
    ------
    OptionError
        If a value is outside its range, or if energy and order contradict each other.
    """

    task: str = "digits"
    layer: str | tuple[str, ...] = "lru"
    d_model: int = 8
    d_state: int | tuple[int, ...] = 128
    n_layers: int = 2
    dropout: float = 0.1
    norm: Literal["batch", "layer", "rms"] = "batch"
    bidirectional: bool = False
    length: int | None = None
    steps: int = 2000
    batch_size: int = 50
    lr: float = 4e-3
    ssm_lr_factor: float = 1.0
    weight_decay: float = 0.0
    schedule: Literal["constant", "warmup-cosine"] = "warmup-cosine"
    seed: int = 0
    cuts: int = 4
    cut_fraction: float = 0.1
    energy: float | None = 0.96
    order: int | None = None
    balance: Literal["activations", "white"] = "activations"
    log_every: int = 20
    eval_every: int = 100
    checkpoint_every: int = 200
    threads: int = 0

    def __post_init__(self) -> None:
        for name in ("steps", "batch_size", "log_every", "eval_every", "checkpoint_every"):
            require(getattr(self, name) >= 1, f"got {name}={getattr(self, name)}, wanted at least 1")
        for name in ("cuts", "threads", "seed", "weight_decay"):
            require(getattr(self, name) >= 0, f"got {name}={getattr(self, name)}, wanted 0 or more")
        for name in ("lr", "ssm_lr_factor"):
            require(0 < getattr(self, name) < math.inf, f"got {name}={getattr(self, name)}, wanted a positive number")
        for name, choices in (("schedule", ("constant", "warmup-cosine")), ("balance", ("activations", "white"))):
            got = getattr(self, name)
            require(got in choices, f"got {name}={got!r}, wanted one of: {', '.join(choices)}")
        require(self.length is None or self.length >= 1, f"got length={self.length}, wanted at least 1")
        require(self.length is None or self.task in TEXTS, f"got length={self.length} for {self.task}, wanted None")
        if self.task in TEXTS:
            LanguageModelConfig(vocab_size=1, **self._architecture())
        else:
            ClassifierConfig(d_input=1, n_classes=1, **self._architecture())
        if self.cuts:
            self._check_cuts()

    def _check_cuts(self) -> None:
        energy, order = self.energy, self.order
        require((energy is None) != (order is None), f"got energy={energy} and order={order}, wanted exactly one")
        require(energy is None or 0 < energy <= 1, f"got energy={energy}, wanted a fraction in (0, 1]")
        require(order is None or order >= 1, f"got order={order}, wanted at least 1")
        require(0 < self.cut_fraction <= 1, f"got cut_fraction={self.cut_fraction}, wanted a fraction in (0, 1]")
        room = int(self.steps * self.cut_fraction)
        require(
            self.cuts <= room,
            f"got {self.cuts} cuts in the first {room} steps ({self.cut_fraction:.0%} of {self.steps}), wanted "
            "at least one step for each; use fewer cuts, more steps or a larger cut fraction",
        )

    @classmethod
    def preset(cls, task: str, **changes: Any) -> TrainConfig:
        """Return the settings of a task (see `PRESETS`) with some changed.

        Raises
        ------
        OptionError
            If there is no such task, or a value is outside its range.
        """
        if task not in PRESETS:
            message = f"got task {task!r}, wanted one of: {', '.join(PRESETS)}"
            raise OptionError(message)
        return cls(task=task, **(PRESETS[task] | changes))

    def model(self, task: AnyTask, d_state: tuple[int, ...] | None = None) -> ClassifierConfig | LanguageModelConfig:
        """Return the architecture for `task`, with the state sizes `d_state` if they are given."""
        architecture = self._architecture() | ({} if d_state is None else {"d_state": d_state})
        if isinstance(task, Text):
            return LanguageModelConfig(vocab_size=task.vocab_size, **architecture)
        return ClassifierConfig(d_input=task.d_input, n_classes=len(task.classes), **architecture)

    def selection(self) -> Selection:
        """Return the rule for the number of real states, of which a slot holds two."""
        return Energy(self.energy) if self.energy is not None else Order(2 * cast(int, self.order))

    def lr_factor(self, step: int) -> float:
        """Return what the learning rates are multiplied by in `step`, counted from 0."""
        if self.schedule == "constant":
            return 1.0
        warmup = max(1, self.steps // 10)
        if step < warmup:
            return (step + 1) / warmup
        return 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, self.steps - warmup)))

    def _architecture(self) -> dict[str, Any]:
        own = {field.name for field in fields(self)}
        return {field.name: getattr(self, field.name) for field in fields(StackConfig) if field.name in own}
