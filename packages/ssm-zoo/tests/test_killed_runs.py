"""A run in a process of its own, killed at random moments, ends bit for bit as one that was left alone."""

import json
import os
import random
import statistics
import subprocess
import sys
from contextlib import suppress
from dataclasses import asdict, replace
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from ssm_zoo import RunError
from ssm_zoo.training import RunFolder, TrainConfig

needs_fork = pytest.mark.skipif(sys.platform != "linux", reason="forks a child for every attempt, and counts threads")

CONFIG = TrainConfig(
    d_state=8, d_model=4, batch_size=8, steps=32, lr=1e-2, energy=0.8, cuts=3, cut_fraction=0.8,
    log_every=5, eval_every=12, checkpoint_every=4, threads=1, limits=False,
)  # fmt: skip
TEXT = TrainConfig.preset(
    "bytes", layer=("s5", "mamba2"), d_model=32, d_state=6, length=16, batch_size=4, steps=24, cuts=2, cut_fraction=0.8,
    energy=None, order=3, log_every=5, eval_every=12, checkpoint_every=5, threads=1, limits=False, moments="mean",
)  # fmt: skip
CASES = {
    "cut three times": CONFIG,
    "delayed": replace(CONFIG, delay=3, balance="adjoints", checkpoint_every=2),  # a thread is killed too
    "mamba": replace(CONFIG, layer="mamba", steps=24, cuts=2, moments="reset"),
    "becomes another layer": replace(CONFIG, layer="s4", steps=24, cuts=2),
    "text": TEXT,
}
KILLS = 5  # of each
OF_TIME = {"elapsed", "seconds", "seconds_per_step"}


@pytest.fixture(scope="module")
def nursery():
    """Return what lets a run live until it is killed: see nursery.py."""
    alone = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}  # threads do not survive fork
    command = [sys.executable, str(Path(__file__).with_name("nursery.py"))]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, text=True, env={**os.environ, **alone}, **pipes) as process:

        def attempt(config, folder, **death):
            request = {"config": asdict(config), "folder": str(folder), **death}
            print(json.dumps(request), file=process.stdin, flush=True)
            return json.loads(process.stdout.readline())

        yield attempt
        process.stdin.close()


def timeless(value):
    """Return the same without what the clock said, tensors as lists."""
    if isinstance(value, dict):
        return {key: timeless(entry) for key, entry in value.items() if key not in OF_TIME}
    if isinstance(value, (list, tuple)):
        return [timeless(entry) for entry in value]
    return value.tolist() if isinstance(value, torch.Tensor) else value


def left_by(folder):
    """Return all that a run has left in its folder, to the last bit."""
    run = RunFolder(folder)
    assert run.result() is not None
    return {
        "files": sorted(str(file.relative_to(folder)) for file in folder.rglob("*")),
        "samples": (folder / "samples.txt").read_text() if (folder / "samples.txt").exists() else None,
        "model": timeless(load_file(run.model / "model.safetensors")),
        **{name: timeless(getattr(run, name)()) for name in ("result", "cuts", "lines", "load")},
    }


def deaths(told, chance):
    """Yield random ways to die, as far apart as a run that told this lets them be."""
    words = [word for word, _ in told]
    gaps = {"saving": [], "step": []}
    for (word, begun), (_, ended) in pairwise(told):
        gaps.get(word, []).append(ended - begun)
    saving, step = (statistics.median(gaps[word]) for word in ("saving", "step"))
    while True:
        yield {"word": "begin", "count": 1, "delay": chance.uniform(0, told[-1][1])}
        yield {"word": "step", "count": chance.randint(1, words.count("step") // 2), "delay": chance.uniform(0, step)}
        yield {"word": "saving", "count": chance.randint(1, 3), "delay": chance.uniform(0, saving)}
        yield {"word": "cut", "count": 1, "delay": chance.uniform(0, 2 * step)}
        yield {"word": "file", "count": chance.randint(1, words.count("file"))}


@needs_fork
@pytest.mark.parametrize("name", CASES)
def test_a_run_killed_at_random_moments_ends_as_one_that_was_left_alone(nursery, tmp_path, name):
    config, chance = CASES[name], random.Random(name)
    told = nursery(config, tmp_path / "whole")["told"]
    expected = left_by(tmp_path / "whole")
    ways, kills, folder = deaths(told, chance), 0, tmp_path / "0"

    while kills < KILLS:
        died = nursery(config, folder, **next(ways))["status"] == -9
        kills += died
        if not died:  # it was done before
            assert left_by(folder) == expected
            folder = folder.with_name(f"after {kills}")
    assert nursery(config, folder)["status"] == 0

    assert left_by(folder) == expected
    assert any(cut["status"] == "cut" for cut in expected["cuts"])


@pytest.mark.parametrize("deletions", range(7))
def test_a_run_killed_while_it_starts_afresh_takes_nothing_of_the_old_one(tmp_path, monkeypatch, deletions):
    run, new, left, unlink = RunFolder(tmp_path), replace(CONFIG, lr=1.0), [None] * deletions, Path.unlink
    run.claim(CONFIG)
    run.append({"step": 1})
    run.write_cuts([])
    run.save({"step": 1})
    run.write_result({})
    run.model.mkdir()
    with monkeypatch.context() as patch, suppress(IndexError):
        patch.setattr(Path, "unlink", lambda *args, **options: (left.pop(), unlink(*args, **options)))
        run.claim(new, fresh=True)

    with suppress(RunError):  # it may still be known as the old one
        run.claim(new)

        assert {file.name for file in tmp_path.iterdir()} == {"config.json"}
