"""One step of Mamba in one compiled kernel."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ._mamba_kernel import step_at
from ._selective_step import SelectiveStep

if TYPE_CHECKING:
    from .mamba import Mamba


class MambaStep(SelectiveStep):
    """See `SelectiveStep`.

    Parameters
    ----------
    layer
        One that `suits`.
    """

    kernel = staticmethod(step_at)
    OTHERS = ("x_proj.weight", "dt_proj.weight", "dt_proj.bias", "A_log", "D")

    def __init__(self, layer: Mamba) -> None:
        super().__init__(layer)
        sizes = layer.d_model, layer.d_inner, layer.d_state, layer.dt_rank, layer.d_conv
        scratch = [2 * layer.d_inner, layer.d_inner, layer.dt_rank + 2 * layer.d_state, layer.d_inner]
        self._rest = self._pointers(), tuple(np.zeros(n, dtype=np.float32) for n in scratch), sizes
        self._shapes = (layer.d_model,), (layer.d_inner, layer.d_conv - 1), (layer.d_inner, layer.d_state)
