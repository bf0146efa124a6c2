"""What a layer that was worked out can still gain before it is put in place; what gains nothing is dropped."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol, cast

import torch

import ssm_balance as sb

from .._errors import require
from ..layers import Reducible
from .adapters.base import copied, output_error
from .surgery import operate

if TYPE_CHECKING:
    from torch import Tensor, nn

    from ssm_gramians import StateSpace

    from .adapters import Adapter
    from .evidence import Evidence
    from .proposal import Proposal


class Refinement(Protocol):
    """Betters a reduced layer."""

    def suits(self, layer: nn.Module) -> bool:
        """Say whether it is defined for a layer."""
        ...

    def refine(self, full: Adapter, reduced: Adapter, seen: Evidence) -> None:
        """Change the parameters of the reduced layer, a copy that is free to be changed, towards the full one."""
        ...


@dataclass(frozen=True)
class H2Polish:
    r"""$\min \lVert G - G_r \rVert_{H_2}$ over poles, inputs and outputs, from the reduced layer on: `refine_h2`.

    The error to white noise. For layers of one linear system, such as LRU and S5.

    Parameters
    ----------
    steps
        The most Newton steps.

    Raises
    ------
    OptionError
        If there is not even one step.
    """

    steps: int = 20

    def __post_init__(self) -> None:
        require(self.steps >= 1, f"got steps={self.steps}, wanted at least 1")

    def suits(self, layer: nn.Module) -> bool:
        """Say whether the layer is one linear system."""
        return isinstance(layer, Reducible)

    def refine(self, full: Adapter, reduced: Adapter, seen: Evidence) -> None:
        """Go down to a local optimum."""
        del seen
        start = reduced.system()
        found = sb.refine_h2(full.system(), start, max_steps=self.steps)
        diagonal = sb.diagonalize(found.system).system
        if found.after < found.before and diagonal.A.eigenvalues.shape == start.A.eigenvalues.shape:
            cast("Reducible", reduced.layer).load_system(_as_torch(diagonal))


@dataclass(frozen=True)
class Distillation:
    r"""$\min E \lVert y_t - \hat y_t \rVert^2$ on the activations of the measurement, by L-BFGS over what was resized.

    The full layer is the teacher. For all layers.

    Parameters
    ----------
    steps
        The most steps, each of one pass over these activations, forward and back, or a few.

    Raises
    ------
    OptionError
        If there is not even one step.
    """

    steps: int = 10

    def __post_init__(self) -> None:
        require(self.steps >= 1, f"got steps={self.steps}, wanted at least 1")

    def suits(self, layer: nn.Module) -> bool:
        """Say yes."""
        del layer
        return True

    def refine(self, full: Adapter, reduced: Adapter, seen: Evidence) -> None:
        """Go down the gradient of the output error."""
        with torch.no_grad():
            wanted = full.outputs(seen)
        scale = wanted.square().mean()
        free = [parameter for parameter in reduced.layer.parameters() if parameter.requires_grad]
        optimizer = torch.optim.LBFGS(free, max_iter=self.steps, history_size=self.steps, line_search_fn="strong_wolfe")

        def error() -> Tensor:
            optimizer.zero_grad()
            loss = (reduced.outputs(seen) - wanted).square().mean() / scale
            loss.backward()
            return loss

        with torch.enable_grad():
            optimizer.step(error)


REFINEMENTS: dict[str, Callable[[], Refinement]] = {"h2": H2Polish, "distillation": Distillation}
"""Refinements by name."""


def fitting(choice: str | Refinement | None, layers: Mapping[str, nn.Module]) -> Refinement | None:
    """Return the refinement of that name in `REFINEMENTS`, or the object itself, if it suits all the layers.

    Raises
    ------
    OptionError
        If there is no such name, or it does not suit a layer.
    """
    if isinstance(choice, str):
        known = ", ".join(map(repr, REFINEMENTS))
        require(choice in REFINEMENTS, f"got refinement={choice!r}, wanted one of {known}, an object or None")
        choice = REFINEMENTS[choice]()
    strange = [name for name, layer in layers.items() if choice is not None and not choice.suits(layer)]
    require(not strange, f"{choice} does not suit {', '.join(strange)}; wanted one that does, such as 'distillation'")
    return choice


def refined(refinement: Refinement, adapter: Adapter, proposal: Proposal, evidence: Evidence) -> Proposal:
    """Return the proposal with the better parameters, if the error on activations that were held out has fallen.

    Parameters
    ----------
    refinement
        Suits the layer.
    adapter, proposal, evidence
        Of the layer; it is untouched.
    """
    seen, probe = evidence.split()
    twin, olds = copied(adapter), proposal.surgery.parameters
    own = {name: None if old is None else old.clone() for name, old in olds.items()}
    operate([(twin.layer, replace(proposal.surgery, parameters=own))], None)
    for name, parameter in twin.layer.named_parameters():
        parameter.requires_grad_(name in olds)  # also where the layer is frozen: the cut changes it anyway
    refinement.refine(adapter, twin, seen)
    values = {name: None if old is None else twin.layer.get_parameter(name).detach() for name, old in olds.items()}
    surgery = replace(proposal.surgery, parameters=values)
    before, after = proposal.certificate.output_error, output_error(adapter, surgery, probe)
    if not after < before:
        return proposal
    certificate = replace(
        proposal.certificate, output_error=after, unrefined_error=before, error_bound=None, hinf_error=None
    )
    return replace(proposal, surgery=surgery, certificate=certificate)


def _as_torch(system: StateSpace) -> StateSpace:
    A, B, C, D = (torch.tensor(matrix) for matrix in (system.A.eigenvalues, system.B, system.C, system.D))
    return replace(system, A=replace(system.A, eigenvalues=A), B=B, C=C, D=D)
