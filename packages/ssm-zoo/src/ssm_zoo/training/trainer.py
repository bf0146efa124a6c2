"""All that changes while a model trains, and one step of it."""

from __future__ import annotations

import math
import statistics
import time
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch.nn.functional import cross_entropy

from .._errors import RunError
from .._seed import seed_of
from ..models import LanguageModel, LanguageModelConfig, SequenceClassifier, param_groups
from ..reduction import InTrainingReducer, Warmup
from ..tasks import Split, Text
from .sample import sample

if TYPE_CHECKING:
    from torch import Tensor, nn

    from ..reduction import Cut
    from ..tasks import AnyTask
    from .config import TrainConfig

MONITORED = 1000
"""Sequences of the held-out split looked at while training; the final accuracy is that of the whole test set."""


def evaluate(model: nn.Module, split: Split, batch_size: int = 250) -> tuple[float, float]:
    """Return the mean cross entropy and the accuracy of the model in evaluation mode; the model's mode is kept.

    Both are over all labels: one of each sequence, or one of each step.
    """
    training = model.training
    model.eval()
    loss, hits = 0.0, 0
    with torch.no_grad():
        for inputs, labels in zip(split.inputs.split(batch_size), split.labels.split(batch_size), strict=True):
            mean, right = _judge(model(inputs), labels)
            loss += float(mean) * labels.numel()
            hits += right
    model.train(training)
    return loss / split.labels.numel(), hits / split.labels.numel()


def _judge(logits: Tensor, labels: Tensor) -> tuple[Tensor, int]:
    """Return the mean cross entropy, and how many labels are the likeliest class."""
    logits, labels = logits.flatten(0, -2), labels.flatten()
    return cross_entropy(logits, labels), int((logits.detach().argmax(dim=1) == labels).sum())


@dataclass
class Window:
    """Losses, accuracies and seconds of the steps since the last line of the metrics."""

    loss: list[float] = field(default_factory=list)
    accuracy: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)


class Trainer:
    """Model, optimiser, reducer and counters.

    Parameters
    ----------
    config, task
        What is trained, and on what.
    checkpoint
        Where to go on: what `state_dict` returned; from the beginning if None.
    """

    def __init__(self, config: TrainConfig, task: AnyTask, checkpoint: dict[str, Any] | None) -> None:
        self.config, self.task = config, task
        self.step, self.logged, self.elapsed, self.window = 0, 0, 0.0, Window()
        self.last: dict[str, float] = {}
        torch.manual_seed(seed_of(config.seed))
        d_state = tuple(checkpoint["d_state"]) if checkpoint else None
        self.model = _model(config.model(task, d_state))
        groups = param_groups(self.model, config.lr, config.weight_decay, config.ssm_lr_factor)
        self.optimizer = torch.optim.AdamW([group | {"initial_lr": group["lr"]} for group in groups], fused=True)
        self.reducer = _reducer(self.model, self.optimizer, config) if config.cuts else None
        if checkpoint:
            self._load(checkpoint)
        self._warm_up()

    @property
    def cuts(self) -> list[Cut]:
        """The reductions tried so far."""
        return list(self.reducer.ledger) if self.reducer else []

    def state_dict(self) -> dict[str, Any]:
        """Return what a checkpoint holds: tensors, numbers, and lists and dicts of them."""
        return {
            "step": self.step,
            "logged": self.logged,
            "elapsed": self.elapsed,
            "window": asdict(self.window),
            "d_state": list(self.model.config.states),
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "reducer": self.reducer.state_dict() if self.reducer else None,
            "text": self.task.fingerprint if isinstance(self.task, Text) else None,
        }

    def _load(self, checkpoint: dict[str, Any]) -> None:
        if isinstance(self.task, Text) and self.task.fingerprint != checkpoint["text"]:
            message = "the text is not the one that the run began with; go on with the Python it began with"
            raise RunError(message)
        self.step, self.logged, self.elapsed = (checkpoint[name] for name in ("step", "logged", "elapsed"))
        self.window = Window(**checkpoint["window"])
        self.model.load_state_dict(checkpoint["model"])
        self.optimizer.load_state_dict(checkpoint["optimizer"])
        if self.reducer:
            self.reducer.load_state_dict(checkpoint["reducer"])

    def advance(self) -> list[Cut]:
        """Make one step, and the reductions that are due after it; return these."""
        start = time.perf_counter()
        torch.manual_seed(seed_of(self.config.seed, self.step))  # the dropout of this step, whatever came before
        inputs, labels = self.task.batch(self.step, self.config.batch_size, self.config.seed)
        for group in self.optimizer.param_groups:
            group["lr"] = group["initial_lr"] * self.config.lr_factor(self.step)
        self.model.train()
        self.optimizer.zero_grad()
        loss, hits = _judge(self.model(inputs), labels)
        value = float(loss.detach())
        self._check(value)
        loss.backward()
        self.optimizer.step()
        cuts = self.reducer.step(lambda: self._batch_loss(inputs, labels)) if self.reducer else []
        seconds = time.perf_counter() - start
        self.step += 1
        self.elapsed += seconds
        self.last = {"loss": value, "accuracy": hits / labels.numel()}
        self.window.loss.append(self.last["loss"])
        self.window.accuracy.append(self.last["accuracy"])
        self.window.seconds.append(seconds)
        return cuts

    def line(self) -> dict[str, Any]:
        """Return the line of the metrics for the steps since the last one."""
        line: dict[str, Any] = {
            "step": self.step,
            "loss": statistics.fmean(self.window.loss),
            "accuracy": statistics.fmean(self.window.accuracy),
            "eval_loss": None,
            "eval_accuracy": None,
            "d_state": list(self.model.config.states),
            "seconds_per_step": statistics.median(self.window.seconds),
            "elapsed": self.elapsed,
        }
        if self.step % self.config.eval_every == 0 or self.step == self.config.steps:
            some = Split(*(tensor[:MONITORED] for tensor in self.task.monitor))
            line["eval_loss"], line["eval_accuracy"] = evaluate(self.model, some)
            if isinstance(self.task, Text) and isinstance(self.model, LanguageModel):
                line["sample"] = sample(self.model, self.task, seed_of(self.config.seed, self.step))
        return line

    def _warm_up(self) -> None:
        """Run the kernels once and change nothing, so that compiling them counts in no step's time."""
        self.model.eval()
        inputs, labels = self.task.batch(0, self.config.batch_size, self.config.seed)
        _judge(self.model(inputs), labels)[0].backward()
        self.optimizer.zero_grad()

    def _batch_loss(self, inputs: torch.Tensor, labels: torch.Tensor) -> float:
        self.model.eval()  # the same before and after a cut: no dropout, no change of the running statistics
        with torch.no_grad():
            loss = float(_judge(self.model(inputs), labels)[0])
        self.model.train()
        return loss

    def _check(self, loss: float) -> None:
        if not math.isfinite(loss):
            message = f"the loss is {loss} at step {self.step + 1}; try a smaller learning rate than {self.config.lr}"
            raise RunError(message)


def _model(config: Any) -> SequenceClassifier | LanguageModel:
    return LanguageModel(config) if isinstance(config, LanguageModelConfig) else SequenceClassifier(config)


def _reducer(model: nn.Module, optimizer: torch.optim.Optimizer, config: TrainConfig) -> InTrainingReducer:
    schedule = Warmup(config.steps, fraction=config.cut_fraction, cuts=config.cuts)
    return InTrainingReducer(model, optimizer, schedule, config.selection(), balance=config.balance)
