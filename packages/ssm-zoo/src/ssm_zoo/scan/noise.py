"""What dropouts leave out."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import torch

if TYPE_CHECKING:
    from jaxtyping import Float, Int16
    from torch import Tensor

SPARE = 32
"""Numbers of noise beyond the last, so that a kernel may read whole lines."""


class Noise(NamedTuple):
    """The random numbers of some dropouts of the same size and probability.

    Parameters
    ----------
    bits
        Random int16, a row for each dropout: of n numbers, those that meet bits below `dropped` - 2¹⁵ are left out,
        and the others scaled up.
    dropped
        2¹⁶ p, for a probability p.
    """

    bits: Int16[Tensor, "dropouts whole"]
    dropped: int

    @classmethod
    def draw(cls, dropouts: int, count: int, dropped: int, device: torch.device) -> Noise:
        """Return noise for so many dropouts of so many numbers: 16 random bits cost a third of a random double."""
        words = torch.empty(dropouts, -(-(count + SPARE) // 4), dtype=torch.int64, device=device)
        return cls(words.random_(-(2**63), None).view(torch.int16), dropped)

    def drop(self, which: int, x: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """Return `x` after one of the dropouts."""
        bits = self.bits[which, : x.numel()].view(x.shape)
        return x * ((bits >= self.dropped - 2**15).to(x.dtype) * (1 / (1 - self.dropped / 2**16)))
