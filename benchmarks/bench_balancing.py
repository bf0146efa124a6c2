"""Test accuracy of a trained digits classifier right after a cut, by what it was balanced from; nothing is retrained.

Two blocks of LRU with 128 slots are trained in full; then both layers are cut to r slots by the published recipe
(complex half, white noise, float32), by the classical Gramians of the paired system, and by activations and horizon.
Run it: `python benchmarks/bench_balancing.py [--seeds 2]`; it trains for about a minute a seed.
"""

from __future__ import annotations

import argparse
import copy
import json
from pathlib import Path
from tempfile import mkdtemp

import torch

from ssm_zoo.models import SequenceClassifier
from ssm_zoo.reduction import Activations, Published, WhiteNoise, propose
from ssm_zoo.reduction.surgery import operate
from ssm_zoo.tasks import load_task
from ssm_zoo.training import TrainConfig, train
from ssm_zoo.training.trainer import evaluate

ORDERS = (6, 8, 12, 16, 24)
SEQUENCES = 50


def trained(seed, folder):
    """Return the task and the full model of one seed."""
    config = TrainConfig.preset("digits", seed=seed, cuts=0)
    train(config, folder)
    return load_task("digits", seed), SequenceClassifier.from_pretrained(folder / "model")


def activations(model, task):
    """Return what each layer sees of some training sequences, in the normalisation of training."""
    model, seen = copy.deepcopy(model).train(), []
    for block in model.blocks:
        block.layer.register_forward_pre_hook(lambda _, args: seen.append(args[0].detach()))
    with torch.no_grad():
        model(task.train.inputs[:SEQUENCES])
    return seen


WAYS = {"published": Published(), "white": WhiteNoise(), "activations": Activations()}


def accuracy_after(model, task, seen, method, order):
    """Return the test accuracy in per cent with every layer cut."""
    model = copy.deepcopy(model)
    layers = [block.layer for block in model.blocks]
    cuts = [propose(layer, inputs, method, order) for layer, inputs in zip(layers, seen, strict=True)]
    operate([(layer, cut.surgery) for layer, cut in zip(layers, cuts, strict=True)], None)
    return round(100 * evaluate(model, task.test)[1], 1)


def main():
    """Print one row for each order, with a column for each seed, and keep them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=2)
    seeds = range(parser.parse_args().seeds)
    folder = Path(mkdtemp())
    cases = [trained(seed, folder / str(seed)) for seed in seeds]
    full = [round(100 * evaluate(model, task.test)[1], 1) for task, model in cases]
    rows = []
    for order in ORDERS:
        found = {
            name: [accuracy_after(model, task, activations(model, task), method, order) for task, model in cases]
            for name, method in WAYS.items()
        }
        rows.append({"r": order, **found})
        print(json.dumps(rows[-1]), flush=True)
    results = Path(__file__).parent / "results" / "balancing.json"
    results.parent.mkdir(exist_ok=True)
    summary = {"task": "digits", "seeds": list(seeds), "full": full, "rows": rows}
    results.write_text(json.dumps(summary, indent=2) + "\n")
    print(f"full: {full}")


if __name__ == "__main__":
    main()
