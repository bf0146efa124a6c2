"""All layers are cut together, with their followers and the optimiser, or none is."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
from torch import nn

from .analysis import naming
from .decision import decide
from .distributed import rewrap
from .followers import follow
from .surgery import Operation, install, prepare

if TYPE_CHECKING:
    from .adapters import Adapter
    from .analysis import Finding
    from .balancing import Method
    from .certificate import Limits
    from .distributed import Ranks
    from .evidence import Evidence
    from .ledger import Cut
    from .moments import Moments
    from .refinement import Refinement


@dataclass(frozen=True)
class Cutter:
    """Decides what becomes of each layer, does it, and undoes it if the loss speaks against it.

    Parameters
    ----------
    model, optimizer, method, refinement, limits, moments
        Of the reducer.
    adapters
        Of the layers, by name.
    followers
        The copies of each layer that are cut by the same maps.
    ranks
        The processes that train together.
    """

    model: nn.Module
    optimizer: torch.optim.Optimizer | None
    adapters: Mapping[str, Adapter]
    followers: Mapping[str, Sequence[nn.Module]]
    method: Method
    refinement: Refinement | None
    limits: Limits
    moments: Moments
    ranks: Ranks

    def cut(
        self,
        findings: Mapping[str, Finding],
        evidence: Mapping[str, Evidence],
        kept: Mapping[str, Cut],
        spent: Mapping[str, float],
        loss: Callable[[], float] | None,
    ) -> list[Cut]:
        """Return the account of every layer, after the cuts were made that nothing speaks against.

        Parameters
        ----------
        findings, evidence
            By layer.
        kept
            The accounts of layers that stay as they are.
        spent
            The output errors of their cuts so far, summed up.
        loss
            See `InTrainingReducer.step`.
        """
        cuts, operations = self._decided(findings, evidence, kept, spent)
        before = self.measured(loss)
        undo = install([pair for name, made in operations.items() for pair in self._places(name, made)], self.optimizer)
        try:
            after = self.measured(loss)
            values = self.values(evidence, list(operations))
        except BaseException:
            undo()
            raise
        reason = self.limits.loss_refusal(before, after)
        if reason:
            undo()
            refused = {
                name: replace(cuts[name], status="refused", reason=reason, after=cuts[name].before)
                for name in operations
            }
            return [replace(cut, loss_before=before) for cut in (cuts | refused).values()]
        if operations:
            rewrap(self.model)
        return [
            replace(cut, hsv_after=values.get(name, []), loss_before=before, loss_after=after)
            for name, cut in cuts.items()
        ]

    def values(self, evidence: Mapping[str, Evidence], names: Sequence[str]) -> dict[str, list[float]]:
        """Return what the states of some layers are worth as these now are."""

        def work(name: str) -> list[float]:
            return self.method.plan(self.adapters[name], evidence[name]).values.tolist()

        return dict(zip(names, self.ranks.each(work, names), strict=True))

    def measured(self, loss: Callable[[], float] | None) -> float | None:
        """Return the loss, leaving the random numbers of the training run where they were."""
        if loss is None:
            return None
        with torch.random.fork_rng(devices=[]), torch.no_grad():
            return self.ranks.mean(float(loss()))

    def _decided(
        self,
        findings: Mapping[str, Finding],
        evidence: Mapping[str, Evidence],
        kept: Mapping[str, Cut],
        spent: Mapping[str, float],
    ) -> tuple[dict[str, Cut], dict[str, list[Operation]]]:
        """Return the account of every layer, and what is done to it and its followers if nothing speaks against it."""

        def work(name: str) -> tuple[Cut, list[Operation] | None]:
            adapter = self.adapters[name]
            with naming(name):
                decided = kept[name], adapter, findings[name], evidence[name]
                cut, proposal = decide(*decided, self.refinement, self.limits, spent[name])
            if proposal is None:
                return cut, None
            surgery = proposal.surgery
            followers = [prepare(layer, follow(surgery, layer), None) for layer in self.followers[name]]
            return cut, [prepare(adapter.layer, surgery, self.optimizer, self.moments), *followers]

        found = dict(zip(findings, self.ranks.each(work, findings), strict=True))
        cuts = {name: cut for name, (cut, _) in found.items()}
        return cuts, {name: made for name, (_, made) in found.items() if made is not None}

    def _places(self, name: str, operations: list[Operation]) -> list[tuple[nn.Module, Operation]]:
        return list(zip([self.adapters[name].layer, *self.followers[name]], operations, strict=True))
