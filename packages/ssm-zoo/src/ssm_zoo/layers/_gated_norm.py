"""The norm inside Mamba-2."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from ..scan.norm import gated_norm

if TYPE_CHECKING:
    from jaxtyping import Float

    from ..scan import Implementation


class GatedRMSNorm(nn.Module):
    r"""$w \odot v / \sqrt{\mathrm{mean}(v^2) + \epsilon}$, $v = u \odot \mathrm{silu}(z)$, over groups of channels.

    Parameters
    ----------
    d
        Channels.
    groups
        Groups of channels, each normalised by itself.
    norm_before_gate
        Normalise u and multiply with silu(z) last.
    eps
        Added to the mean square.
    where
        Device and dtype of the weight.
    """

    def __init__(
        self, d: int, groups: int = 1, *, norm_before_gate: bool = False, eps: float = 1e-5, **where: Any
    ) -> None:
        super().__init__()
        self.groups, self.norm_before_gate, self.eps = groups, norm_before_gate, eps
        self.weight = nn.Parameter(torch.ones(d, **where))
        self.weight._no_weight_decay = True  # type: ignore[attr-defined]

    def forward(
        self, u: Float[Tensor, "batch length d"], z: Float[Tensor, "batch length d"], implementation: Implementation
    ) -> Float[Tensor, "batch length d"]:
        """Return the gated and normalised u, in single precision at least."""
        weight = self.weight.to(torch.promote_types(self.weight.dtype, torch.float32))
        options: dict[str, Any] = {"groups": self.groups, "eps": self.eps, "norm_before_gate": self.norm_before_gate}
        return gated_norm(u, z, weight, **options, implementation=implementation)
