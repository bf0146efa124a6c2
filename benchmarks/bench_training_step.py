"""Time one training step (forward, backward, Adam) of the CompreSSM paper's sMNIST model, by scan.

The model: 1 block, H = 8, batch 50, 784 steps of one pixel; encoder, batch norm, LRU, GELU, GLU, skip, mean over time,
head. Run `pytest benchmarks/bench_training_step.py --benchmark-only`, or this file as a script, which prints a table:
there the implementations take turns in one process, so that the ratio holds on a busy machine too.
"""

from __future__ import annotations

import time
from statistics import median

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy, gelu, glu

from ssm_zoo.layers import LRU
from ssm_zoo.process import keep_freed_memory
from ssm_zoo.scan import scan_threads, set_scan_threads

BATCH, LENGTH, D_MODEL, CLASSES = 50, 784, 8, 10
STATES = (256, 28)
SCANS = ("numba", "torch")
OFFICIAL = {256: 0.77, 28: 0.078}
"""Seconds a step of the official JAX code on two cores, by state size, from a study of it; not timed here."""


class PaperModel(nn.Module):
    """The model, with nothing of the package but the layer."""

    def __init__(self, d_state, scan):
        super().__init__()
        self.encoder = nn.Linear(1, D_MODEL)
        self.norm = nn.BatchNorm1d(D_MODEL, affine=False)
        self.layer = LRU(D_MODEL, d_state, scan=scan)
        self.mix = nn.Linear(D_MODEL, 2 * D_MODEL)
        self.head = nn.Linear(D_MODEL, CLASSES)

    def forward(self, x):
        """Return the logits."""
        skip = self.encoder(x)
        x = self.norm(skip.flatten(0, 1)).view_as(skip)
        x = glu(self.mix(gelu(self.layer(x))), -1) + skip
        return self.head(x.mean(1))


keep_freed_memory()
set_scan_threads(torch.get_num_threads())
torch.set_num_threads(1)  # as `ssm-zoo train` does for a model so narrow


def training_step(d_state, scan):
    """Return a function that does one step."""
    torch.manual_seed(0)
    model = PaperModel(d_state, scan)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, fused=True)
    x, y = torch.rand(BATCH, LENGTH, 1), torch.randint(CLASSES, (BATCH,))

    def step():
        optimizer.zero_grad()
        loss = cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        return loss.item()

    return step


@pytest.mark.parametrize("d_state", STATES)
@pytest.mark.parametrize("scan", SCANS)
def test_training_step(benchmark, d_state, scan):
    """Compare the scans within a group of one state size."""
    benchmark.group = f"training step, n={d_state}"

    benchmark.pedantic(training_step(d_state, scan), rounds=5, warmup_rounds=2)


def main(rounds=7):
    """Print seconds a step, the fastest and the median, and ratios of the medians."""
    print(f"{scan_threads()} threads; seconds a step: fastest, median")
    for d_state in STATES:
        steps = {scan: training_step(d_state, scan) for scan in SCANS}
        times = {scan: [] for scan in SCANS}
        for _ in range(rounds + 1):
            for scan, step in steps.items():
                start = time.perf_counter()
                step()
                times[scan].append(time.perf_counter() - start)
        row = "  ".join(f"{scan} {min(t[1:]):.4f} {median(t[1:]):.4f}" for scan, t in times.items())
        ratio = median(times["torch"][1:]) / median(times["numba"][1:])
        official = OFFICIAL[d_state] / min(times["numba"][1:])
        print(f"n={d_state:3}  {row}  ratio {ratio:.1f}; official code {official:.1f} times the fastest")


if __name__ == "__main__":
    main()
