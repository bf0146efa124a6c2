"""A model as it was built becomes as small as the one that a checkpoint was made of."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from .._errors import ShapeError, require
from ..layers import S4, S4D
from .adapters import is_reducible
from .followers import unwrap
from .surgery import Operation, install

if TYPE_CHECKING:
    from torch.utils.hooks import RemovableHandle

_WRAPPED = ("module.", "_orig_mod.")  # what DistributedDataParallel and torch.compile put in front of names


def resize_like(
    model: nn.Module, state: Mapping[str, Tensor], optimizer: torch.optim.Optimizer | None = None
) -> list[str]:
    """Give every reducible layer the sizes it has in a state dict, which can then be loaded; return their names.

    Parameters
    ----------
    model
        A model as it was built, or one that was reduced before. The values of what is resized are left open.
    state
        What `state_dict` of the model returned after its reductions; bare, wrapped or compiled.
    optimizer
        The optimiser that holds the parameters, if there is one already; it keeps nothing for resized ones.

    Returns
    -------
    list
        The names of the layers that were resized.

    Raises
    ------
    ShapeError
        If a layer in the state has other dimensions, not only other sizes; nothing was changed.

    Examples
    --------
    >>> from torch import nn
    >>> from ssm_zoo.layers import S5
    >>> small = nn.Sequential(S5(4, 6))
    >>> model = nn.Sequential(S5(4, 16))
    >>> resize_like(model, small.state_dict())
    ['0']
    >>> model.load_state_dict(small.state_dict())
    <All keys matched successfully>
    """
    shapes = {_bare(name): value.shape for name, value in state.items()}
    found = {
        name: (layer, operation)
        for name, layer in unwrap(model).named_modules()
        if is_reducible(layer) and (operation := _resizing(name, layer, shapes)) is not None
    }
    install(found.values(), optimizer)
    for layer, _ in found.values():
        _follow_shapes(layer)
    return list(found)


def resize_on_load(model: nn.Module) -> RemovableHandle:
    """Let `model.load_state_dict` resize the layers first, whoever calls it: `resize_like` from then on.

    For trainers that build a model and load its checkpoint on their own. Make the optimiser after loading.

    Returns
    -------
    RemovableHandle
        Its `remove` takes the hook off again.
    """

    def hook(module: nn.Module, state: Mapping[str, Tensor], prefix: str, *rest: Any) -> None:
        own = {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}
        resize_like(module, own)

    return model.register_load_state_dict_pre_hook(hook)


def _bare(name: str) -> str:
    for prefix in _WRAPPED:
        name = name.removeprefix(prefix)
    return name.replace("._orig_mod.", ".")


def _resizing(name: str, layer: nn.Module, shapes: Mapping[str, torch.Size]) -> Operation | None:
    """Return what gives a layer the shapes in a state, None if it has them."""
    prefix = f"{name}." if name else ""
    wanted = {key.removeprefix(prefix): shape for key, shape in shapes.items() if key.startswith(prefix)}
    parameters: dict[str, Tensor | None] = {}
    for key, value in _registered(layer).items():
        shape = wanted.get(key)
        if value is None and shape is not None:
            parameters[key] = next(layer.parameters()).new_zeros(shape)
        elif value is not None and shape is not None and shape != value.shape:
            msg = f"got {prefix}{key} of shape {tuple(shape)}, wanted {value.ndim} axes: is it another kind of layer?"
            require(len(shape) == value.ndim, msg, ShapeError)
            parameters[key] = value.new_zeros(shape)
    attributes: dict[str, Any] = {}
    if type(layer) is S4 and "A_imag" in wanted and "P" not in wanted:  # its first cut made it another layer
        parameters |= {"B": None, "P": None}
        attributes = {"__class__": S4D, "discretization": "bilinear", "scan": "auto"}
    return Operation(parameters, {}, attributes) if parameters else None


def _registered(layer: nn.Module) -> dict[str, nn.Parameter | None]:
    """Return the parameters by name, with those that are registered as None."""
    modules = layer.named_modules()
    return {f"{path}.{key}" if path else key: p for path, module in modules for key, p in module._parameters.items()}


def _follow_shapes(layer: Any) -> None:
    """Set the sizes that modules keep beside their weights."""
    for module in layer.modules():
        if isinstance(module, nn.Linear):
            module.out_features, module.in_features = module.weight.shape
        elif isinstance(module, nn.Conv1d) and module.groups > 1:
            module.out_channels = module.in_channels = module.groups = len(module.weight)
    if hasattr(layer, "ssm_state_size"):  # a mixer of Transformers
        layer.ssm_state_size = layer.A_log.shape[1] if layer.A_log.ndim == 2 else _shared_rows(layer)
        if hasattr(layer, "conv_dim"):
            layer.conv_dim = layer.conv1d.out_channels


def _shared_rows(mixer: Any) -> int:
    return (mixer.conv1d.out_channels - mixer.intermediate_size) // (2 * mixer.n_groups)
