"""From features of every step to features of the whole sequence, and what is asked of the sequences on the way in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import torch

from .._errors import ShapeError
from ..scan.lengths import blank, check_lengths

if TYPE_CHECKING:
    from jaxtyping import Float, Int
    from torch import Tensor


class PooledState(NamedTuple):
    """Where a pooled model is in its sequences: the layers' states, the sum over the steps so far, their number."""

    layers: tuple[Any, ...]
    total: Float[Tensor, "batch d_model"]
    steps: Int[Tensor, " batch"]


def pool(
    x: Float[Tensor, "batch length d_model"], lengths: Int[Tensor, " batch"] | None, before: PooledState | None
) -> tuple[Float[Tensor, "batch d_model"], Int[Tensor, " batch"]]:
    """Return the sum over all real steps so far, and their number."""
    if lengths is None:
        total, count = x.sum(dim=1), torch.full((len(x),), x.shape[1], device=x.device)
    else:
        total, count = blank(x, lengths).sum(dim=1), lengths
    return (total, count) if before is None else (before.total + total, before.steps + count)


def check_inputs(inputs: Tensor, d_input: int, *, tokens: bool = False) -> None:
    """Raise unless the inputs are sequences of `d_input` features, or of tokens."""
    if tokens:
        integers = inputs.dtype in (torch.int32, torch.int64)
        if inputs.ndim != 2 or not integers:
            message = f"got inputs of shape {tuple(inputs.shape)} and {inputs.dtype}, wanted (batch, length) of int64"
            raise ShapeError(message)
        return
    if inputs.ndim != 3 or inputs.shape[-1] != d_input:
        message = f"got inputs of shape {tuple(inputs.shape)}, wanted (batch, length, d_input={d_input})"
        raise ShapeError(message)


def without_padding(inputs: Tensor, lengths: Tensor | None) -> Tensor:
    """Return the inputs with zeros in place of the padding, so that nothing there, not even NaN, reaches a gradient.

    Raises
    ------
    ShapeError, DtypeError
        If the lengths do not fit the inputs, or a sequence has no step.
    """
    if lengths is None:
        return inputs
    batch, length = inputs.shape[:2]
    fits = lengths.shape == (batch,) and lengths.device.type == "cpu" and not torch.compiler.is_compiling()
    if fits and not bool(((lengths >= 1) & (lengths <= length)).all()):
        message = f"got lengths {lengths.tolist()}, wanted {batch} numbers from 1 to {length}"
        raise ShapeError(message)
    check_lengths(lengths, batch, length)
    return blank(inputs, lengths)
