"""Swap a layer's parameters, and let the optimiser follow.

Parameters are replaced, never resized in place, and the optimiser is re-keyed: its groups hold the new parameters at
the old places, its moments become what they would be had the smaller layer been trained all along.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from .._errors import UnsupportedError
from ..layers import Surgery

_POWER = {
    "exp_avg": 1,  # Adam, AdamW, Lion
    "momentum_buffer": 1,  # SGD, RMSprop
    "exp_avg_sq": 2,  # Adam, AdamW
    "max_exp_avg_sq": 2,  # Adam, AdamW with amsgrad
    "square_avg": 2,  # RMSprop
    "sum": 2,  # Adagrad
}
"""Optimiser state by name: 1 moves like a gradient, 2 like a squared gradient."""


@dataclass(frozen=True)
class _Swap:
    module: nn.Module
    name: str
    old: nn.Parameter
    new: nn.Parameter
    state: dict[str, Any] | None  # the optimiser's, for the new parameter


def operate(
    operations: Iterable[tuple[nn.Module, Surgery]], optimizer: torch.optim.Optimizer | None
) -> Callable[[], None]:
    """Replace the parameters of all the layers at once, and return the function that undoes it.

    Everything that can fail is done before the first parameter is touched.

    Parameters
    ----------
    operations
        Layers, each with its surgery.
    optimizer
        The optimiser that holds the parameters, if there is one.

    Returns
    -------
    Callable
        Call it without arguments to put the old parameters and their optimiser state back.

    Raises
    ------
    UnsupportedError
        If the optimiser keeps a state for a parameter of which it is not known how it transforms.
    """
    swaps = [swap for layer, surgery in operations for swap in _prepare(layer, surgery, optimizer)]
    states = {} if optimizer is None else {swap.old: optimizer.state.get(swap.old) for swap in swaps}
    for swap in swaps:
        _replace(swap.module, swap.name, swap.old, swap.new, swap.state, optimizer)

    def undo() -> None:
        for swap in swaps:
            _replace(swap.module, swap.name, swap.new, swap.old, states.get(swap.old), optimizer)

    return undo


def _prepare(layer: nn.Module, surgery: Surgery, optimizer: torch.optim.Optimizer | None) -> list[_Swap]:
    olds = {name: layer.get_parameter(name) for name in surgery.parameters}
    states = {name: optimizer.state[old] for name, old in olds.items() if optimizer and old in optimizer.state}
    moved = _move_moments(olds, states, surgery)
    swaps = []
    for name, old in olds.items():
        value = surgery.parameters[name].to(device=old.device, dtype=old.dtype)
        new = nn.Parameter(value, requires_grad=old.requires_grad)
        new.__dict__.update(old.__dict__)  # _optim, _no_weight_decay and the like
        path, _, leaf = name.rpartition(".")
        swaps.append(_Swap(layer.get_submodule(path), leaf, old, new, moved.get(name)))
    return swaps


def _move_moments(
    olds: dict[str, nn.Parameter], states: dict[str, dict[str, Any]], surgery: Surgery
) -> dict[str, dict[str, Any]]:
    """Return the state of each new parameter; moments move together, since real and imaginary parts mix."""
    moved: dict[str, dict[str, Any]] = {name: dict(state) for name, state in states.items()}
    keys = {
        key
        for name, state in states.items()
        for key, entry in state.items()
        if isinstance(entry, Tensor) and entry.shape == olds[name].shape
    }
    for key in keys:
        if key not in _POWER:
            msg = (
                f"the optimiser keeps {key!r} for each parameter, and it is not known how that follows a change of "
                f"basis; want one of {', '.join(_POWER)}: SGD, Adam, AdamW, RMSprop, Adagrad, Lion"
            )
            raise UnsupportedError(msg)
        moments = {name: states.get(name, {}).get(key, torch.zeros_like(old)) for name, old in olds.items()}
        for name in states:
            moved[name][key] = surgery.moments[name](moments, _POWER[key]).to(moments[name])
    return moved


def _replace(
    module: nn.Module,
    name: str,
    old: nn.Parameter,
    new: nn.Parameter,
    state: dict[str, Any] | None,
    optimizer: torch.optim.Optimizer | None,
) -> None:
    setattr(module, name, new)
    if optimizer is None:
        return
    for group in optimizer.param_groups:
        group["params"] = [new if p is old else p for p in group["params"]]
    optimizer.state.pop(old, None)
    if state is not None:
        optimizer.state[new] = state
