"""Ranks that agree: each works out some of the layers from what all of them saw, and all of them make the same cuts."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from .._errors import ReductionError, UnsupportedError
from .evidence import Evidence
from .side_by_side import side_by_side

if TYPE_CHECKING:
    from torch import Tensor


class Ranks:
    """The processes that train one model together; a single one needs no group.

    Parameters
    ----------
    group
        Of `torch.distributed`; None if the process is alone.
    """

    def __init__(self, group: dist.ProcessGroup | None = None) -> None:
        self.group = group
        self.rank, self.size = (0, 1) if group is None else (dist.get_rank(group), dist.get_world_size(group))

    @classmethod
    def of(cls, model: nn.Module, group: dist.ProcessGroup | None = None) -> Ranks:
        """Return the group, or the processes that a `DistributedDataParallel`, bare or compiled, trains on.

        Raises
        ------
        UnsupportedError
            If the parameters are sharded.
        """
        refuse_shards(model)
        wrapper = wrapper_of(model)
        return cls(group if group is not None or wrapper is None else wrapper.process_group)

    def each(self, work: Callable[[str], Any], names: Iterable[str]) -> list[Any]:
        """Return the work for every name, each done by one rank; whatever fails anywhere is raised everywhere."""
        names = list(names)
        if self.size == 1:
            return side_by_side(work, names)
        mine: list[Any] = []
        error: Exception | None = None
        try:
            mine = side_by_side(work, names[self.rank :: self.size])
        except Exception as raised:
            error = raised
        told = self._tell((mine, None if error is None else f"{type(error).__name__}: {error}"))
        if error is not None:
            raise error
        for rank, (_, trouble) in enumerate(told):
            if trouble is not None:
                msg = f"rank {rank} could not do its share of the reduction: {trouble}"
                raise ReductionError(msg)
        return [told[k % self.size][0][k // self.size] for k in range(len(names))]

    def mean(self, value: float | None) -> float | None:
        """Return the mean over the ranks."""
        if self.size == 1 or value is None:
            return value
        return sum(self._tell(value)) / self.size

    def gather(self, heard: Mapping[str, Evidence | None]) -> dict[str, Evidence | None]:
        """Return what the layers of all ranks saw together, rank after rank, as one process would have seen it."""
        if self.size == 1:
            return dict(heard)
        return {name: self._joined(one) for name, one in heard.items()}

    def _joined(self, one: Evidence | None) -> Evidence | None:
        parts: list[Evidence | None] = self._tell(one)
        if one is None or any(part is None for part in parts):
            return None
        return joined([part.to(one.inputs.device) for part in parts if part is not None])

    def _tell(self, value: Any) -> list[Any]:
        """Return the values of all ranks, tensors on the CPU."""
        stream = io.BytesIO()
        torch.save(value, stream)
        told: list[Any] = [None] * self.size
        dist.all_gather_object(told, stream.getvalue(), self.group)
        return [torch.load(io.BytesIO(one), map_location="cpu", weights_only=False) for one in told]


def joined(parts: list[Evidence]) -> Evidence:
    """Return the evidence of one batch of all sequences, of as many steps as the shortest part has.

    Each part has the gradients of its own mean loss; those of the mean over all are smaller by their number.
    """
    steps = min(part.inputs.shape[1] for part in parts)
    cut = [_shortened(part, steps) for part in parts]
    inputs = torch.cat([part.inputs for part in cut])
    gradients = None
    if all(part.gradients is not None for part in cut):
        gradients = torch.cat([part.gradients for part in cut if part.gradients is not None]) / len(cut)
    options = dict(cut[0].options)
    for key, value in options.items():
        if isinstance(value, torch.Tensor):
            options[key] = torch.cat([part.options[key] for part in cut])
    return Evidence(inputs, gradients, options)


def rewrap(model: nn.Module) -> nn.Module:
    """Let a `DistributedDataParallel` reduce the gradients of its module's present parameters; return it.

    It is made for the parameters that a module has when it is wrapped. A reducer that was given the wrapped model calls
    this itself after each cut; who cuts the module inside does so here, on every rank. All else stays: the object, its
    options, hooks on its communication.

    Parameters
    ----------
    model
        The wrapped model, compiled or not; any other is returned as it is.
    """
    ddp: Any = wrapper_of(model)
    if ddp is None:
        return model
    parameters, sparse = ddp._build_params_for_reducer()
    names = ddp._build_debug_param_to_name_mapping(parameters)
    ddp._module_parameters = [p for n, p in ddp.module.named_parameters() if n not in ddp.parameters_to_ignore]
    static, ddp.static_graph = ddp.static_graph, False
    ddp._ddp_init_helper(parameters, sparse, names, static)
    if static:
        ddp._set_static_graph()
    for hook, state in getattr(ddp, "_comm_hooks", ()):
        dist._register_comm_hook(ddp.reducer, state, hook)
    return model


def wrapper_of(model: nn.Module) -> DistributedDataParallel | None:
    """Return the `DistributedDataParallel` in or around a compiled model, None if there is none."""
    while not isinstance(model, DistributedDataParallel):
        if "_orig_mod" not in model._modules:
            return None
        model = model.get_submodule("_orig_mod")
    return model


def refuse_shards(model: nn.Module) -> None:
    """Raise `UnsupportedError` if parameters are sharded over ranks."""
    for name, parameter in model.named_parameters():
        if hasattr(parameter, "full_tensor") or "_fsdp_wrapped_module" in name:
            msg = (
                f"got {name!r} sharded over ranks, wanted whole parameters: wrap in DistributedDataParallel, or gather "
                "the parameters into a model on one rank, cut it there and shard it again"
            )
            raise UnsupportedError(msg)


def _shortened(part: Evidence, steps: int) -> Evidence:
    length = part.inputs.shape[1]
    options = dict(part.options)
    rows = slice(length - steps, None) if part.is_left_padded else slice(None, steps)

    def shorter(tensor: Tensor) -> Tensor:
        return tensor[:, rows] if tensor.ndim > 1 and tensor.shape[1] == length else tensor

    options = {key: shorter(value) if isinstance(value, torch.Tensor) else value for key, value in options.items()}
    if "lengths" in options:
        options["lengths"] = options["lengths"].clamp(max=steps)
    gradients = None if part.gradients is None else shorter(part.gradients)
    return Evidence(shorter(part.inputs), gradients, options)
