"""Run the arms, resumably: what is finished is not repeated, and the full model is trained once per seed."""

from __future__ import annotations

import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING

from ..reduction import reduce_model
from ..tasks import load_task
from ..training import Progress, RunFolder, RunResult, evaluate, open_model, train
from ..training.cutting import cut_window, limits_of, method_of, refinement_of, selection_from
from ..training.loop import finished_result
from .report import run_name, write_report

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from ..training import TrainConfig
    from .file import Arm, Experiment

BATCHES = 2
"""Batches that a cut after training is calibrated on."""


def run_experiment(
    experiment: Experiment,
    folder: str | Path,
    *,
    only: Collection[str] = (),
    resume: bool = True,
    progress: Callable[[Progress], None] | None = None,
) -> list[dict[str, object]]:
    """Run every arm for every seed and return the rows of results.jsonl; the report is written after each run.

    Parameters
    ----------
    experiment
        What to run.
    folder
        Where to: ``<arm>-seed<k>`` are run folders, beside results.jsonl, table.md and plot.png.
    only
        Labels or kinds of the arms to run; all if empty. The full one always runs.
    resume
        Go on with what the folder holds; otherwise start afresh.
    progress
        See `ssm_zoo.training.train`.

    Raises
    ------
    RunError
        If a folder holds a run with other settings, or a loss stops being finite.
    """
    folder = Path(folder)
    chosen = [arm for arm in experiment.arms if not only or {arm.label, arm.kind} & {*only, "full"}]
    keep = {cut_window(arm.config)[0] for arm in chosen if arm.kind == "late"}
    full = next((arm for arm in chosen if arm.kind == "full"), None)
    for seed in experiment.seeds:
        for arm in chosen:
            run = RunFolder(folder / run_name(arm, seed))
            trained = RunFolder(folder / run_name(full, seed)) if full else run
            _run(arm, replace(arm.config, seed=seed), run, trained, keep, resume, progress)
            rows = write_report(experiment, folder)
    return rows


def _run(
    arm: Arm,
    config: TrainConfig,
    run: RunFolder,
    full: RunFolder,
    keep: Collection[int],
    resume: bool,
    progress: Callable[[Progress], None] | None,
) -> None:
    if arm.kind == "distilled":
        config = replace(config, teacher=str(full.path))
    run.claim(config, fresh=not resume)
    if arm.kind == "post":
        _cut_after(config, full, run)
        return
    if arm.kind == "late":
        full.fork(cut_window(config)[0], run)
    train(config, run.path, progress=progress, keep=keep if arm.kind == "full" else ())


def _cut_after(config: TrainConfig, full: RunFolder, run: RunFolder) -> None:
    before = finished_result(full)
    if run.result() is not None or before is None:
        return
    task = load_task(config.task, config.seed, config.length)
    model = open_model(full.path).model.to(config.device)
    rule = selection_from(config.layers, config.balance, config.energy, config.order, config.budget)
    batches = [task.batch(k, config.batch_size, config.seed).to(config.device) for k in range(BATCHES)]
    start = time.perf_counter()
    cuts = reduce_model(
        model, batches, rule, method=method_of(config), refinement=refinement_of(config), limits=limits_of(config)
    )
    seconds = before.seconds + time.perf_counter() - start
    loss, accuracy = evaluate(model, task.test)
    parameters = sum(parameter.numel() for parameter in model.parameters())
    result = RunResult(
        accuracy, loss, model.config.states, parameters, before.steps, seconds, before.seconds_per_step
    )  # fmt: skip
    model.save_pretrained(run.model)
    run.write_cuts(cuts)
    run.write_result(asdict(result))
