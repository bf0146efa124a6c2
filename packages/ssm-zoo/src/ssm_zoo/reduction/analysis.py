"""What is worked out about all layers at once, without touching one: what their states are worth, how many stay."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from torch import nn

from ssm_balance import BalanceError
from ssm_gramians import GramiansError

from .._errors import ReductionError
from .adapters import adapter_for
from .adapters.base import copied
from .evidence import Evidence
from .selection import HowMany, orders

if TYPE_CHECKING:
    from torch import Tensor

    from .adapters import Adapter
    from .balancing import Method
    from .proposal import Plan, Proposal


@dataclass(frozen=True)
class Finding:
    """What was found out about one layer.

    Parameters
    ----------
    plan
        What its states are worth, and how to cut.
    slots
        How many the selection keeps.
    seconds
        How long it took.
    """

    plan: Plan
    slots: int
    seconds: float


def analyse(
    adapters: Mapping[str, Adapter],
    evidence: Mapping[str, Evidence],
    method: Method,
    selection: HowMany,
    each: Callable[[Callable[[str], Any], Iterable[str]], list[Any]] = lambda work, names: list(map(work, names)),
) -> dict[str, Finding]:
    """Return the findings by name; `each` maps a function over the names, side by side if it likes.

    Raises
    ------
    ReductionError
        If a layer is unstable, or it or what it saw is not finite; the message names it.
    """

    def plan(name: str) -> tuple[Plan, float]:
        start = time.perf_counter()
        with naming(name):
            adapters[name].check(evidence[name])
            return method.plan(adapters[name], evidence[name]), time.perf_counter() - start

    plans = dict(zip(adapters, each(plan, adapters), strict=True))
    per_slot = [adapters[name].states_per_slot for name in plans]
    values = [found.values for found, _ in plans.values()]
    kept = orders(selection, values, [evidence[name] for name in plans], per_slot)
    return {
        name: Finding(found, -(-order // adapters[name].states_per_slot), seconds)
        for (name, (found, seconds)), order in zip(plans.items(), kept, strict=True)
    }


def propose(layer: nn.Module | Adapter, inputs: Tensor | Evidence, method: Method, slots: int) -> Proposal:
    """Return the cut of one layer to at most so many slots, with its evidence; the layer is untouched.

    Parameters
    ----------
    layer
        Any with an adapter, or an adapter.
    inputs
        What it sees, (batch, length, features), or more evidence than that.
    method
        What its states are weighed by.
    slots
        What its `d_state` is to become at most.
    """
    adapter = adapter_for(layer) if isinstance(layer, nn.Module) else layer
    evidence = inputs if isinstance(inputs, Evidence) else Evidence(inputs)
    adapter.check(evidence)
    return adapter.propose(method.plan(adapter, evidence), slots, evidence)


class naming:  # noqa: N801  (a context manager reads as a verb)
    """Name the layer in whatever its linear algebra raises."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __enter__(self) -> None:
        """Do nothing."""

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        """Turn errors of the sibling packages into one of ours."""
        if isinstance(error, (ReductionError, BalanceError, GramiansError)):
            msg = f"layer {self.name!r} cannot be reduced: {error}"
            raise ReductionError(msg) from error


class Pending:
    """An analysis that runs in a thread on copies of the layers, while training goes on.

    Parameters
    ----------
    adapters
        The adapters of the layers as they are now; the layers are copied.
    evidence
        What they saw.
    step
        The training step after which they were copied.
    method, selection
        As for `analyse`.
    """

    def __init__(
        self,
        adapters: Mapping[str, Adapter],
        evidence: Mapping[str, Evidence],
        step: int,
        method: Method,
        selection: HowMany,
    ) -> None:
        self.evidence, self.step = dict(evidence), step
        self._copies = {name: copied(adapter) for name, adapter in adapters.items()}
        pool = ThreadPoolExecutor(1, "ssm-zoo-reduction")
        self._future: Future[dict[str, Finding]] = pool.submit(analyse, self._copies, self.evidence, method, selection)
        pool.shutdown(wait=False)  # the thread ends with its work

    def findings(self) -> dict[str, Finding]:
        """Wait for the analysis if it still runs, and return its findings."""
        return self._future.result()

    def state_dict(self) -> dict[str, Any]:
        """Return what the analysis starts from: it can be repeated."""
        return {
            "step": self.step,
            "layers": {name: adapter.layer.state_dict() for name, adapter in self._copies.items()},
            "evidence": {name: dict(vars(evidence)) for name, evidence in self.evidence.items()},
        }

    @classmethod
    def from_state(
        cls, state: Mapping[str, Any], adapters: Mapping[str, Adapter], method: Method, selection: HowMany
    ) -> Pending:
        """Start the analysis of `state_dict` again."""
        copies = {name: copied(adapter) for name, adapter in adapters.items()}
        for name, adapter in copies.items():
            adapter.layer.load_state_dict(state["layers"][name])
        evidence = {name: Evidence(**one) for name, one in state["evidence"].items()}
        return cls(copies, evidence, state["step"], method, selection)
