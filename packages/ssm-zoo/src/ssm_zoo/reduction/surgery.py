"""Swap a layer's parameters, and let the optimiser follow.

Parameters are replaced, never resized in place, and the optimiser is re-keyed: its groups hold the new parameters at
the old places, its moments become what they would be had the smaller layer been trained all along.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, get_args

import torch
from torch import Tensor, nn

from .._errors import UnsupportedError, require
from ..layers import Surgery
from .moments import Moments, moved_moments


@dataclass(frozen=True)
class Operation:
    """What a surgery puts into a layer: nothing but values, so that it can be sent to another process.

    Parameters
    ----------
    parameters
        As in `Surgery`.
    states
        What the optimiser keeps for each of them, if it keeps anything.
    attributes
        As in `Surgery`.
    """

    parameters: Mapping[str, Tensor | None]
    states: Mapping[str, Mapping[str, Any]]
    attributes: Mapping[str, Any]


@dataclass(frozen=True)
class _Swap:
    module: nn.Module
    name: str
    old: nn.Parameter | None  # None: there was none before
    new: nn.Parameter | None  # None: there is none any more
    state: Mapping[str, Any] | None  # the optimiser's, for the new parameter


def prepare(
    layer: nn.Module, surgery: Surgery, optimizer: torch.optim.Optimizer | None, moments: Moments = "transport"
) -> Operation:
    """Work out all that a surgery puts into a layer and into the optimiser; nothing is touched.

    Parameters
    ----------
    layer
        The layer.
    surgery
        Of it.
    optimizer
        The optimiser that holds its parameters, if there is one.
    moments
        What becomes of the optimiser's moments.

    Raises
    ------
    UnsupportedError
        If the optimiser keeps a state for a parameter of which it is not known how it transforms, or cannot take a
        parameter that begins to be.
    OptionError
        If there is no such rule for the moments.
    """
    require(moments in get_args(Moments), f"got moments={moments!r}, wanted one of: {', '.join(get_args(Moments))}")
    olds = {name: old for name in surgery.parameters if (old := _there(layer, name)) is not None}
    _check_takes(optimizer, {name: new for name, new in surgery.parameters.items() if name not in olds})
    states = {name: optimizer.state[old] for name, old in olds.items() if optimizer and old in optimizer.state}
    return Operation(surgery.parameters, moved_moments(olds, states, surgery, moments), surgery.attributes)


def operate(
    operations: Iterable[tuple[nn.Module, Surgery]],
    optimizer: torch.optim.Optimizer | None,
    moments: Moments = "transport",
) -> Callable[[], None]:
    """Operate on all the layers at once, and return the function that undoes it: `prepare`, then `install`."""
    prepared = [(layer, prepare(layer, surgery, optimizer, moments)) for layer, surgery in operations]
    return install(prepared, optimizer)


def install(
    operations: Iterable[tuple[nn.Module, Operation]], optimizer: torch.optim.Optimizer | None
) -> Callable[[], None]:
    """Replace the parameters of all the layers at once, and return the function that undoes it.

    Parameters
    ----------
    operations
        Layers, each with what `prepare` worked out.
    optimizer
        The optimiser that holds the parameters, if there is one.

    Returns
    -------
    Callable
        Call it without arguments to put the old parameters and their optimiser state back.
    """
    operations = list(operations)
    swaps = [swap for layer, operation in operations for swap in _swaps(layer, operation, optimizer)]
    attributes = [(*_place(layer, name), value) for layer, cut in operations for name, value in cut.attributes.items()]
    before = [(module, name, getattr(module, name, None)) for module, name, _ in attributes]
    olds = [swap.old for swap in swaps if swap.old is not None]
    states = {} if optimizer is None else {old: optimizer.state.get(old) for old in olds}
    groups = [] if optimizer is None else [_members(group) for group in optimizer.param_groups]
    registered = [(swap.module._parameters, list(swap.module._parameters)) for swap in swaps]
    for swap in swaps:
        _replace(swap, optimizer)
    for module, name, value in attributes:
        setattr(module, name, value)

    def undo() -> None:
        for module, name, value in reversed(before):
            setattr(module, name, value)
        for swap in swaps:
            setattr(swap.module, swap.name, swap.old)
        for held, order in registered:  # one that was gone came back as the last
            held.update({name: held.pop(name) for name in order})
        if optimizer is None:
            return
        for group, members in zip(optimizer.param_groups, groups, strict=True):
            group.update(members)
        for swap in swaps:
            if swap.new is not None:
                optimizer.state.pop(swap.new, None)
        for old, state in states.items():
            if state is not None:
                optimizer.state[old] = state

    return undo


def _check_takes(optimizer: torch.optim.Optimizer | None, news: Mapping[str, Tensor | None]) -> None:
    """Raise `UnsupportedError` if the optimiser takes matrices only, and one of the new parameters is none."""
    only_matrices = any(kind.__name__ == "Muon" for kind in type(optimizer).__mro__)
    others = [f"{name} {tuple(new.shape)}" for name, new in news.items() if new is not None and new.ndim != 2]
    msg = (
        f"Muon takes matrices only, and the cut adds {', '.join(others)}; want AdamW or the like, or a cut that adds "
        "nothing: adapter=lambda layer: Mamba2Adapter(layer, form='keep')"
    )
    require(not (only_matrices and others), msg, UnsupportedError)


def _place(layer: nn.Module, name: str) -> tuple[nn.Module, str]:
    """Return the module that a dotted name belongs to, and its last part."""
    path, _, leaf = name.rpartition(".")
    return layer.get_submodule(path), leaf


def _there(layer: nn.Module, name: str) -> nn.Parameter | None:
    module, leaf = _place(layer, name)
    return getattr(module, leaf)


def _swaps(layer: nn.Module, operation: Operation, optimizer: torch.optim.Optimizer | None) -> list[_Swap]:
    swaps = []
    for name, value in operation.parameters.items():
        (module, leaf), new = _place(layer, name), None
        old, state = getattr(module, leaf), operation.states.get(name)
        if old is None and value is not None:
            device = next(layer.parameters()).device
            trained = any(parameter.requires_grad for parameter in layer.parameters())
            new = nn.Parameter(value.to(device, copy=True).contiguous(), requires_grad=trained)
        elif value is not None:
            here = value.to(device=old.device, dtype=old.dtype).contiguous()  # fused optimisers read memory in order
            new = nn.Parameter(here, requires_grad=old.requires_grad)
            new.__dict__.update(old.__dict__)  # _optim, _no_weight_decay and the like
        if state is not None and optimizer is not None and old is not None:
            there = optimizer.state[old]
            state = {key: _where(entry, there.get(key)) for key, entry in state.items()}
        swaps.append(_Swap(module, leaf, old, new, state))
    return swaps


def _where(entry: Any, other: Any) -> Any:
    """Return an entry of the optimiser's state on the device of the one it replaces; it may come from elsewhere."""
    return entry.to(other.device).contiguous() if isinstance(entry, Tensor) and isinstance(other, Tensor) else entry


