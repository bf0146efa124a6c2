"""How many: what the order-selection objects of `ssm_balance` say about several layers at once."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from ssm_balance import Budget, Order, Selection

from .._errors import require

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .evidence import Evidence

HowMany: TypeAlias = "Selection | Budget | LossBudget | Slots | Uniform"


@dataclass(frozen=True)
class LossBudget:
    r"""A `Budget` weighted by what an error at each layer's output does to the loss, $\|\partial \ell/\partial y\|$.

    A small error $\delta y$ changes the loss by $\langle \partial \ell/\partial y, \delta y \rangle$; the root mean
    square of the gradient is the rate per unit of error. (`Adjoints` measures states in units of the loss already:
    there a plain `Budget` is right.)

    Parameters
    ----------
    total
        States to share among all layers, two to a slot where slots are complex.
    of
        Hand them out in blocks of this many, for hardware that likes multiples.
    """

    total: int
    of: int = 1

    def budget(self, evidence: Sequence[Evidence]) -> Budget:
        """Return the budget with the weights of these layers."""
        return Budget(self.total, weights=[_sensitivity(one) for one in evidence], of=self.of)


@dataclass(frozen=True)
class Uniform:
    """The largest order that a rule asks for in any layer, for all of them: what formats with one state size can hold.

    Parameters
    ----------
    rule
        Any other.
    """

    rule: Selection | Budget | LossBudget | Slots


@dataclass(frozen=True)
class Slots:
    """So many slots in every layer, whatever its kind: what its `d_state` becomes; a layer with fewer stays as it is.

    Parameters
    ----------
    count
        At least 1.

    Raises
    ------
    OptionError
        If the count is below 1.
    """

    count: int

    def __post_init__(self) -> None:
        require(self.count >= 1, f"got Slots({self.count}), wanted at least 1")


def orders(
    rule: HowMany, values: Sequence[np.ndarray], evidence: Sequence[Evidence], per_slot: Sequence[int] = ()
) -> tuple[int, ...]:
    """Return how many states each layer keeps, from what they are worth in each and how many make a slot."""
    if isinstance(rule, Uniform):
        most = max(orders(rule.rule, values, evidence, per_slot))
        return tuple(min(most, value.size) for value in values)
    if isinstance(rule, Slots):
        whole = per_slot or (1,) * len(values)
        return tuple(min(k * rule.count, value.size) for k, value in zip(whole, values, strict=True))
    if isinstance(rule, Order):  # a layer that has fewer stays as it is
        return tuple(min(rule.order, value.size) for value in values)
    if isinstance(rule, LossBudget):
        rule = rule.budget(evidence)
    if isinstance(rule, Budget):
        most = sum(value.size for value in values)
        return replace(rule, total=min(rule.total, max(most, len(values) * rule.of))).allocate(values)
    return tuple(rule.select(value) for value in values)


def _sensitivity(evidence: Evidence) -> float:
    if evidence.gradients is None:
        return 1.0
    rms = float(evidence.gradients.double().square().mean().sqrt())
    return rms if 0 < rms < float("inf") else 1.0
