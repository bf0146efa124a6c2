"""What lies around the bare recurrence, as Torch operations: step sizes, feedthrough, gate and padding."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch.nn.functional import silu, softplus

from ssm_zoo.scan.lengths import blank, real_steps

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor


def around(
    scan: Callable[..., tuple],
    u: Tensor,
    dt: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor | None,
    z: Tensor | None,
    dt_bias: Tensor | None,
    positive: bool,
    lengths: Tensor | None,
) -> tuple:
    """Return what `scan(rate, drive, B, C, real)` does, its outputs with feedthrough and gated.

    The rate of padding is zero, so that states stay as they are, and so are drive, B and C; `real` is where there is
    none, (batch, length, 1), or None if there is none at all.
    """
    if lengths is not None:
        u, dt, B, C = (blank(x, lengths) for x in (u, dt, B, C))
    rate = dt if dt_bias is None else dt + dt_bias
    rate = softplus(rate) if positive else rate
    real = None if lengths is None else real_steps(lengths, u.shape[1])[:, :, None]
    rate = rate if real is None else torch.where(real, rate, 0)
    y, *rest = scan(rate, rate * u, B, C, real)
    y = y if D is None else y + D * u
    if z is not None:
        y = y * silu(z if lengths is None else blank(z, lengths))
    return y, *rest
