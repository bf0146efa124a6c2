"""One reduction of a six-layer LRU to a quarter of its states: ours and the published recipe.

Ours balances the paired real system, twice as large, in float64, and certifies the result. Both sides run in this
process, in turn, on the same layers; the figure to quote is the ratio.
Run it: `python benchmarks/bench_reduction.py [--sizes 256x256 1024x512] [--rounds 3]`.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from ssm_zoo.layers import LRU
from ssm_zoo.reduction import Activations, Published, WhiteNoise, adapter_for, propose
from ssm_zoo.reduction.side_by_side import side_by_side

LAYERS, SEQUENCES, LENGTH = 6, 16, 256


def published(layers, order):
    """Order analysis and reduction, one layer after the other, as the published trainer calls them."""
    for layer in layers:
        adapter = adapter_for(layer)
        Published().plan(adapter, None).modes(adapter.system(), order)


def ours(layers, inputs, order, method):
    """Balance the paired real systems in float64, and certify."""
    proposals = side_by_side(lambda layer: propose(layer, inputs, method, order), layers)
    assert all(proposal.certificate for proposal in proposals)


def seconds(function, *args):
    """Time one call."""
    start = time.perf_counter()
    function(*args)
    return time.perf_counter() - start


def sides_of(d_state, d_model):
    """Return each side as a function and its arguments, the layers first."""
    torch.manual_seed(0)
    layers = [LRU(d_model, d_state) for _ in range(LAYERS)]
    inputs = torch.randn(SEQUENCES, LENGTH, d_model)
    return {
        "published": (published, layers, d_state // 4),
        "white": (ours, layers, inputs, d_state // 4, WhiteNoise()),
        "activations": (ours, layers, inputs, d_state // 4, Activations()),
    }


@pytest.mark.parametrize("side", ["published", "white", "activations"])
def test_reduction(benchmark, side):
    """Reduce the layers with 256 states; the table with the ratios is this file's as a script."""
    function, *arguments = sides_of(256, 256)[side]

    benchmark.pedantic(function, arguments, rounds=3, warmup_rounds=1)


def compare(d_state, d_model, rounds):
    """Median seconds of each side, and the ratios."""
    sides = sides_of(d_state, d_model)
    times = {name: [] for name in sides}
    for call in sides.values():
        call[0](call[1][:1], *call[2:])  # compile and warm up
    for _ in range(rounds):
        for name, call in sides.items():
            times[name].append(seconds(*call))
    row = {name: statistics.median(values) for name, values in times.items()}
    row |= {f"speed-up, {name}": row["published"] / row[name] for name in ("white", "activations")}
    return {"N": d_state, "H": d_model, "layers": LAYERS, "rounds": rounds, **{k: round(v, 4) for k, v in row.items()}}


def main():
    """Print one row for each size and keep them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", nargs="+", default=["256x256", "1024x512"])
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    rows = []
    for size in options.sizes:
        rows.append(compare(*map(int, size.split("x")), options.rounds))
        print(json.dumps(rows[-1]), flush=True)
    machine = {"machine": platform.machine(), "threads": torch.get_num_threads(), "numpy": np.__version__}
    results = Path(__file__).parent / "results" / "reduction.json"
    results.parent.mkdir(exist_ok=True)
    results.write_text(json.dumps({"context": machine, "rows": rows}, indent=2) + "\n")


if __name__ == "__main__":
    main()
