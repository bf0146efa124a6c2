"""What a training run is: one frozen object that fixes the result."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Literal, get_args

from .._errors import OptionError, require
from ..models import ClassifierConfig, LanguageModelConfig, StackConfig
from ..reduction import METHODS, REFINEMENTS, Moments
from ..tasks import OF_ANY_LENGTH, TEXTS, Text
from .cutting import check_cuts, check_extras
from .presets import PRESETS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..tasks import AnyTask

CHOICES: dict[str, tuple[str, ...]] = {
    "schedule": ("constant", "warmup-cosine"),
    "balance": tuple(METHODS),
    "refinement": ("none", *REFINEMENTS),
    "moments": get_args(Moments),
}
"""What options of which there are a few can be."""


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
        Steps of each sequence, for texts and reviews; None for the length that the task has.
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
    cut_start, cut_fraction
        Share of the run after which cuts begin, and share of the run over which they are spread evenly from there on;
        the last falls at the end of that share.
    energy, order, budget
        What a cut keeps: the fewest states that carry this share of the sum of the values, a `d_state` for each layer,
        or a sum of the `d_state` of all layers. Exactly one of the three, the others None.
    balance
        A name in `ssm_zoo.reduction.METHODS`: ``"activations"`` (what the layer does to the signals it really sees),
        ``"adjoints"`` (that, and the gradients), ``"white"`` (white noise), or a rival.
    delay
        Steps for which a thread works a cut out while training goes on; 0 works it out at once.
    refinement
        What betters a cut layer: a name in `ssm_zoo.reduction.REFINEMENTS`, or ``"none"``.
    moments
        What becomes of the optimiser's moments: `ssm_zoo.reduction.Moments`.
    limits
        Refuse cuts that err too much (`ssm_zoo.reduction.Limits`); False makes every cut, as rivals do.
    hankel_weight
        Weight in the loss of the sum of all Hankel singular values of the layers; 0 leaves it out.
    teacher, teacher_weight, temperature
        Folder of a trained model to distil from, None for no teacher; its weight in the loss; see
        `ssm_zoo.training.distillation`.
    device
        Where the model trains: ``"cpu"``, ``"cuda"``.
    log_every, eval_every, checkpoint_every
        Steps between lines in the metrics; between looks at the held-out split; between checkpoints.
    threads
        Threads of the arithmetic; 0 leaves them as they are.

    Raises
    ------
    OptionError
        If a value is outside its range, or if not exactly one of energy, order and budget is given.
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
    cut_start: float = 0.0
    cut_fraction: float = 0.1
    energy: float | None = 0.96
    order: int | None = None
    budget: int | None = None
    balance: str = "activations"
    delay: int = 0
    refinement: str = "none"
    moments: Moments = "transport"
    limits: bool = True
    hankel_weight: float = 0.0
    teacher: str | None = None
    teacher_weight: float = 0.5
    temperature: float = 2.0
    device: str = "cpu"
    log_every: int = 20
    eval_every: int = 100
    checkpoint_every: int = 200
    threads: int = 0

    def __post_init__(self) -> None:
        for name in ("steps", "batch_size", "log_every", "eval_every", "checkpoint_every"):
            require(getattr(self, name) >= 1, f"got {name}={getattr(self, name)}, wanted at least 1")
        for name in ("cuts", "threads", "seed", "weight_decay", "delay", "hankel_weight"):
            require(getattr(self, name) >= 0, f"got {name}={getattr(self, name)}, wanted 0 or more")
        for name in ("lr", "ssm_lr_factor", "temperature"):
            require(0 < getattr(self, name) < math.inf, f"got {name}={getattr(self, name)}, wanted a positive number")
        for name, choices in CHOICES.items():
            got = getattr(self, name)
            require(got in choices, f"got {name}={got!r}, wanted one of: {', '.join(choices)}")
        require(self.length is None or self.length >= 1, f"got length={self.length}, wanted at least 1")
        require(
            self.length is None or self.task in OF_ANY_LENGTH, f"got length={self.length} for {self.task}, wanted None"
        )
        if self.task in TEXTS:
            LanguageModelConfig(vocab_size=1, **self._architecture())
        else:
            ClassifierConfig(d_input=1, n_classes=1, **self._architecture())
        check_extras(self)
        if self.cuts:
            check_cuts(self)

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

    def model(self, task: AnyTask, sizes: Mapping[str, Any] | None = None) -> ClassifierConfig | LanguageModelConfig:
        """Return the architecture for `task`, with the layers and state sizes of a checkpoint if they are given."""
        architecture = self._architecture() | dict(sizes or {})
        if isinstance(task, Text):
            return LanguageModelConfig(vocab_size=task.vocab_size, **architecture)
        return ClassifierConfig(d_input=task.d_input, n_classes=len(task.classes), tokens=task.tokens, **architecture)

    @property
    def layers(self) -> tuple[str, ...]:
        """Layer name of every block, first block first."""
        return (self.layer,) * self.n_layers if isinstance(self.layer, str) else tuple(self.layer)

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
