r"""Rows behind which there is a filter and SiLU, refitted to what linear rows would be folded to.

Rows $w_i$, filters $f_i$ and biases make $C_i = \mathrm{silu}(f_i * w_i x + b_i)$. To take the part of dropped states
in, $C$ should become $M^T C_{old}$, which no rows make exactly; those that come closest are found by Adam, in the norm
in which an error counts: $E (e^T h)^2 \approx \mathrm{tr}\, P\, E[e e^T]$ for states with moment $P$.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch.nn.functional import linear, pad, silu

if TYPE_CHECKING:
    from collections.abc import Mapping

    from jaxtyping import Bool, Float
    from torch import Tensor

_MOST = 4096  # steps of sequences that are fitted to
_RATE = 0.1  # of the root mean square of each parameter


@dataclass(frozen=True)
class Rows:
    """Rows of a linear map and of the filter behind it.

    Parameters
    ----------
    weight, bias
        Of the linear map.
    filters, shift
        Of the filter, causal, channel by channel.
    """

    weight: Float[Tensor, "r d_model"]
    bias: Float[Tensor, " r"] | None
    filters: Float[Tensor, "r taps"]
    shift: Float[Tensor, " r"] | None

    @classmethod
    def of(cls, parameters: Mapping[str, Tensor]) -> Rows:
        """Take the parameters of `in_proj` and `conv1d` by their names."""
        bias, shift = parameters.get("in_proj.bias"), parameters.get("conv1d.bias")
        return cls(parameters["in_proj.weight"], bias, parameters["conv1d.weight"].squeeze(1), shift)

    def named(self) -> dict[str, Tensor]:
        """Return the parameters by the names that `of` takes them by."""
        names = ("in_proj.weight", "in_proj.bias", "conv1d.weight", "conv1d.bias")
        values = (self.weight, self.bias, self.filters[:, None], self.shift)
        return {name: value for name, value in zip(names, values, strict=True) if value is not None}

    def __call__(self, x: Float[Tensor, "batch length d_model"]) -> Float[Tensor, "batch length r"]:
        """Return the activations."""
        taps, length = self.filters.shape[1], x.shape[1]
        v = pad(linear(x, self.weight, self.bias), (0, 0, taps - 1, 0))
        v = sum(v[:, k : k + length] * self.filters[:, k] for k in range(taps))  # type: ignore[assignment]
        return silu(v if self.shift is None else v + self.shift)


def refitted(
    rows: Rows,
    x: Float[Tensor, "batch length d_model"],
    wanted: Float[Tensor, "batch length r"],
    real: Bool[Tensor, "batch length"],
    P: Float[Tensor, "g s s"],
    steps: int,
) -> Rows:
    """Return the rows that come closest to what is wanted, or the given ones if none come closer.

    Parameters
    ----------
    rows
        Where the search starts.
    x, wanted, real
        Inputs and activations, and which steps count.
    P
        The moments of the states that the activations are multiplied with, by groups of s; r = g s.
    steps
        Of Adam, on all of the data.
    """
    few = max(1, -(-_MOST // x.shape[1]))
    x, wanted, real = x[:few], wanted[:few], real[:few, :, None]
    spectrum = torch.linalg.eigh(P)
    root = (spectrum.eigenvectors * spectrum.eigenvalues.clamp_min(0).sqrt()[:, None]).to(wanted.dtype)

    def cost(at: Mapping[str, Tensor]) -> Tensor:
        e = ((Rows.of(at)(x) - wanted) * real).unflatten(-1, P.shape[:2])
        return torch.einsum("blgs,gsr->blgr", e, root).square().sum()

    given = {name: tensor.detach() for name, tensor in rows.named().items()}
    with torch.enable_grad():
        at = {name: tensor.clone().requires_grad_() for name, tensor in given.items()}
        adam = torch.optim.Adam([{"params": [tensor], "lr": _RATE * _size(tensor)} for tensor in at.values()])
        annealed = torch.optim.lr_scheduler.CosineAnnealingLR(adam, steps)
        for _ in range(steps):
            adam.zero_grad()
            cost(at).backward()
            adam.step()
            annealed.step()
    found = {name: tensor.detach() for name, tensor in at.items()}
    return Rows.of(found if cost(found) < cost(given) else given)


def _size(tensor: Tensor) -> float:
    return float(tensor.detach().square().mean().sqrt()) + 1e-3  # something for biases that are zero
