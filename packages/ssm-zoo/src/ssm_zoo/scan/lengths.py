"""Sequences of several lengths in one batch: real steps first, then padding, which must not count whatever is in it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from ssm_zoo._errors import DtypeError, ShapeError

if TYPE_CHECKING:
    from jaxtyping import Bool, Int, Shaped
    from torch import Tensor


def check_lengths(lengths: Int[Tensor, " batch"], batch: int, length: int) -> None:
    """Raise unless `lengths` are `batch` integers from 0 to `length`.

    The values are looked at on the CPU only, and not by a compiler: elsewhere it would mean to wait for the device.

    Raises
    ------
    ShapeError, DtypeError
        If they are not.
    """
    if lengths.dtype.is_floating_point or lengths.dtype.is_complex or lengths.dtype == torch.bool:
        msg = f"lengths must be integers, got {lengths.dtype}"
        raise DtypeError(msg)
    if tuple(lengths.shape) != (batch,):
        msg = f"lengths must be ({batch},), one for each sequence, got {tuple(lengths.shape)}"
        raise ShapeError(msg)
    if torch.compiler.is_compiling() or lengths.device.type != "cpu":
        return
    if not bool(((lengths >= 0) & (lengths <= length)).all()):
        msg = f"got lengths {lengths.tolist()}, wanted numbers from 0 to {length}, the length of the padded sequences"
        raise ShapeError(msg)


def real_steps(lengths: Int[Tensor, " batch"], length: int) -> Bool[Tensor, "batch length"]:
    """Return where a sequence padded on the right has its real steps."""
    return torch.arange(length, device=lengths.device) < lengths[:, None]


def counts(x: Shaped[Tensor, "batch length ..."], lengths: Int[Tensor, " batch"] | None) -> Int[Tensor, " batch"]:
    """Return the number of real steps of each sequence: all, without `lengths`."""
    return torch.full(x.shape[:1], x.shape[1], device=x.device) if lengths is None else lengths.long().contiguous()


def total(x: Shaped[Tensor, "batch length ..."], lengths: Int[Tensor, " batch"] | None) -> int | Tensor:
    """Return the number of real steps of all sequences."""
    return x.shape[0] * x.shape[1] if lengths is None else lengths.sum()


def blank(x: Shaped[Tensor, "batch length *rest"], lengths: Int[Tensor, " batch"]) -> Shaped[Tensor, "batch ..."]:
    """Return `x` with zeros for padding; neither a NaN in it nor one in its gradient goes through."""
    real = real_steps(lengths, x.shape[1])
    return torch.where(real.reshape(*real.shape, *[1] * (x.ndim - 2)), x, 0)


def reverse_steps(
    x: Shaped[Tensor, "batch length *rest"], lengths: Int[Tensor, " batch"] | None
) -> Shaped[Tensor, "batch length *rest"]:
    """Return every sequence read from its last real step to its first, the padding left where it is."""
    if lengths is None:
        return x.flip(1)
    t = torch.arange(x.shape[1], device=x.device)
    return take_steps(x, torch.where(t < lengths[:, None], lengths[:, None] - 1 - t, t))


def take_steps(
    x: Shaped[Tensor, "batch length *rest"], steps: Int[Tensor, "batch k"]
) -> Shaped[Tensor, "batch k *rest"]:
    """Return x[b, steps[b, t]]; no step twice."""
    index = steps.reshape(*steps.shape, *[1] * (x.ndim - 2)).expand(*steps.shape, *x.shape[2:])
    return x.gather(1, index)


def state_after(
    states: Shaped[Tensor, "batch length ..."],
    lengths: Int[Tensor, " batch"] | None,
    state: Shaped[Tensor, "batch ..."],
) -> Shaped[Tensor, "batch ..."]:
    """Return the state after the last real step; `state`, the one before the first, if there is none."""
    if lengths is None:
        return states[:, -1]
    last = take_steps(states, (lengths - 1).clamp_min(0)[:, None]).squeeze(1)
    return torch.where(lengths.reshape(-1, *[1] * (state.ndim - 1)) > 0, last, state)
