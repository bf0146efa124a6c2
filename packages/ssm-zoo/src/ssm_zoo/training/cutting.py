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
    from torch import nn

    from ..reduction.selection import HowMany
    from .config import TrainConfig

STATES_PER_SLOT = {"mamba": 1, "mamba2": 1}
"""Of layers whose slots are not two real states each."""


def cut_steps(config: TrainConfig) -> tuple[int, ...]:
    """Return the steps after which cuts fall, the first training step being 1."""
    start, room = _window(config)
    return tuple(start + room * k // config.cuts for k in range(1, config.cuts + 1))


def selection_of(config: TrainConfig) -> HowMany:
    """Return the rule for how many states a cut keeps."""
    if config.order is not None:
        return Slots(config.order)
    if config.budget is None:
        assert config.energy is not None
        return Energy(config.energy)
    each = STATES_PER_SLOT.get(config.layers[0], 2)
    budget = Budget if config.balance == "adjoints" else LossBudget  # adjoints count in units of the loss already
    return budget(each * config.budget, of=each)


def reducer_of(config: TrainConfig, model: nn.Module, optimizer: torch.optim.Optimizer) -> InTrainingReducer:
    """Return the reducer of a run."""
    limits = Limits() if config.limits else Limits(output_error=math.inf, condition=math.inf)
    return InTrainingReducer(
        model,
        optimizer,
        At(*cut_steps(config)),
        selection_of(config),
        balance=Random(config.seed) if config.balance == "random" else config.balance,
        limits=limits,
        delay=config.delay,
        moments=config.moments,
    )


def check_cuts(config: TrainConfig) -> None:
    """Raise `OptionError` if what the configuration says of its cuts makes no sense."""
    _check_how_many(config)
    start, fraction = config.cut_start, config.cut_fraction
    require(0 < fraction <= 1, f"got cut_fraction={fraction}, wanted a fraction in (0, 1]")
    require(0 <= start < 1, f"got cut_start={start}, wanted a fraction in [0, 1)")
    late = f"got cut_start={start} and cut_fraction={fraction}"
    require(start + fraction <= 1 + 1e-9, f"{late}, which end behind the run; wanted a sum of at most 1")
    begin, room = _window(config)
    first = "the first " if not begin else ""
    where = "" if not begin else f" from step {begin} on"
    require(
        config.cuts <= room,
        f"got {config.cuts} cuts in {first}{room} steps{where} ({fraction:.0%} of {config.steps}), wanted "
        "at least one step for each; use fewer cuts, more steps or a larger cut fraction",
    )
    _check_delay(config)
    known = LAYERS_OF.get(config.balance)
    strange = sorted(set(config.layers) - set(known or config.layers))
    wanted = f"which is for {', '.join(known or ())}; wanted activations or adjoints"
    require(not strange, f"got balance={config.balance!r} with layer {', '.join(strange)}, {wanted}")


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


def _check_how_many(config: TrainConfig) -> None:
    rules = {"energy": config.energy, "order": config.order, "budget": config.budget}
    given = [name for name, value in rules.items() if value is not None]
    told = " and ".join(f"{name}={value}" for name, value in rules.items() if name != "budget" or value is not None)
    require(len(given) == 1, f"got {told}, wanted exactly one")
    require(config.energy is None or 0 < config.energy <= 1, f"got energy={config.energy}, wanted a fraction in (0, 1]")
    require(config.order is None or config.order >= 1, f"got order={config.order}, wanted at least 1")
    if config.budget is not None:
        require(config.budget >= config.n_layers, f"got budget={config.budget}, wanted a state for each layer at least")
        sizes = {STATES_PER_SLOT.get(name, 2) for name in config.layers}
        alike = "wanted layers that count states alike, or --order"
        require(len(sizes) == 1, f"got budget={config.budget} for layers {', '.join(config.layers)}; {alike}")


def _check_delay(config: TrainConfig) -> None:
    steps = cut_steps(config)
    gaps = [after - before for before, after in pairwise(steps)]
    room = min([*gaps, config.steps - steps[-1]])
    wanted = f"wanted at most {room}, the steps from each cut to the next one and to the end of the run"
    require(config.delay <= room or not config.delay, f"got delay={config.delay}, {wanted}")


def _window(config: TrainConfig) -> tuple[int, int]:
    """Return the steps before the window of the cuts, and those in it."""
    start = round(config.steps * config.cut_start)
    return start, min(int(config.steps * config.cut_fraction + 1e-9), config.steps - start)
