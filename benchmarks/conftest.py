"""The one way to compare: contestants take turns in one process, so that a busy machine slows them all alike."""

from __future__ import annotations

import os
import time
from importlib.metadata import PackageNotFoundError, version
from statistics import median

import pytest

TAKE_PART = ("ssm-gramians", "numpy", "scipy", "numba", "torch", "slycot", "pymor", "control", "mpmath")
TAKE_PART += ("transformers", "mambapy", "s5-pytorch")


@pytest.fixture
def race(benchmark):
    """Return `run(group, contestants, facts={}, rounds=7, loops=1)`; see the README of this folder."""

    def run(group, contestants, facts=None, *, rounds=7, loops=1):
        runners = {name: _repeated(call, loops) for name, call in contestants.items() if call is not None}
        for runner in runners.values():
            runner()  # compile, load, fault the pages in
        ours, times = runners.pop("ours"), {name: [] for name in runners}

        def peers_run():
            for name, runner in runners.items():
                start = time.perf_counter()
                runner()
                times[name].append(time.perf_counter() - start)

        benchmark.group = group
        benchmark.pedantic(ours, setup=peers_run, rounds=rounds)
        if benchmark.stats is not None:  # None where benchmarks are disabled and the race was a rehearsal
            times["ours"] = list(benchmark.stats.stats.data)
        benchmark.extra_info["contestants"] = {
            name: {"seconds": median(rounds) / loops, "best": min(rounds) / loops, **(facts or {}).get(name, {})}
            for name, rounds in sorted(times.items(), key=lambda item: item[0] != "ours")
        }
        benchmark.extra_info["absent"] = sorted(name for name, call in contestants.items() if call is None)

    return run


def _repeated(call, loops):
    def runner():
        for _ in range(loops):
            call()

    return runner


def pytest_benchmark_update_machine_info(config, machine_info):
    """Record what a ratio depends on: the number of threads and the versions of all that takes part."""
    machine_info["threads"] = os.environ.get("OMP_NUM_THREADS", f"all of {os.cpu_count()}")
    machine_info["versions"] = {name: found for name in TAKE_PART if (found := _version(name))}


def _version(name):
    try:
        return version(name)
    except PackageNotFoundError:
        return None
