"""What one training step (forward, backward, optimiser) costs before a cut and after it.

The models and batches are those of the presets, as `ssm-zoo train` runs them: the CompreSSM paper's sMNIST model (one
block, H = 8, 784 steps, batch 50), and byte language models of Mamba and Mamba-2. `ours` is the model after the cut.
Run `pytest benchmarks/bench_training_step.py --benchmark-only`.
"""

from __future__ import annotations

import pytest
import torch
from torch.nn.functional import cross_entropy

from ssm_zoo.models import ClassifierConfig, LanguageModel, LanguageModelConfig, SequenceClassifier
from ssm_zoo.process import keep_freed_memory
from ssm_zoo.scan import set_scan_threads
from ssm_zoo.training import TrainConfig

keep_freed_memory()


@pytest.fixture
def narrow():
    """Leave Torch one thread, and the scans as many as there are: as `ssm-zoo train` does for a model so narrow."""
    threads = torch.get_num_threads()
    before = set_scan_threads(threads)
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
    set_scan_threads(before)


def classifier(d_state, scan="auto"):
    """Return a step of the sMNIST model."""
    torch.manual_seed(0)
    shape = {"d_model": 8, "d_state": d_state, "n_layers": 1, "dropout": 0.1}
    model = SequenceClassifier(ClassifierConfig(d_input=1, n_classes=10, layer="lru", **shape))
    model.blocks[0].layer.scan = scan
    optimizer = torch.optim.Adam(model.parameters(), fused=True)
    x, y = torch.rand(50, 784, 1), torch.randint(10, (50,))

    def step():
        optimizer.zero_grad()
        cross_entropy(model(x), y).backward()
        optimizer.step()

    return step


def language_model(layer, d_state):
    """Return a step of a byte language model."""
    torch.manual_seed(0)
    preset = TrainConfig.preset("bytes", layer=layer, d_state=d_state)
    shape = {name: getattr(preset, name) for name in ("layer", "d_model", "d_state", "n_layers")}
    model = LanguageModel(LanguageModelConfig(vocab_size=256, **shape))
    optimizer = torch.optim.AdamW(model.parameters(), fused=True)
    ids = torch.randint(256, (preset.batch_size, preset.length + 1))

    def step():
        optimizer.zero_grad()
        cross_entropy(model(ids[:, :-1]).flatten(0, 1), ids[:, 1:].flatten()).backward()
        optimizer.step()

    return step


@pytest.mark.parametrize("order", [28, 13])
def test_smnist(race, narrow, order):
    """N = 256 before the cut."""
    race(f"training step, sMNIST, N=256 to {order}", {"ours": classifier(order), "full": classifier(256)}, rounds=15)


def test_smnist_scan(race, narrow):
    """The fused scan beside an associative one in Torch."""
    race("training step, sMNIST, N=256, scan", {"ours": classifier(256), "torch scan": classifier(256, "torch")})


@pytest.mark.parametrize("layer", ["mamba", "mamba2"])
@pytest.mark.parametrize("order", [16, 8])
def test_bytes(race, layer, order):
    """N = 64 before the cut."""
    sides = {"ours": language_model(layer, order), "full": language_model(layer, 64)}
    race(f"training step, bytes, {layer}, N=64 to {order}", sides, rounds=9)
