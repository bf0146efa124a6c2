"""The one line in a training loop."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, cast

from .._errors import OptionError, ReductionError
from .adapters import Adapter, adapter_for, is_reducible
from .analysis import Finding, Pending, analyse
from .certificate import Limits
from .cutter import Cutter
from .distributed import Ranks
from .evidence import Evidence, Listener
from .followers import followed, unwrap
from .ledger import Cut, spent
from .methods import method_named
from .moments import Moments
from .refinement import Refinement, fitting
from .schedule import Schedule, schedule_of

if TYPE_CHECKING:
    import torch
    from torch import nn
    from torch.distributed import ProcessGroup

    from .balancing import Method
    from .selection import HowMany


class InTrainingReducer:
    """Shrinks the state of every reducible layer of a model while it trains: call `step()` once per training step.

    At the steps that the schedule names, each layer is balanced, the selection reads what its states are worth, and
    those that do not matter are cut: the parameters are replaced by those of the smaller layer, and the optimiser's
    moments move along. All layers are worked out before the first one is touched; what the evidence speaks against is
    refused; the ledger keeps the account.

    Parameters
    ----------
    model
        Any module that holds layers which implement `Reducible`, such as `LRU` and `S5`, or have an adapter. If it is
        wrapped in `DistributedDataParallel`, the ranks see what all of them saw, share the layers out, make the same
        cuts, and the wrapper is made anew in place after each.
    optimizer
        The optimiser of its parameters; None after training. The reducer replaces parameters: hold no references.
    schedule
        When: `Warmup`, `Every`, `At`, `Settled`, `Plateau`, or a function of the step.
    selection
        How many: `ssm_balance.Energy`, `Order`, `Error`, or anything with `select(hsv)`, layer by layer; a `Budget` or
        `LossBudget` for all layers together. It sees the real system, in which a layer with N complex slots has 2N
        states: `Order(32)` keeps 16 slots.
    balance
        From what: "activations" (what the layer saw in the last forward pass), "adjoints" (that, and the gradients of
        the backward pass), "white", another name in `METHODS`, or a method object.
    refinement
        What betters a reduced layer before it is put in place: "h2", "distillation", or an object such as
        `H2Polish(steps=50)`; None for nothing.
    limits
        What a cut may cost.
    max_sequences
        How many sequences of the last mini-batch are looked at, at most.
    delay
        Steps between a measurement and its cut, in which a thread works it out while training goes on. The cut projects
        the parameters of its own moment. 0 works it out at once.
    moments
        What becomes of the optimiser's moments of resized parameters: `ssm_zoo.reduction.Moments`.
    adapter
        Makes the adapter of a layer that has one; to choose among several, as `Mamba2Adapter(layer, form="keep")`.
    followers
        Copies of the model that are cut by the same maps: running averages such as
        `torch.optim.swa_utils.AveragedModel`, for EMA and SWA. Like the model on every rank.
    group
        The processes that train the model together, where it is not wrapped but you add up gradients yourself, or call
        `rewrap` after each cut.

    Raises
    ------
    OptionError
        If the model has no reducible layer, a follower is no copy of it, or an option is out of range.
    UnsupportedError
        If the parameters are sharded.

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
        schedule: Schedule | Callable[[int], bool],
        selection: HowMany,
        *,
        balance: str | Method = "activations",
        refinement: str | Refinement | None = None,
        limits: Limits | None = None,
        max_sequences: int = 32,
        delay: int = 0,
        moments: Moments = "transport",
        adapter: Callable[[nn.Module], Adapter] = adapter_for,
        followers: Sequence[nn.Module] = (),
        group: ProcessGroup | None = None,
    ) -> None:
        self._ranks = Ranks.of(model, group)
        self.adapters: dict[str, Adapter] = {
            name: adapter(module) for name, module in unwrap(model).named_modules() if is_reducible(module)
        }
        if not self.adapters:
            msg = f"{type(model).__name__} has no reducible layer; want at least one, such as LRU or S5"
            raise OptionError(msg)
        if max_sequences < 1:
            msg = f"max_sequences is {max_sequences}; want at least one sequence to balance from"
            raise OptionError(msg)
        if delay < 0:
            msg = f"delay is {delay}; want a number of steps, 0 or more"
            raise OptionError(msg)
        self.model, self.optimizer = model, optimizer
        self.schedule, self.selection = schedule_of(schedule), selection
        self.method, self.delay, self.steps = method_named(balance), delay, 0
        self._cutter = Cutter(
            model,
            optimizer,
            self.adapters,
            followed(followers, self.layers),
            self.method,
            fitting(refinement, self.layers),
            limits or Limits(),
            moments,
            self._ranks,
        )
        self.ledger: list[Cut] = []
        self._pending: Pending | None = None
        self._listens = self._looks_at(1)  # a plain attribute: a compiled model is compiled for both of its values
        self._listener = Listener(self.layers, lambda: self._listens, -(-max_sequences // self._ranks.size))

    @property
    def layers(self) -> dict[str, nn.Module]:
        """The reducible layers, by name."""
        return {name: adapter.layer for name, adapter in self.adapters.items()}

    def step(self, loss: Callable[[], float] | None = None) -> list[Cut]:
        """Count one training step, and reduce if one is due.

        Parameters
        ----------
        loss
            Returns the loss on the current mini-batch; called before and after the cut, for the ledger. A cut after
            which it is no longer finite, or has risen beyond the limit, is undone.

        Returns
        -------
        list
            A `Cut` for each layer if a reduction was made; empty otherwise.

        Raises
        ------
        ReductionError
            If a layer is unstable or holds NaN, or has seen no input since the last step; nothing was changed.
        UnsupportedError
            If the optimiser's state cannot follow; nothing was changed.
        """
        self.steps += 1
        cuts: list[Cut] = []
        self._listens = False  # what layers are run for from here on is no evidence
        try:
            if self._pending is not None and self.steps - self._pending.step >= self.delay:
                pending, self._pending = self._pending, None
                (findings,) = self._ranks.each(lambda _: pending.findings(), ["all layers"])
                cuts += self._cut(findings, pending.evidence, pending.step, loss)
            if self._watches(self.steps):
                self._show(loss)
            if self.schedule.due(self.steps):
                cuts += self._begin(loss)
        finally:
            self._listener.forget()
            self._listens = self._looks_at(self.steps + 1)
            self.ledger += cuts
        return cuts

    def reduce(self, evidence: Mapping[str, Evidence], loss: Callable[[], float] | None = None) -> list[Cut]:
        """Reduce now, whatever the schedule says, from evidence of your own: see `reduce_model`.

        Parameters
        ----------
        evidence
            What each layer saw, by the names in `layers`.
        loss
            See `step`.

        Raises
        ------
        ReductionError, UnsupportedError
            See `step`.
        """
        listens, self._listens = self._listens, False
        try:
            cuts = self._at_once(evidence, loss)
        finally:
            self._listens = listens
        self.ledger += cuts
        return cuts

    def remove(self) -> None:
        """Take the hooks off the layers: the reducer hears nothing from then on."""
        self._listener.remove()

    def state_dict(self) -> dict[str, Any]:
        """Return the number of steps, the ledger, what the schedule remembers and what a thread works on."""
        state: dict[str, Any] = {"steps": self.steps, "ledger": [asdict(cut) for cut in self.ledger]}
        if hasattr(self.schedule, "state_dict"):
            state["schedule"] = self.schedule.state_dict()
        if self._pending is not None:
            state["pending"] = self._pending.state_dict()
        return state

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from `state_dict`; the model must have been built with the sizes it then had."""
        self.steps = state["steps"]
        self.ledger = [Cut(**cut) for cut in state["ledger"]]
        if "schedule" in state:
            self.schedule.load_state_dict(state["schedule"])  # type: ignore[attr-defined]
        self._listens = self._looks_at(self.steps + 1)
        if "pending" in state:
            self._pending = Pending.from_state(state["pending"], self.adapters, self.method, self.selection)

    def _begin(self, loss: Callable[[], float] | None) -> list[Cut]:
        """Reduce, or start the thread that works it out."""
        evidence = self._evidence()
        if not self.delay:
            return self._at_once(evidence, loss)
        if self._pending is None:  # one at a time: a cut that falls due meanwhile is left out
            self._pending = Pending(self.adapters, evidence, self.steps, self.method, self.selection)
        return []

    def _at_once(self, evidence: Mapping[str, Evidence], loss: Callable[[], float] | None) -> list[Cut]:
        findings = analyse(self.adapters, evidence, self.method, self.selection, each=self._ranks.each)
        return self._cut(findings, evidence, self.steps, loss)

    def _cut(
        self,
        findings: Mapping[str, Finding],
        evidence: Mapping[str, Evidence],
        measured: int,
        loss: Callable[[], float] | None,
    ) -> list[Cut]:
        kept = {name: self._kept(name, finding, measured) for name, finding in findings.items()}
        already = {name: spent(self.ledger, name) for name in findings}
        return self._cutter.cut(findings, evidence, kept, already, loss)

    def _kept(self, name: str, finding: Finding, measured: int) -> Cut:
        """Return the account of a layer that stays as it is."""
        d_state = self.adapters[name].d_state
        return Cut(
            step=self.steps,
            layer=name,
            status="kept",
            reason=f"{self.selection} asks for {finding.slots} of {d_state} slots",
            before=d_state,
            after=d_state,
            hsv=finding.plan.values.tolist(),
            seconds=finding.seconds,
            staleness=self.steps - measured,
        )

    def _evidence(self) -> dict[str, Evidence]:
        heard = self._ranks.gather({name: self._listener.heard(name) for name in self.adapters})
        for name, evidence in heard.items():
            if evidence is None:
                msg = (
                    f"layer {name!r} has seen no input since the last step; want a forward pass in training mode, then "
                    "optimizer.step(), then reducer.step()"
                )
                raise ReductionError(msg)
        return cast("dict[str, Evidence]", heard)

    def _watches(self, step: int) -> bool:
        return hasattr(self.schedule, "watches") and self.schedule.watches(step)

    def _looks_at(self, step: int) -> bool:
        return self._watches(step) or self.schedule.due(step)

    def _show(self, loss: Callable[[], float] | None) -> None:
        """Let the schedule see the loss and what the states are worth."""
        evidence = self._evidence()
        values = self._cutter.values(evidence, list(evidence))
        self.schedule.see(self.steps, self._cutter.measured(loss), values)  # type: ignore[attr-defined]
