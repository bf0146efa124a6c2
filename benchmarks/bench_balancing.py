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

import numpy as np
import torch
from peers import compressm

from ssm_gramians import Diagonal, StateSpace
from ssm_zoo.models import SequenceClassifier
from ssm_zoo.reduction import Activations, WhiteNoise, propose
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


def published(layer, inputs, order):
    """Reduce the complex half in float32, as the published recipe does, and let our own surgery write it back."""
    del inputs
    system = layer.system()
    lam, B, C = (matrix.numpy().astype(np.complex64) for matrix in (system.A.eigenvalues, system.B, 2 * system.C))
    poles, B, C = (matrix.astype(complex) for matrix in compressm.reduce(lam, B, C, order))
    reduced = StateSpace(Diagonal(poles, paired=True), B, C / 2, system.D.numpy(), dt=1.0)
    nothing = np.zeros((2 * layer.d_state, order))  # no optimiser follows
    return layer.surgery(reduced, nothing, nothing)


def balanced(method):
    """Return our own way to the surgery of one layer, by this method."""
    return lambda layer, inputs, order: propose(layer, inputs, method, order).surgery


WAYS = {"published": published, "white": balanced(WhiteNoise()), "activations": balanced(Activations())}


def accuracy_after(model, task, seen, way, order):
    """Return the test accuracy in per cent with every layer cut."""
    model = copy.deepcopy(model)
    layers = [block.layer for block in model.blocks]
    operate([(layer, way(layer, inputs, order)) for layer, inputs in zip(layers, seen, strict=True)], None)
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
            name: [accuracy_after(model, task, activations(model, task), way, order) for task, model in cases]
            for name, way in WAYS.items()
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
