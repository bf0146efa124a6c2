"""Models that follow another one's cuts: running averages of its parameters, EMA and SWA."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

import torch
from torch import nn
from torch.nn.parallel import DataParallel, DistributedDataParallel
from torch.optim.swa_utils import AveragedModel

from .._errors import OptionError
from ..layers import Surgery

_WRAPPERS = (AveragedModel, DataParallel, DistributedDataParallel)


def unwrap(model: nn.Module) -> nn.Module:
    """Return the model inside `DistributedDataParallel`, `AveragedModel` and `torch.compile`, by whose names layers go.

    Examples
    --------
    >>> from torch import nn
    >>> from torch.optim.swa_utils import AveragedModel
    >>> unwrap(AveragedModel(nn.Linear(2, 2)))
    Linear(in_features=2, out_features=2, bias=True)
    """
    while True:
        if isinstance(model, _WRAPPERS):
            model = model.module
        elif "_orig_mod" in model._modules:  # what torch.compile returns
            model = model.get_submodule("_orig_mod")
        else:
            return model


def followed(followers: Iterable[nn.Module], layers: Mapping[str, nn.Module]) -> dict[str, list[nn.Module]]:
    """Return the layers of the followers by the names of those that they follow.

    Raises
    ------
    OptionError
        If a follower has no such layer, or one of other sizes.
    """
    found: dict[str, list[nn.Module]] = {name: [] for name in layers}
    for follower in followers:
        modules = dict(unwrap(follower).named_modules())
        for name, layer in layers.items():
            twin = modules.get(name)
            if twin is None or twin is layer or _shapes(twin) != _shapes(layer):
                what = "none" if twin is None else "the very same" if twin is layer else f"{twin}"
                msg = (
                    f"got a follower whose layer {name!r} is {what}, wanted a copy of the model, such as AveragedModel"
                )
                raise OptionError(msg)
            found[name].append(twin)
    return found


def follow(surgery: Surgery, layer: nn.Module) -> Surgery:
    """Return what the surgery of a layer does to one that averages its parameters: see `Surgery.average`."""
    if surgery.average is None:
        values = {name: None if value is None else value.clone() for name, value in surgery.parameters.items()}
        return replace(surgery, parameters=values)
    old = {name: parameter.detach() for name, parameter in layer.named_parameters()}
    return replace(surgery, parameters=dict(surgery.average(old)))


def _shapes(layer: nn.Module) -> dict[str, torch.Size]:
    return {name: parameter.shape for name, parameter in layer.named_parameters()}
