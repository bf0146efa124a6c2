"""When and how a training run cuts: what its configuration says, checked, as the objects of a reducer."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import TYPE_CHECKING

import torch

from ssm_balance import Budget, Energy

from .._errors import require
from ..reduction import At, InTrainingReducer, Limits, LossBudget, Random, Slots
from ..reduction.methods import LAYERS_OF

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import nn

    from ..reduction import Method
    from ..reduction.selection import HowMany
    from .config import TrainConfig

STATES_PER_SLOT = {"mamba": 1, "mamba2": 1}
"""Of layers whose slots are not two real states each."""


def cut_steps(config: TrainConfig) -> tuple[int, ...]:
    """Return the steps after which cuts fall, the first training step being 1."""
    start, room = cut_window(config)
    return tuple(start + room * k // config.cuts for k in range(1, config.cuts + 1))


def selection_from(
    layers: Sequence[str], balance: str, energy: float | None, order: int | None, budget: int | None
) -> HowMany:
    """Return the rule for how many states a cut keeps; `check_how_many` says what is allowed."""
    if order is not None:
        return Slots(order)
    if budget is None:
        assert energy is not None
        return Energy(energy)
    each = STATES_PER_SLOT.get(layers[0], 2)
    kind = Budget if balance == "adjoints" else LossBudget  # adjoints count in units of the loss already
    return kind(each * budget, of=each)


def reducer_of(config: TrainConfig, model: nn.Module, optimizer: torch.optim.Optimizer) -> InTrainingReducer:
    """Return the reducer of a run."""
    return InTrainingReducer(
        model,
        optimizer,
        At(*cut_steps(config)),
        selection_from(config.layers, config.balance, config.energy, config.order, config.budget),
        balance=method_of(config),
        refinement=refinement_of(config),
        limits=limits_of(config),
        delay=config.delay,
        moments=config.moments,
    )


def method_of(config: TrainConfig) -> str | Method:
    """Return the method, whose chance is that of the seed."""
    return Random(config.seed) if config.balance == "random" else config.balance


def refinement_of(config: TrainConfig) -> str | None:
    """Return the name of the refinement, if there is one."""
    return None if config.refinement == "none" else config.refinement


def limits_of(config: TrainConfig) -> Limits:
    """Return the limits of a run, or none at all."""
    return Limits() if config.limits else Limits(output_error=math.inf, condition=math.inf)


def check_cuts(config: TrainConfig) -> None:
    """Raise `OptionError` if what the configuration says of its cuts makes no sense."""
    check_how_many(config.layers, config.energy, config.order, config.budget)
    start, fraction = config.cut_start, config.cut_fraction
    require(0 < fraction <= 1, f"got cut_fraction={fraction}, wanted a fraction in (0, 1]")
    require(0 <= start < 1, f"got cut_start={start}, wanted a fraction in [0, 1)")
    late = f"got cut_start={start} and cut_fraction={fraction}"
    require(start + fraction <= 1 + 1e-9, f"{late}, which end behind the run; wanted a sum of at most 1")
    begin, room = cut_window(config)
    first = "the first " if not begin else ""
    where = "" if not begin else f" from step {begin} on"
    require(
        config.cuts <= room,
        f"got {config.cuts} cuts in {first}{room} steps{where} ({fraction:.0%} of {config.steps}), wanted "
        "at least one step for each; use fewer cuts, more steps or a larger cut fraction",
    )
    _check_delay(config)
    check_method(config.layers, config.balance)
    linear = set(config.layers) <= {"lru", "s5"} or config.refinement != "h2"
    layers = ", ".join(sorted(set(config.layers)))
    require(linear, f"got refinement='h2' with layer {layers}, wanted lru or s5, or 'distillation'")


def check_how_many(layers: Sequence[str], energy: float | None, order: int | None, budget: int | None) -> None:
    """Raise `OptionError` unless exactly one of the three is given, and it makes sense for these layers."""
    rules = {"energy": energy, "order": order, "budget": budget}
    given = [name for name, value in rules.items() if value is not None]
    told = " and ".join(f"{name}={value}" for name, value in rules.items() if name in given) or "none of them"
    require(len(given) == 1, f"got {told}, wanted exactly one of energy, order and budget")
    require(energy is None or 0 < energy <= 1, f"got energy={energy}, wanted a fraction in (0, 1]")
    require(order is None or order >= 1, f"got order={order}, wanted at least 1")
    if budget is not None:
        require(budget >= len(layers), f"got budget={budget}, wanted a state for each layer at least")
        sizes = {STATES_PER_SLOT.get(name, 2) for name in layers}
        alike = "wanted layers that count states alike, or an order"
        require(len(sizes) == 1, f"got budget={budget} for layers {', '.join(layers)}; {alike}")


def check_method(layers: Sequence[str], balance: str) -> None:
    """Raise `OptionError` if the method is not defined for one of the layers."""
    known = LAYERS_OF.get(balance)
    strange = sorted(set(layers) - set(known or layers))
    wanted = f"which is for {', '.join(known or ())}; wanted activations or adjoints"
    require(not strange, f"got balance={balance!r} with layer {', '.join(strange)}, {wanted}")


def check_extras(config: TrainConfig) -> None:
    """Raise `OptionError` if there is no such device, or what is added to the loss makes no sense."""
    try:
        torch.device(config.device)
    except RuntimeError:
        known = False
    else:
        known = True
    require(known, f"got device={config.device!r}, wanted 'cpu' or 'cuda'")
    share = config.teacher_weight
    require(0 < share <= 1, f"got teacher_weight={share}, wanted a share in (0, 1]")
    lti = set(config.layers) <= {"lru", "s5"} or not config.hankel_weight
    layers = ", ".join(sorted(set(config.layers)))
    require(lti, f"got hankel_weight={config.hankel_weight} with layer {layers}, wanted lru or s5, or no weight")


def _check_delay(config: TrainConfig) -> None:
    steps = cut_steps(config)
    gaps = [after - before for before, after in pairwise(steps)]
    room = min([*gaps, config.steps - steps[-1]])
    wanted = f"wanted at most {room}, the steps from each cut to the next one and to the end of the run"
    require(config.delay <= room or not config.delay, f"got delay={config.delay}, {wanted}")


def cut_window(config: TrainConfig) -> tuple[int, int]:
    """Return the steps before the window of the cuts, and those in it."""
    start = round(config.steps * config.cut_start)
    return start, min(int(config.steps * config.cut_fraction + 1e-9), config.steps - start)
