"""All that changes while a model trains, and one step of it."""

from __future__ import annotations

import math
import statistics
import time
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import torch

from .._errors import RunError
from .._evaluating import evaluating
from .._seed import seed_of
from ..models import LanguageModel, LanguageModelConfig, SequenceClassifier, param_groups
from ..tasks import Split, Text
from .cutting import reducer_of
from .distillation import TrainingLoss, judge, outputs
from .sample import sample

if TYPE_CHECKING:
    from torch import nn

    from ..reduction import Cut
    from ..tasks import AnyTask
    from .config import TrainConfig

MONITORED = 1000
"""Sequences of the held-out split looked at while training; the final accuracy is that of the whole test set."""


AT_ONCE = 2**18
"""Steps of all sequences together that an evaluation runs at once."""


def evaluate(model: nn.Module, split: Split, batch_size: int | None = None) -> tuple[float, float]:
    """Return the mean cross entropy and the accuracy of the model in evaluation mode; the model's mode is kept.

    Both are over all labels: one of each sequence, or one of each step.
    """
    device = next(model.parameters()).device
    loss, hits = 0.0, 0
    with evaluating(model), torch.no_grad():
        for piece in split.pieces(batch_size or max(1, min(250, AT_ONCE // split.inputs.shape[1]))):
            here = piece.to(device)
            mean, right = judge(outputs(model, here), here.labels)
            loss += float(mean) * here.labels.numel()
            hits += right
    return loss / split.labels.numel(), hits / split.labels.numel()


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
        self.model = _model(config.model(task, checkpoint and _sizes(checkpoint))).to(config.device)
        groups = param_groups(self.model, config.lr, config.weight_decay, config.ssm_lr_factor)
        self.optimizer = torch.optim.AdamW([group | {"initial_lr": group["lr"]} for group in groups], fused=True)
        self.reducer = reducer_of(config, self.model, self.optimizer) if config.cuts else None
        self.loss = TrainingLoss(config)
        if checkpoint:
            self._load(checkpoint)
        self._warm_up()

    @property
    def cuts(self) -> list[Cut]:
        """The reductions tried so far."""
        return list(self.reducer.ledger) if self.reducer else []

    def state_dict(self) -> dict[str, Any]:
        """Return what a checkpoint holds: tensors, numbers, and lists and dicts of them."""
        config = self.model.config
        return {
            "step": self.step,
            "logged": self.logged,
            "elapsed": self.elapsed,
            "window": asdict(self.window),
            "sizes": {name: _listed(getattr(config, name)) for name in ("layer", "d_state", "d_unmixed", "options")},
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
        if self.reducer:  # a run without cuts, gone on with as one that cuts, has none yet
            begun = {"steps": self.step, "ledger": []}
            self.reducer.load_state_dict(checkpoint["reducer"] or begun)

    def advance(self) -> list[Cut]:
        """Make one step, and the reductions that are due after it; return these."""
        start = time.perf_counter()
        torch.manual_seed(seed_of(self.config.seed, self.step))  # the dropout of this step, whatever came before
        batch = self._batch(self.step)
        for group in self.optimizer.param_groups:
            group["lr"] = group["initial_lr"] * self.config.lr_factor(self.step)
        self.model.train()
        self.optimizer.zero_grad()
        loss, value, hits = self.loss(self.model, batch)
        self._check(value)
        loss.backward()
        self.optimizer.step()
        cuts = self.reducer.step(lambda: self._batch_loss(batch)) if self.reducer else []
        seconds = time.perf_counter() - start
        self.step += 1
        self.elapsed += seconds
        self.last = {"loss": value, "accuracy": hits / batch.labels.numel()}
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
        batch = self._batch(0)
        judge(outputs(self.model, batch), batch.labels)[0].backward()
        self.optimizer.zero_grad()

    def _batch(self, step: int) -> Split:
        return self.task.batch(step, self.config.batch_size, self.config.seed).to(self.config.device)

    def _batch_loss(self, batch: Split) -> float:
        with evaluating(self.model), torch.no_grad():  # before a cut as after it: no dropout, no running statistics
            return float(judge(outputs(self.model, batch), batch.labels)[0])

    def _check(self, loss: float) -> None:
        if not math.isfinite(loss):
            message = f"the loss is {loss} at step {self.step + 1}; try a smaller learning rate than {self.config.lr}"
            raise RunError(message)


def _model(config: Any) -> SequenceClassifier | LanguageModel:
    return LanguageModel(config) if isinstance(config, LanguageModelConfig) else SequenceClassifier(config)


def _sizes(checkpoint: dict[str, Any]) -> dict[str, Any]:
    """Return layers and state sizes as a configuration has them; older checkpoints hold the state sizes alone."""
    sizes = checkpoint.get("sizes") or {"d_state": checkpoint["d_state"]}
    return {name: tuple(value) if isinstance(value, list) else value for name, value in sizes.items()}


def _listed(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value
