"""The training loop: step, log, checkpoint; killed at any moment, it goes on to the same result."""

from __future__ import annotations

import signal
import statistics
import threading
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import torch

from .. import plots
from ..scan import set_scan_threads
from ..tasks import load_task
from .folder import RunFolder, kept_name
from .trainer import Trainer, Window, evaluate

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator
    from pathlib import Path

    from ..reduction import Cut
    from ..tasks import Score
    from .config import TrainConfig

_WIDE = 64  # d_model from which Torch's own threads gain more than they take from the scan's


@dataclass(frozen=True)
class Progress:
    """Where a run is after a step, for whoever watches it.

    Parameters
    ----------
    name
        Name of the run's folder.
    step, steps
        Steps done and to be done.
    loss, accuracy
        Of the step's batch, before the step.
    d_state
        State sizes, first block first.
    score
        What the task is judged by.
    cuts
        Reductions tried in this step.
    line
        The line that this step added to the metrics, if it did.
    """

    name: str
    step: int
    steps: int
    loss: float
    accuracy: float
    d_state: tuple[int, ...]
    score: Score
    cuts: tuple[Cut, ...] = ()
    line: dict[str, Any] | None = None


@dataclass(frozen=True)
class RunResult:
    """What came out of a run.

    Parameters
    ----------
    test_accuracy, test_loss
        Of the model of the last step on the whole test set: cross entropy in nats; accuracy in [0, 1].
    d_state
        State sizes at the end, first block first.
    parameters
        Numbers in the model at the end.
    steps
        Length of the run.
    seconds
        Training time, reductions included, evaluation excluded, summed over all resumptions.
    seconds_per_step
        Median over the run.
    """

    test_accuracy: float
    test_loss: float
    d_state: tuple[int, ...]
    parameters: int
    steps: int
    seconds: float
    seconds_per_step: float


def finished_result(run: RunFolder) -> RunResult | None:
    """Return the result in a folder, None if the run is not finished."""
    result = run.result()
    return None if result is None else RunResult(**result | {"d_state": tuple(result["d_state"])})


def train(
    config: TrainConfig,
    folder: str | Path,
    *,
    resume: bool = True,
    progress: Callable[[Progress], None] | None = None,
    keep: Collection[int] = (),
) -> RunResult:
    """Train a classifier or a language model, reducing its state on the way, and return what came out.

    A run that was killed goes on from its checkpoint to the same metrics, bit for bit; a finished one is not repeated.
    Ctrl-C takes effect between two steps, after a checkpoint.

    Parameters
    ----------
    config
        What to run.
    folder
        Where to: see `RunFolder`.
    resume
        Go on with what the folder holds; otherwise start afresh and overwrite it.
    progress
        Called after every step; its time does not count.
    keep
        Steps after which a checkpoint is written that no later one replaces: see `RunFolder.fork`.

    Raises
    ------
    RunError
        If the folder holds a run with other settings, or the loss stops being finite.
    KeyboardInterrupt
        On Ctrl-C, once the checkpoint is written.
    """
    run = RunFolder(folder)
    run.claim(config, fresh=not resume)
    finished = finished_result(run)
    if finished is not None:
        return finished
    with _threads(config):
        trainer = Trainer(config, load_task(config.task, config.seed, config.length), run.load())
        run.rewind(trainer.logged)
        run.write_cuts(trainer.cuts)
        try:
            _loop(trainer, run, progress or (lambda _: None), keep)
        except KeyboardInterrupt:
            run.save(trainer.state_dict())
            raise
        return _finish(trainer, run)


def _loop(trainer: Trainer, run: RunFolder, progress: Callable[[Progress], None], keep: Collection[int]) -> None:
    config = trainer.config
    cuts: tuple[Cut, ...] | None = None  # of the last step; None before there was one
    while True:
        line = _log(trainer, run)
        if cuts is not None:
            progress(_progress(trainer, run, cuts, line))
        ended = trainer.step == config.steps
        if ended or (trainer.step and trainer.step % config.checkpoint_every == 0):
            run.save(trainer.state_dict())
        if trainer.step in keep:
            run.save(trainer.state_dict(), kept_name(trainer.step))
        if ended:
            return
        with _uninterrupted():
            cuts = tuple(trainer.advance())
            if cuts:
                run.write_cuts(trainer.cuts)


def _log(trainer: Trainer, run: RunFolder) -> dict[str, Any] | None:
    """Write the line of the metrics that is due, if one is, and return it."""
    config = trainer.config
    every = any(trainer.step % n == 0 for n in (config.log_every, config.eval_every))
    if trainer.logged == trainer.step or not (every or trainer.step == config.steps):
        return None
    line = trainer.line()
    run.append(line)
    if "sample" in line:
        run.write_samples()
    trainer.logged, trainer.window = trainer.step, Window()
    return line


def _progress(trainer: Trainer, run: RunFolder, cuts: tuple[Cut, ...], line: dict[str, Any] | None) -> Progress:
    return Progress(
        name=run.path.name,
        step=trainer.step,
        steps=trainer.config.steps,
        loss=trainer.last["loss"],
        accuracy=trainer.last["accuracy"],
        d_state=trainer.model.config.states,
        score=trainer.task.score,
        cuts=cuts,
        line=line,
    )


def _finish(trainer: Trainer, run: RunFolder) -> RunResult:
    trainer.model.save_pretrained(run.model)
    loss, accuracy = evaluate(trainer.model, trainer.task.test)
    result = RunResult(
        test_accuracy=accuracy,
        test_loss=loss,
        d_state=trainer.model.config.states,
        parameters=sum(parameter.numel() for parameter in trainer.model.parameters()),
        steps=trainer.step,
        seconds=trainer.elapsed,
        seconds_per_step=statistics.median(line["seconds_per_step"] for line in run.lines()),
    )
    runs = {run.path.name: [run.lines()]}
    plots.save(plots.learning(runs, trainer.task.score), run.plots / "learning.png")
    plots.save(plots.pace(runs), run.plots / "pace.png")
    if any(cut["hsv"] for cut in run.cuts()):
        plots.save(plots.spectra(run.cuts()), run.plots / "spectra.png")
    run.write_result(asdict(result))
    return result


@contextmanager
def _threads(config: TrainConfig) -> Iterator[None]:
    """Give the scans all threads; Torch too, unless its operations are so small that its threads are in the way."""
    before = torch.get_num_threads()
    count = config.threads or before
    scans_before = set_scan_threads(count)
    torch.set_num_threads(count if config.d_model >= _WIDE else 1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
        set_scan_threads(scans_before)


@contextmanager
def _uninterrupted() -> Iterator[None]:
    """Hold Ctrl-C back until the block is done, where it would have interrupted the block."""
    main = threading.current_thread() is threading.main_thread()  # only there can handlers be set
    if not main or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield
        return
    pending: list[int] = []
    signal.signal(signal.SIGINT, lambda number, _: pending.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if pending:
        raise KeyboardInterrupt
