"""Against mambapy, where it is installed: its checkpoints load by their names, and give its logits."""

import pytest
import torch
from torch import nn

from ssm_zoo.checkpoints import load_checkpoint

mamba = pytest.importorskip("mambapy.mamba")


class Theirs(nn.Module):
    """mambapy.lm.LM without what it imports."""

    def __init__(self, config, vocab_size):
        super().__init__()
        self.embedding = nn.Embedding(vocab_size, config.d_model)
        self.mamba = mamba.Mamba(config)
        self.norm_f = mamba.RMSNorm(config.d_model, config.rms_norm_eps)
        self.lm_head = nn.Linear(config.d_model, vocab_size, bias=False)

    def forward(self, tokens):
        return self.lm_head(self.norm_f(self.mamba(self.embedding(tokens))))


def test_their_language_model_loads_and_gives_their_logits():
    torch.manual_seed(0)
    theirs = Theirs(mamba.MambaConfig(d_model=16, n_layers=2, d_state=6), vocab_size=20).eval()
    ids = torch.randint(20, (2, 33))

    ours = load_checkpoint(theirs.state_dict())

    assert not ours.config.tie_embeddings
    torch.testing.assert_close(ours(ids), theirs(ids), rtol=1e-5, atol=1e-5)
