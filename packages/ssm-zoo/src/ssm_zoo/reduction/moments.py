"""What becomes of the optimiser's moments of parameters that are replaced."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, TypeAlias

import torch
from torch import Tensor, nn

from .._errors import UnsupportedError
from ..layers import Surgery

_POWER = {
    "exp_avg": 1,  # Adam, AdamW, Lion
    "momentum_buffer": 1,  # SGD, RMSprop, Muon
    "exp_avg_sq": 2,  # Adam, AdamW
    "max_exp_avg_sq": 2,  # Adam, AdamW with amsgrad
    "square_avg": 2,  # RMSprop
    "sum": 2,  # Adagrad
}
"""Optimiser state by name: 1 moves like a gradient, 2 like a squared gradient."""

Moments: TypeAlias = Literal["transport", "mean", "reset", "slice"]
"""What becomes of an optimiser's moments of resized parameters.

`transport`: first moments move like gradients, second ones by the squared matrix. `mean`: first ones like that, second
ones become the mean of the old. `reset`: zero. `slice`: the leading entries of the old, whatever states they belonged
to, as the published code of CompreSSM does.
"""


def moved_moments(
    olds: Mapping[str, nn.Parameter], states: Mapping[str, dict[str, Any]], surgery: Surgery, rule: Moments
) -> dict[str, dict[str, Any]]:
    """Return the state of each new parameter; moments move together, since real and imaginary parts mix."""
    moved: dict[str, dict[str, Any]] = {name: dict(state) for name, state in states.items()}
    arrays = [
        (key, entry.shape == olds[name].shape)
        for name, state in states.items()
        for key, entry in state.items()
        if isinstance(entry, Tensor) and entry.ndim > 0
    ]
    for key, fits in dict(sorted(arrays, reverse=True)).items():  # one that does not fit its parameter counts
        if key not in _POWER or not fits:
            msg = (
                f"the optimiser keeps {key!r} for each parameter, and it is not known how that follows a change of "
                f"basis; want one of {', '.join(_POWER)}: SGD, Adam, AdamW, RMSprop, Adagrad, Lion, Muon"
            )
            raise UnsupportedError(msg)
        found = {name: states.get(name, {}).get(key, torch.zeros_like(old)) for name, old in olds.items()}
        for name in states:
            new = surgery.parameters[name]
            if new is not None:
                moved[name][key] = _moment(name, found, new, surgery, _POWER[key], rule).to(found[name])
    return moved


def _moment(name: str, old: dict[str, Tensor], new: Tensor, surgery: Surgery, power: int, rule: Moments) -> Tensor:
    if rule == "transport" or (rule == "mean" and power == 1):
        return surgery.moments[name](old, power)
    if rule == "slice":
        return old[name][tuple(slice(size) for size in new.shape)].clone()
    return torch.full(new.shape, float(old[name].mean()) if rule == "mean" else 0.0)
