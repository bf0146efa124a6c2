"""Reduction after training: one call on a trained model and some of its data."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ssm_balance import Energy

from .._errors import require
from .adapters import Adapter, adapter_for
from .analysis import naming
from .balancing import Method
from .calibration import Batch, Loss, calibrate, mean_loss, some
from .methods import method_named
from .reducer import InTrainingReducer
from .schedule import At
from .selection import Slots, orders
from .side_by_side import side_by_side

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from torch import nn

    from .certificate import Limits
    from .evidence import Evidence
    from .ledger import Cut
    from .proposal import Plan
    from .refinement import Refinement
    from .selection import HowMany


def reduce_model(
    model: nn.Module,
    batches: Iterable[Batch],
    selection: HowMany,
    *,
    method: str | Method = "activations",
    refinement: str | Refinement | None = None,
    limits: Limits | None = None,
    loss: Loss | None = None,
    adapter: Callable[[nn.Module], Adapter] = adapter_for,
) -> list[Cut]:
    """Shrink the state of every reducible layer of a trained model, in place, and return the account of each layer.

    The model runs over the batches in evaluation mode; from what its layers see there they are balanced, and on every
    fourth sequence the error of a cut is measured before it is made. One to four batches of 16 sequences are enough.

    Parameters
    ----------
    model
        Any that `InTrainingReducer` takes. Its parameters are replaced: make a new optimiser if training goes on.
    batches
        Tensors of inputs; pairs of inputs and labels, which methods that need gradients want; or the keyword arguments
        of a model that returns its `loss`, as those of Transformers do.
    selection, method, refinement, limits, adapter
        See `selection`, `balance`, `refinement`, `limits` and `adapter` of `InTrainingReducer`.
    loss
        Runs the model on a batch and returns its loss; cross entropy of the labels by default. With it, the account
        tells the mean loss over the batches before and after, and `limits.loss_increase` counts.

    Returns
    -------
    list
        A `Cut` for each layer, also where it was kept or refused.

    Raises
    ------
    OptionError
        If there are no batches or no reducible layers, or an option is out of range.
    ReductionError
        If a layer is unstable or holds NaN; nothing was changed.
    UnsupportedError
        If the method is not defined for a layer; nothing was changed.

    Examples
    --------
    >>> cuts = reduce_model(model, [Split(inputs, labels)], Slots(16))  # doctest: +SKIP
    """
    batches = some(batches)
    reducer = InTrainingReducer(
        model, None, At(1), selection, balance=method, refinement=refinement, limits=limits, adapter=adapter
    )
    reducer.remove()
    evidence = calibrate(model, reducer.layers, batches, loss)
    known = mean_loss(model, batches[:1], loss) is not None
    return reducer.reduce(evidence, (lambda: mean_loss(model, batches, loss) or 0.0) if known else None)


@dataclass(frozen=True)
class LayerReport:
    """What the states of one layer are worth, and how many of them it takes.

    Parameters
    ----------
    layer
        Name of the layer in the model.
    d_state
        Its slots now.
    states_per_slot
        Values for each slot: 2 where a slot is a complex number.
    values
        What the states are worth, descending.
    by_energy
        Slots that carry a share of the sum of the values.
    by_error
        Slots at which the measured output error, relative to the output, is at most so much.
    """

    layer: str
    d_state: int
    states_per_slot: int
    values: list[float]
    by_energy: dict[float, int] = field(default_factory=dict)
    by_error: dict[float, int] = field(default_factory=dict)


def inspect_model(
    model: nn.Module,
    batches: Iterable[Batch],
    *,
    method: str | Method = "activations",
    energies: Sequence[float] = (0.9, 0.96, 0.99, 0.999),
    errors: Sequence[float] = (0.1, 0.03, 0.01),
    loss: Loss | None = None,
    adapter: Callable[[nn.Module], Adapter] = adapter_for,
) -> list[LayerReport]:
    """Return what the states of every reducible layer are worth on the batches; the model is untouched.

    Parameters
    ----------
    model, batches, method, loss, adapter
        See `reduce_model`.
    energies
        Shares of the sum of the values, in (0, 1].
    errors
        Output errors, relative to the output, positive. The order is found by bisection, each trial being worked out
        and measured on held-out sequences in the layer by itself.

    Raises
    ------
    OptionError, ReductionError, UnsupportedError
        See `reduce_model`.
    """
    require(all(0 < share <= 1 for share in energies), f"got energies {tuple(energies)}, wanted shares in (0, 1]")
    require(all(error > 0 for error in errors), f"got errors {tuple(errors)}, wanted positive numbers")
    batches, chosen = some(batches), method_named(method)
    reducer = InTrainingReducer(model, None, At(1), Slots(1), balance=chosen, adapter=adapter)
    reducer.remove()
    evidence = calibrate(model, reducer.layers, batches, loss)

    def report(name: str) -> LayerReport:
        with naming(name):
            reducer.adapters[name].check(evidence[name])
            return _report(name, reducer.adapters[name], evidence[name], chosen, energies, errors)

    return side_by_side(report, reducer.adapters)


def _report(
    name: str, adapter: Adapter, evidence: Evidence, method: Method, energies: Sequence[float], errors: Sequence[float]
) -> LayerReport:
    plan, width = method.plan(adapter, evidence), adapter.states_per_slot
    shares = {share: -(-orders(Energy(share), [plan.values], [evidence])[0] // width) for share in energies}
    known: dict[int, float] = {}
    slots = {error: _fewest(error, adapter, plan, evidence, known) for error in errors}
    return LayerReport(name, adapter.d_state, width, plan.values.tolist(), shares, slots)


def _fewest(error: float, adapter: Adapter, plan: Plan, evidence: Evidence, known: dict[int, float]) -> int:
    """Return the fewest slots with at most that output error, taking for granted that more slots err less."""
    low, high = 1, adapter.d_state  # all slots err nothing
    while low < high:
        middle = (low + high) // 2
        if middle not in known:
            known[middle] = adapter.propose(plan, middle, evidence).certificate.output_error
        low, high = (low, middle) if known[middle] <= error else (middle + 1, high)
    return low
