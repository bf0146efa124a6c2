"""Rows of channels of a batch-first tensor as kernels read them: a flat vector and two strides."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import torch

from .simd import LINE_BYTES

if TYPE_CHECKING:
    from torch import Tensor


class Rows(NamedTuple):
    """A (batch, length, d) tensor: row t of sequence b starts at `flat[b * sequence + t * row]`."""

    flat: Any
    sequence: int
    row: int

    @classmethod
    def of(cls, tensor: Tensor) -> Rows:
        """Return the rows of a tensor that is not empty; a slice of the last axis, as `chunk` makes, is not copied."""
        if tensor.stride(-1) != 1:
            tensor = tensor.contiguous()
        batch, length, width = tensor.shape
        sequence, row, _ = tensor.stride()
        size = (batch - 1) * sequence + (length - 1) * row + width
        return cls(torch.as_strided(tensor.detach(), (size,), (1,)).numpy(), sequence, row)


def padded(tensor: Tensor) -> Tensor:
    """Return (..., d) with zeros up to whole lines, contiguous."""
    missing = -tensor.shape[-1] % (LINE_BYTES // tensor.element_size())
    return torch.nn.functional.pad(tensor.detach(), (0, missing)).contiguous()
