"""The state of Mamba and Mamba-2."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor


class MambaState(NamedTuple):
    """What a layer carries from step to step."""

    conv: Tensor
    """The last d_conv - 1 inputs of the convolution, the oldest first, (batch, channels, d_conv - 1)."""
    ssm: Tensor
    """The state of the scan: (batch, d_inner, d_state) in Mamba, (batch, heads, headdim, d_state) in Mamba-2."""
