r"""Mamba: a selection of the states that all channels share, with the others folded into the output map.

A change of coordinates would have to keep $\exp(\Delta_t A)$ diagonal in every channel; only a selection does. The rows
of `x_proj` that make $C_t$ are linear, so $C_t^T h \approx C_t^T M h_K$ is exactly what rows $M^T W_C$ compute: the
layer keeps its class, and a checkpoint its format.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import numpy as np
import torch
from torch import nn

from ..._errors import ReductionError, UnsupportedError
from ...layers import Surgery, gather_moments
from ..certificate import Certificate
from ..proposal import Proposal
from ..selected import Selected
from .diagonal import output_error

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from torch import Tensor

    from ssm_gramians import StateSpace

    from ..evidence import Evidence
    from ..proposal import Plan


class MambaAdapter:
    """See `Adapter`.

    Parameters
    ----------
    layer
        A `Mamba`.
    """

    states_per_slot = 1

    def __init__(self, layer: nn.Module) -> None:
        self.layer = layer

    @property
    def d_state(self) -> int:
        """Return N."""
        return self.layer.get_parameter("A_log").shape[1]

    def check(self, evidence: Evidence) -> None:
        """Raise `ReductionError` if the layer or what it saw is not finite."""
        seen: dict[str, Tensor] = {"activations": evidence.inputs, **dict(self.layer.named_parameters())}
        for name, value in seen.items():
            if not bool(value.isfinite().all()):
                msg = f"the layer has NaN or infinity in its {name}; want finite values: has the training diverged?"
                raise ReductionError(msg)

    def system(self) -> StateSpace:
        """Raise `UnsupportedError`: the layer's map changes with its input."""
        msg = (
            f"{type(self.layer).__name__} is selective: it has no system whose white-noise Gramians or modes could be "
            "weighed; balance by 'activations' or 'adjoints'"
        )
        raise UnsupportedError(msg)

    def gains(self) -> np.ndarray:
        """Return how large the parameters of each state are: the product of its rows that make B and C."""
        N, weight = self.d_state, self.layer.get_parameter("x_proj.weight").detach().double()
        B, C = weight[-2 * N : -N].norm(dim=1), weight[-N:].norm(dim=1)
        return (B * C).cpu().numpy()

    def state_moments(self, evidence: Evidence) -> np.ndarray:
        r"""Return $E[h h^T]$ over the batch, time and channels."""
        return self._gathered(evidence)[0]

    def adjoint_moments(self, evidence: Evidence) -> np.ndarray:
        r"""Return $E[a a^T]$ over the batch, time and channels."""
        if evidence.gradients is None:
            msg = "the layer has seen no gradients; want loss.backward() between the forward pass and reducer.step()"
            raise ReductionError(msg)
        return self._gathered(evidence)[1]

    def output_moments(self, evidence: Evidence) -> np.ndarray:
        r"""Return $E[C_t C_t^T]$: what an error of the states does at once."""
        seen: list[Tensor] = []
        handle = self.layer.get_submodule("x_proj").register_forward_hook(lambda *args: seen.append(args[-1].detach()))
        try:
            with torch.no_grad():
                self.outputs(evidence)
        finally:
            handle.remove()
        C = seen[0][..., -self.d_state :].flatten(0, -2).double()
        return (C.mT @ C / len(C)).cpu().numpy()

    def balanced(self, Z_P: np.ndarray, Z_Q: np.ndarray, *, has_bound: bool) -> Plan:
        """Pick states by both moments, and fold by the first."""
        del has_bound
        return Selected.by_moments(Z_P @ Z_P.T, Z_Q @ Z_Q.T)

    def ranked(self, scores: np.ndarray) -> Plan:
        """Pick states by their scores; nothing is folded."""
        return Selected.by_scores(scores)

    def propose(self, plan: Plan, slots: int, evidence: Evidence) -> Proposal:
        """Select, fold, and measure on every fourth sequence."""
        surgery = self._surgery(cast(Selected, plan), slots)
        _, probe = evidence.split()
        return Proposal(slots, surgery, Certificate(output_error(self, surgery, probe)))

    def outputs(self, evidence: Evidence) -> Tensor:
        """Return the layer's outputs."""
        return self.layer(evidence.inputs, **dict(evidence.options))

    def _surgery(self, plan: Selected, slots: int) -> Surgery:
        kept, N = torch.from_numpy(plan.kept(slots)), self.d_state
        A_log, weight = self.layer.get_parameter("A_log").detach(), self.layer.get_parameter("x_proj.weight").detach()
        kept = kept.to(weight.device)
        M = torch.from_numpy(plan.fold(slots)).to(weight.device)
        dt, B, C = weight.double().split([len(weight) - 2 * N, N, N])
        rows = torch.cat([torch.arange(len(dt), device=kept.device), len(dt) + kept, len(dt) + N + kept])
        parameters = {"A_log": A_log[:, kept], "x_proj.weight": torch.cat([dt, B[kept], M.mT @ C]).to(weight.dtype)}

        def follow(name: str, pick: Callable[[Tensor], Tensor]) -> Callable[[Mapping[str, Tensor], int], Tensor]:
            return lambda old, _: pick(old[name])  # what acts on a kept state goes on acting on it

        moments = {
            "A_log": follow("A_log", lambda old: old[:, kept]),
            "x_proj.weight": follow("x_proj.weight", lambda old: old[rows]),
        }
        return Surgery(parameters, moments, {"x_proj.out_features": len(rows)})

    def _gathered(self, evidence: Evidence) -> tuple[np.ndarray, np.ndarray]:
        """Run the layer once more, forward and with the gradients backward, and return both moments."""
        with torch.enable_grad(), gather_moments(self.layer) as gathered:
            y = self.outputs(evidence)
            (moments,) = gathered.values()
            if evidence.gradients is None:
                return moments.states().cpu().numpy(), np.zeros(0)
            torch.autograd.backward(y, evidence.gradients.to(y), inputs=[moments.tap])
        return moments.states().cpu().numpy(), moments.adjoints().cpu().numpy()
