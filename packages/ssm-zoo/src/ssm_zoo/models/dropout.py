"""Dropout that is fast on a CPU."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import nn

from ..scan.noise import Noise

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

    def noise(self, dropouts: int, x: Float[Tensor, "*shape"]) -> Noise | None:
        """Return what so many dropouts of the shape of `x` leave out; None if they leave out nothing."""
        if not self.training or self.probability == 0:
            return None
        return Noise.draw(dropouts, x.numel(), round(self.probability * 2**16), x.device)

    def forward(self, x: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """Return `x` with some elements dropped and the others scaled up; `x` itself in evaluation mode."""
        noise = self.noise(1, x)
        return x if noise is None else noise.drop(0, x)

    def extra_repr(self) -> str:
        """Return the probability, for `print(model)`."""
        return f"{self.probability}"
