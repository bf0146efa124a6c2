"""Every layer beside what others offer for a CPU: batch 8, 128 features, single precision, forward and backward.

Run `pytest benchmarks/bench_layers.py --benchmark-only`; `THREADS=2` before it takes two threads. Contestants take
turns in one process. `peak MiB` is the memory that one forward and backward pass adds to a process of its own.
"""

from __future__ import annotations

import os

import pytest
import torch
from memory import peak_mebibytes
from peers import layers as peers
from peers import s4d as peer_s4d
from torch import nn

import ssm_zoo
from ssm_zoo.process import keep_freed_memory
from ssm_zoo.scan import set_scan_threads

pytestmark = pytest.mark.filterwarnings("ignore")  # of what peers use, and of the compiler about them

BATCH, D_MODEL = 8, peers.D_MODEL
THREADS = int(os.environ.get("THREADS", "1"))
SEVERAL = f"{THREADS} thread{'s' if THREADS > 1 else ''}"


@pytest.fixture(autouse=True, scope="module")
def threads():
    """Give Torch and the scans the same number of threads."""
    keep_freed_memory()
    before = torch.get_num_threads()
    torch.set_num_threads(THREADS)
    set_scan_threads(THREADS)
    yield
    torch.set_num_threads(before)
    set_scan_threads(None)


def forward(layer, length):
    """Return a function that runs the layer once without gradients, or None for None."""
    if layer is None:
        return None
    x = torch.randn(BATCH, length, D_MODEL)

    def run():
        with torch.no_grad():
            layer(x)

    return run


def both(layer, length):
    """Return a function that runs the layer once forward and backward, or None for None."""
    if layer is None:
        return None
    x = torch.randn(BATCH, length, D_MODEL, requires_grad=True)
    weights = torch.randn(BATCH, length, D_MODEL)

    def run():
        y = layer(x)
        (y[0] if isinstance(y, tuple) else y).backward(weights)

    return run


@pytest.mark.parametrize("length", [512, 2048])
def test_mamba(race, length):
    """A Mamba block with 16 states."""
    ours = ssm_zoo.Mamba(D_MODEL, 16)
    contestants = {
        "ours": both(ours, length),
        "mambapy, parallel scan": both(peers.mambapy_mamba(16), length),
        "transformers, compiled": both(peers.hugging_face_mamba(16, compiled=True), length) if length == 512 else None,
    }
    facts = {
        name: {"peak MiB": peak_mebibytes(maker, 16, length)}
        for name, maker in (("ours", "ours_mamba"), ("mambapy, parallel scan", "mambapy_mamba"))
    }
    race(f"Mamba block N=16 L={length} forward + backward, {SEVERAL}", contestants, facts, rounds=5)


def test_mamba_beside_the_loop_of_transformers(race):
    """The path that transformers takes without kernels for a GPU: a loop with a backward pass quadratic in length."""
    contestants = {
        "ours": both(ssm_zoo.Mamba(D_MODEL, 16), 512),
        "transformers, eager": both(peers.hugging_face_mamba(16), 512),
    }
    race(f"Mamba block N=16 L=512 forward + backward, {SEVERAL}, beside the eager loop", contestants, rounds=1)


@pytest.mark.parametrize("length", [512, 2048])
def test_mamba2(race, length):
    """A Mamba-2 block with 64 states and heads of 64."""
    contestants = {
        "ours": both(ssm_zoo.Mamba2(D_MODEL, 64, headdim=64), length),
        "transformers, chunks of 256": both(peers.hugging_face_mamba2(64), length),
    }
    race(f"Mamba-2 block N=64 L={length} forward + backward, {SEVERAL}", contestants, rounds=5)


@pytest.mark.parametrize("passes", [forward, both], ids=["forward", "both"])
@pytest.mark.parametrize("length", [512, 2048])
def test_s4d(race, length, passes):
    """S4D with 32 complex slots (64 in the count of its paper), GELU and a gated unit, as it is commonly used."""
    ours = nn.Sequential(ssm_zoo.S4D(D_MODEL, 32), nn.GELU(), nn.Linear(D_MODEL, 2 * D_MODEL), nn.GLU(-1))
    contestants = {"ours": passes(ours, length), "FFT and Vandermonde": passes(peer_s4d.S4D(D_MODEL, 64), length)}
    what = "forward" if passes is forward else "forward + backward"
    race(f"S4D with gate N=64 L={length} {what}, {SEVERAL}", contestants, rounds=5)


@pytest.mark.parametrize("length", [512, 2048])
def test_lru_and_s5(race, length):
    """64 complex states."""
    contestants = {
        "ours": both(ssm_zoo.LRU(D_MODEL, 64), length),
        "ours, S5": both(ssm_zoo.S5(D_MODEL, 64), length),
        "s5-pytorch": both(peers.s5_pytorch(64), length),
        "Torch associative scan": both(peers.associative_lru(64), length),
    }
    race(f"LRU N=64 L={length} forward + backward, {SEVERAL}", contestants, rounds=5)


@pytest.mark.parametrize("name", ["LRU", "S5", "S4D", "Mamba", "Mamba2"])
def test_the_cost_follows_the_state(race, name):
    """A sixteenth of the states at a fraction of the cost: what a reduction brings."""
    layer = getattr(ssm_zoo, name)
    contestants = {"ours": both(layer(D_MODEL, 16), 2048), "ours, N=128": both(layer(D_MODEL, 128), 2048)}
    race(f"{name} N=16 L=2048 forward + backward, {SEVERAL}, beside N=128", contestants, rounds=5)
