"""One step of Mamba-2 in one compiled kernel."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ._mamba2_kernel import step_at
from ._selective_step import SelectiveStep

if TYPE_CHECKING:
    from .mamba2 import Mamba2


class Mamba2Step(SelectiveStep):
    """See `SelectiveStep`.

    Parameters
    ----------
    layer
        One that `suits`.
    """

    kernel = staticmethod(step_at)
    OTHERS = ("dt_bias", "A_log", "D", "norm.weight", "mix_B", "mix_C")

    def __init__(self, layer: Mamba2) -> None:
        super().__init__(layer)
        channels = layer.conv1d.out_channels
        sizes = layer.d_model, layer.nheads, layer.headdim, layer.ngroups, layer.d_state, layer.d_conv, layer._rows
        norm = getattr(layer, "norm", None)
        mixed = 0 if layer.mix_B is None else 2 * layer.ngroups * layer.d_state
        counts = layer.d_inner + channels + layer.nheads, channels, layer.d_inner, mixed
        lines = [-(-n // 16) * 16 for n in counts]
        scratch = tuple(np.zeros(n, dtype=np.float32) for n in lines)
        low, high = layer.dt_limit
        limits = float(low), float(high), 1.0 if norm is None else norm.eps
        options = layer.D_has_hdim, norm is not None, norm is not None and norm.norm_before_gate
        self._rest = self._pointers(), scratch, sizes, limits, options
        self._shapes = (layer.d_model,), (channels, layer.d_conv - 1), (layer.nheads, layer.headdim, layer.d_state)
