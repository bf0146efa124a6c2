"""What every operation asks of its arguments: tensors of the right shape and precision, named if they are not."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from ssm_zoo._errors import DtypeError, ShapeError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

HALF = (torch.float16, torch.bfloat16)
"""What autocast hands over; operations raise it to the precision of the rest."""

REAL = {torch.complex64: torch.float32, torch.complex128: torch.float64}
"""The precision of the parts of complex numbers."""


def check_shapes(wanted: Mapping[str, tuple[Tensor | None, tuple[int, ...]]], given: str) -> None:
    """Raise a `ShapeError` unless every tensor that there is has the shape which is wanted for what is `given`."""
    for name, (tensor, size) in wanted.items():
        if tensor is not None and shape(tensor) != size:
            msg = f"{name} must be {size} for {given}, got {shape(tensor)}"
            raise ShapeError(msg)


def check_dtype(name: str, tensor: Tensor | None, dtype: torch.dtype, like: str, *, half: bool = False) -> None:
    """Raise a `DtypeError` unless the tensor, if there is one, has the precision that goes with `like`."""
    if tensor is not None and tensor.dtype not in (dtype, *(HALF if half else ())):
        msg = f"{name} must be {dtype}{' (or half precision)' if half else ''} as {like}, got {tensor.dtype}"
        raise DtypeError(msg)


def shape(tensor: Tensor) -> tuple[int, ...]:
    """Return the shape as messages show it."""
    return tuple(tensor.shape)