def _replace(swap: _Swap, optimizer: torch.optim.Optimizer | None) -> None:
    if swap.new is None:
        delattr(swap.module, swap.name)
    else:
        setattr(swap.module, swap.name, swap.new)
    if optimizer is None:
        return
    if swap.old is None:
        _join(swap, optimizer)
        return
    for group in optimizer.param_groups:
        members = _members(group)
        for k in [k for k, parameter in enumerate(group["params"]) if parameter is swap.old]:
            if swap.new is None:
                members = {key: [*rest[:k], *rest[k + 1 :]] for key, rest in members.items()}
            else:
                members["params"][k] = swap.new
        group.update(members)
    optimizer.state.pop(swap.old, None)
    if swap.state is not None and swap.new is not None:
        optimizer.state[swap.new] = swap.state


def _join(swap: _Swap, optimizer: torch.optim.Optimizer) -> None:
    """Put a parameter that there was not into the group of the next one, where an optimiser made now would have it."""
    assert swap.new is not None
    later = [(name, id(parameter)) for name, parameter in swap.module.named_parameters()]
    later = later[[key for _, key in later].index(id(swap.new)) + 1 :]
    places = {id(held): (group, k) for group in optimizer.param_groups for k, held in enumerate(group["params"])}
    for name, key in later:
        if key in places:
            group, k = places[key]
            beside = optimizer.state.get(group["params"][k], {})
            if group.get("fused") and beside.keys() == {"momentum_buffer"}:  # fused SGD wants one of all or of none
                optimizer.state[swap.new] = {"momentum_buffer": torch.zeros_like(swap.new)}
            members = _members(group)
            members["params"].insert(k, swap.new)
            if "param_names" in members:
                names = members["param_names"]
                names.insert(k, names[k].removesuffix(name) + swap.name)
            group.update(members)
            return


def _members(group: dict[str, Any]) -> dict[str, list[Any]]:
    """Return copies of the lists of a group that have an entry for each parameter."""
    return {key: list(group[key]) for key in ("params", "param_names") if key in group}
