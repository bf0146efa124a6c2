"""Dropout that is fast on a CPU."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor


class Dropout(nn.Module):
    """y = x ⊙ m / (1 − p) with m = 0 with probability p, else 1, while training.

    The same law as `torch.nn.Dropout` with p rounded to a multiple of 2⁻¹⁶; it draws 16 random bits per element instead
    of a double, which is three times as fast on a CPU.

    Parameters
    ----------
    probability
        p, in [0, 1).
    """

    def __init__(self, probability: float) -> None:
        super().__init__()
        self.probability = probability

    def forward(self, x: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """Return `x` with some elements dropped and the others scaled up; `x` itself in evaluation mode."""
        if not self.training or self.probability == 0:
            return x
        words = torch.empty(-(-x.numel() // 4), dtype=torch.int64, device=x.device).random_(-(2**63), None)
        bits = words.view(torch.int16)[: x.numel()].view(x.shape)
        dropped = round(self.probability * 2**16)
        return x * ((bits >= dropped - 2**15) * (1 / (1 - dropped / 2**16)))

    def extra_repr(self) -> str:
        """Return the probability, for `print(model)`."""
        return f"{self.probability}"
