"""The layers that others offer for a CPU, each as a function of a sequence; None where its library is not installed."""

from __future__ import annotations

import math
from importlib.util import find_spec

import torch
from torch import nn

D_MODEL, SEED = 128, 0


def seeded(make):
    """Return the layer, made from one seed."""
    torch.manual_seed(SEED)
    return make()


def hugging_face_mamba(n, *, compiled=False):
    """Return the mixer of transformers, on the path it takes without kernels for a GPU."""
    if find_spec("transformers") is None:
        return None
    from transformers.models.mamba.modeling_mamba import MambaConfig, MambaMixer

    config = MambaConfig(hidden_size=D_MODEL, state_size=n, num_hidden_layers=1, use_associative_scan=compiled)
    mixer = seeded(lambda: MambaMixer(config, layer_idx=0))
    return torch.compile(mixer) if compiled else mixer


def mambapy_mamba(n):
    """Return the block of mambapy with its parallel scan."""
    if find_spec("mambapy") is None:
        return None
    from mambapy.mamba import MambaBlock, MambaConfig

    return seeded(lambda: MambaBlock(MambaConfig(d_model=D_MODEL, n_layers=1, d_state=n)))


def hugging_face_mamba2(n):
    """Return the Mamba-2 mixer of transformers with its chunks of 256."""
    if find_spec("transformers") is None:
        return None
    from transformers.models.mamba2.modeling_mamba2 import Mamba2Config, Mamba2Mixer

    config = Mamba2Config(
        hidden_size=D_MODEL,
        state_size=n,
        expand=2,
        head_dim=64,
        num_heads=2 * D_MODEL // 64,
        n_groups=1,
        chunk_size=256,
    )
    return seeded(lambda: Mamba2Mixer(config, layer_idx=0))


def s5_pytorch(n):
    """Return the layer of s5-pytorch, all of whose n states are complex."""
    if find_spec("s5") is None:
        return None
    from s5 import S5

    return seeded(lambda: S5(D_MODEL, n))


class AssociativeLRU(nn.Module):
    """An LRU as it is commonly written in Torch: complex matrices and an associative scan over time."""

    def __init__(self, n: int) -> None:
        super().__init__()
        radius, phase = torch.rand(2, n)
        self.nu_log = nn.Parameter((-(0.9 + 0.099 * radius).log()).log())
        self.theta_log = nn.Parameter((2 * math.pi * (phase + 1e-3)).log())
        self.B = nn.Parameter(torch.randn(n, D_MODEL, dtype=torch.complex64) / math.sqrt(2 * D_MODEL))
        self.C = nn.Parameter(torch.randn(D_MODEL, n, dtype=torch.complex64) / math.sqrt(n))
        self.D = nn.Parameter(torch.randn(D_MODEL))

    def forward(self, x):
        """Map (batch, length, features) to the same shape."""
        from s5 import associative_scan, binary_operator

        poles = torch.exp(-self.nu_log.exp() + 1j * self.theta_log.exp())
        drive = x.to(self.B.dtype) @ self.B.mT
        _, states = torch.vmap(lambda one: associative_scan(binary_operator, (poles.expand_as(one), one)), out_dims=0)(
            drive
        )
        return (states @ self.C.mT).real + self.D * x


def associative_lru(n):
    """Return an `AssociativeLRU`; the scan is that of s5-pytorch."""
    return None if find_spec("s5") is None else seeded(lambda: AssociativeLRU(n))
