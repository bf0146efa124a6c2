r"""Mamba: a selection of the states that all channels share, with the others folded into the output map.

A change of coordinates would have to keep $\exp(\Delta_t A)$ diagonal in every channel; only a selection does. The rows
of `x_proj` that make $C_t$ are linear, so $C_t^T h \approx C_t^T M h_K$ is exactly what rows $M^T W_C$ compute: the
layer keeps its class, and a checkpoint its format.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import torch

from ...layers import Surgery
from ..selected import Selected
from .selective import SelectiveAdapter

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import numpy as np
    from torch import Tensor

    from ..evidence import Evidence
    from ..proposal import Plan


class MambaAdapter(SelectiveAdapter):
    """See `Adapter`.

    Parameters
    ----------
    layer
        A `Mamba`.
    """

    @property
    def d_state(self) -> int:
        """Return N."""
        return self.layer.get_parameter("A_log").shape[1]

    def gains(self) -> np.ndarray:
        """Return how large the parameters of each state are: the product of its rows that make B and C."""
        N, weight = self.d_state, self.layer.get_parameter("x_proj.weight").detach().double()
        B, C = weight[-2 * N : -N].norm(dim=1), weight[-N:].norm(dim=1)
        return (B * C).cpu().numpy()

    def balanced(self, Z_P: np.ndarray, Z_Q: np.ndarray, *, has_bound: bool) -> Plan:
        """Pick states by both moments, and fold by the first."""
        del has_bound
        return Selected.by_moments(Z_P @ Z_P.T, Z_Q @ Z_Q.T)

    def ranked(self, scores: np.ndarray) -> Plan:
        """Pick states by their scores; nothing is folded."""
        return Selected.by_scores(scores)

    def surgery(self, plan: Plan, slots: int, evidence: Evidence) -> tuple[int, Surgery]:
        """Select, and fold the others into the rows of C."""
        del evidence
        selected = cast(Selected, plan)
        kept, N = torch.from_numpy(selected.kept(slots)), self.d_state
        where, R = self.layer.get_parameter("A_log").device, len(self.layer.get_parameter("x_proj.weight")) - 2 * N
        kept = kept.to(where)
        M = torch.from_numpy(selected.fold(slots)).to(where)
        rows = torch.cat([torch.arange(R, device=where), R + kept, R + N + kept])

        def fold(old: Mapping[str, Tensor]) -> dict[str, Tensor]:
            weight = old["x_proj.weight"].detach()
            dt, B, C = weight.double().split([R, N, N])
            folded = torch.cat([dt, B[kept], M.mT @ C]).to(weight.dtype)
            return {"A_log": old["A_log"].detach()[:, kept], "x_proj.weight": folded}

        def follow(name: str, pick: Callable[[Tensor], Tensor]) -> Callable[[Mapping[str, Tensor], int], Tensor]:
            return lambda old, _: pick(old[name])  # what acts on a kept state goes on acting on it

        moments = {
            "A_log": follow("A_log", lambda old: old[:, kept]),
            "x_proj.weight": follow("x_proj.weight", lambda old: old[rows]),
        }
        parameters = fold(dict(self.layer.named_parameters()))
        return slots, Surgery(parameters, moments, {"x_proj.out_features": len(rows)}, fold)
