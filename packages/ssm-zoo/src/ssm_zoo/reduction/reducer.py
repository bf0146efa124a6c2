"""The one line in a training loop."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from ssm_balance import BalanceError
from ssm_gramians import GramiansError

from .._errors import OptionError, ReductionError
from ..layers import Reducible, Surgery
from .balancing import Balancing, balancing
from .certificate import Limits
from .ledger import Cut, Status
from .proposal import Proposal, propose, split
from .side_by_side import side_by_side
from .surgery import operate

if TYPE_CHECKING:
    from ssm_balance import Selection

    from .schedule import Schedule


class InTrainingReducer:
    """Shrinks the state of every reducible layer of a model while it trains: call `step()` once per training step.

    At the steps that the schedule names, each layer is balanced, the selection reads its Hankel singular values, and
    the states that do not matter are cut: the parameters are replaced by those of the smaller layer, and the
    optimiser's moments move along. All layers are worked out before the first one is touched; what the evidence speaks
    against is refused; the ledger keeps the account.

    Parameters
    ----------
    model
        Any module that holds layers which implement `Reducible`, such as `LRU` and `S5`.
    optimizer
        The optimiser of its parameters; None after training. The reducer replaces parameters: hold no references.
    schedule
        When: `Warmup`, `Every`, `At`, or anything with `due(step)`.
    selection
        How many: `ssm_balance.Energy`, `Order`, `Error`, or anything with `select(hsv)`. It sees the real system, in
        which a layer with N slots has 2N states: `Order(32)` keeps 16 slots.
    balance
        From what: "activations" (the layer's inputs in the last forward pass), "white", or a `Balancing`.
    limits
        What a cut may cost.
    max_sequences
        How many sequences of the last mini-batch are looked at, at most.

    Raises
    ------
    OptionError
        If the model has no reducible layer, or an option is out of range.

    Examples
    --------
    >>> reducer = InTrainingReducer(model, optimizer, Warmup(total_steps=1000), Energy(0.98))  # doctest: +SKIP
    >>> for x, y in batches:  # doctest: +SKIP
    ...     loss = criterion(model(x), y)
    ...     optimizer.zero_grad()
    ...     loss.backward()
    ...     optimizer.step()
    ...     reducer.step()

    References
    ----------
    CompreSSM, arXiv 2510.02823: the idea and the schedule. The balancing by activations is our own.
    """

    def __init__(
        self,
        model: nn.Module,
        optimizer: torch.optim.Optimizer | None,
        schedule: Schedule,
        selection: Selection,
        *,
        balance: str | Balancing = "activations",
        limits: Limits | None = None,
        max_sequences: int = 32,
    ) -> None:
        self.layers = {name: module for name, module in model.named_modules() if isinstance(module, Reducible)}
        if not self.layers:
            msg = f"{type(model).__name__} has no reducible layer; want at least one, such as LRU or S5"
            raise OptionError(msg)
        if max_sequences < 1:
            msg = f"max_sequences is {max_sequences}; want at least one sequence to balance from"
            raise OptionError(msg)
        self.model, self.optimizer = model, optimizer
        self.schedule, self.selection = schedule, selection
        self.balancing, self.limits = balancing(balance), limits or Limits()
        self.max_sequences = max_sequences
        self.steps = 0
        self.ledger: list[Cut] = []
        self._inputs: dict[str, Tensor] = {}
        for name, layer in self.layers.items():
            cast(nn.Module, layer).register_forward_pre_hook(self._listener(name))

    def step(self, loss: Callable[[], float] | None = None) -> list[Cut]:
        """Count one training step, and reduce if one is due.

        Parameters
        ----------
        loss
            Returns the loss on the current mini-batch; called before and after the cut, for the ledger. A cut after
            which it is no longer finite is undone.

        Returns
        -------
        list
            A `Cut` for each layer if a reduction was due; empty otherwise.

        Raises
        ------
        ReductionError
            If a layer is unstable or holds NaN, or has seen no input since the last step; nothing was changed.
        UnsupportedError
            If the optimiser's state cannot follow; nothing was changed.
        """
        self.steps += 1
        if not self.schedule.due(self.steps):
            return []
        try:
            cuts = self._reduce(loss)
        finally:
            self._inputs.clear()
        self.ledger += cuts
        return cuts

    def state_dict(self) -> dict[str, Any]:
        """Return the number of steps and the ledger, as plain numbers, strings and lists."""
        return {"steps": self.steps, "ledger": [asdict(cut) for cut in self.ledger]}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from `state_dict`; the model must have been built with the sizes it then had."""
        self.steps = state["steps"]
        self.ledger = [Cut(**cut) for cut in state["ledger"]]

    def _listener(self, name: str) -> Callable[[nn.Module, tuple[Tensor, ...]], None]:
        def listen(layer: nn.Module, args: tuple[Tensor, ...]) -> None:
            if layer.training and self.schedule.due(self.steps + 1):
                self._inputs[name] = args[0].detach()[: self.max_sequences]

        return listen

    def _reduce(self, loss: Callable[[], float] | None) -> list[Cut]:
        proposals = dict(zip(self.layers, side_by_side(self._propose, self.layers), strict=True))
        cuts = {name: self._entry(name, proposal) for name, proposal in proposals.items()}
        before = _measured(loss)
        chosen = [name for name, cut in cuts.items() if cut.status == "cut"]
        operations = [(cast(nn.Module, self.layers[name]), cast(Surgery, proposals[name].surgery)) for name in chosen]
        undo = operate(operations, self.optimizer)
        try:
            after = _measured(loss)
            spectra = dict(zip(chosen, side_by_side(self._spectrum, chosen), strict=True))
        except BaseException:
            undo()
            raise
        if after is not None and not math.isfinite(after):
            undo()
            reason = f"the loss became {after} (it was {before:.4g}): all layers were put back"
            undone = {
                name: replace(cuts[name], status="refused", reason=reason, after=cuts[name].before) for name in chosen
            }
            return [replace(cut, loss_before=before) for cut in (cuts | undone).values()]
        return [
            replace(cut, hsv_after=spectra.get(name, []), loss_before=before, loss_after=after)
            for name, cut in cuts.items()
        ]

    def _propose(self, name: str) -> Proposal:
        if name not in self._inputs:
            msg = (
                f"layer {name!r} has seen no input since the last step; want a forward pass in training mode, then "
                "optimizer.step(), then reducer.step()"
            )
            raise ReductionError(msg)
        try:
            return propose(self.layers[name], self._inputs[name], self.balancing, self.selection, self.limits)
        except (ReductionError, BalanceError, GramiansError) as error:
            msg = f"layer {name!r} cannot be reduced at step {self.steps}: {error}"
            raise ReductionError(msg) from error

    def _spectrum(self, name: str) -> list[float]:
        """Return the Hankel singular values of a layer as it now is."""
        Z_P, Z_Q = self.balancing.factors(self.layers[name], split(self._inputs[name])[0])
        return np.linalg.svd(Z_Q.T @ Z_P, compute_uv=False).tolist()

    def _entry(self, name: str, proposal: Proposal) -> Cut:
        before, evidence = self.layers[name].d_state, proposal.certificate
        refusal = None if evidence is None else self.limits.refusal(evidence)
        status: Status = "kept" if evidence is None else "refused" if refusal else "cut"
        reason = refusal or f"{self.selection} asks for {proposal.slots} of {before} slots"
        return Cut(
            step=self.steps,
            layer=name,
            status=status,
            reason=reason,
            before=before,
            after=proposal.slots if status == "cut" else before,
            hsv=proposal.hsv.tolist(),
            **({} if evidence is None else asdict(evidence)),
            seconds=proposal.seconds,
        )


def _measured(loss: Callable[[], float] | None) -> float | None:
    """Return the loss, leaving the random numbers of the training run where they were."""
    if loss is None:
        return None
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        return float(loss())
