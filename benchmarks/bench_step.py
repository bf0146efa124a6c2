"""One step of one layer, one sequence: what a device in a control loop or a text generator waits for.

Every layer as it is deployed (`ssm_zoo.streaming.stepper`, NumPy in and out), by its `step` with tensors, and what
others offer. Run `pytest benchmarks/bench_step.py --benchmark-only`. One thread: a step is too small for two.
"""

from __future__ import annotations

from importlib.util import find_spec

import numpy as np
import pytest
import torch
from peers import layers as peers

import ssm_zoo
from ssm_zoo.streaming import stepper

D_MODEL, LOOPS = peers.D_MODEL, 200


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """Take one thread, and no gradients."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    with torch.no_grad():
        yield
    torch.set_num_threads(before)


def deployed(layer):
    """Return a step of the frozen layer on an array."""
    frozen, x = stepper(layer), np.random.default_rng(0).standard_normal((1, D_MODEL)).astype(np.float32)
    return lambda: frozen.step(x)


def stepped(layer):
    """Return a step of the layer on a tensor."""
    held, x = [layer.init_state(1)], torch.randn(1, D_MODEL)

    def run():
        _, held[0] = layer.step(x, held[0])

    return run


def eager_lru(n):
    """Return a step of an LRU as it is commonly written in Torch."""
    layer, x = peers.seeded(lambda: peers.AssociativeLRU(n)), torch.randn(1, D_MODEL)
    poles, B, C, D = (
        torch.polar(torch.rand(n), torch.rand(n)),
        layer.B.mT.contiguous(),
        layer.C.mT.contiguous(),
        layer.D,
    )
    held = [torch.zeros(1, n, dtype=torch.complex64)]

    def run():
        held[0] = poles * held[0] + x.to(B.dtype) @ B
        return (held[0] @ C).real + D * x

    return run


def hugging_face(n):
    """Return a step of the mixer of transformers with its cache, or None."""
    if find_spec("transformers") is None:
        return None
    from transformers import DynamicCache
    from transformers.models.mamba.modeling_mamba import MambaConfig

    mixer = peers.hugging_face_mamba(n).eval()
    cache = DynamicCache(config=MambaConfig(hidden_size=D_MODEL, state_size=n, num_hidden_layers=1))
    mixer(torch.randn(1, 8, D_MODEL), cache_params=cache)
    x = torch.randn(1, 1, D_MODEL)
    return lambda: mixer(x, cache_params=cache)


def mambapy(n):
    """Return a step of the block of mambapy, or None."""
    block = peers.mambapy_mamba(n)
    if block is None:
        return None
    block.eval()
    channels, taps = block.config.d_inner, block.config.d_conv - 1
    held, x = [(torch.zeros(1, channels, n), torch.zeros(1, channels, taps))], torch.randn(1, D_MODEL)

    def run():
        _, held[0] = block.step(x, held[0])

    return run


@pytest.mark.parametrize("n", [256, 64, 16])
def test_mamba(race, n):
    """The whole block."""
    layer = ssm_zoo.Mamba(D_MODEL, n)
    contestants = {
        "ours": deployed(layer),
        "ours, tensors": stepped(layer),
        "transformers": hugging_face(n),
        "mambapy": mambapy(n),
    }
    race(f"step of Mamba, N={n}", contestants, loops=LOOPS)


@pytest.mark.parametrize("n", [256, 64, 32])
def test_lru(race, n):
    """128 features."""
    layer = ssm_zoo.LRU(D_MODEL, n)
    contestants = {"ours": deployed(layer), "ours, tensors": stepped(layer), "Torch, complex": eager_lru(n)}
    race(f"step of LRU, N={n}", contestants, loops=LOOPS)


@pytest.mark.parametrize("name", ["S5", "S4D", "Mamba2"])
def test_the_others(race, name):
    """64 states; peers have no fused step to compare with."""
    layer = getattr(ssm_zoo, name)(D_MODEL, 64)
    race(f"step of {name}, N=64", {"ours": deployed(layer), "ours, tensors": stepped(layer)}, loops=LOOPS)
