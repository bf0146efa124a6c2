"""Padding on either side: a layer only ever sees sequences whose real steps come first."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, TypeAlias

import torch

from .._errors import require
from ..scan.lengths import blank, check_lengths, take_steps

if TYPE_CHECKING:
    from collections.abc import Callable

    from jaxtyping import Int, Shaped
    from torch import Tensor

Padding: TypeAlias = Literal["right", "left"]
"""On which side of its real steps a sequence is filled up."""


def right_padded(
    x: Shaped[Tensor, "batch length *rest"], lengths: Int[Tensor, " batch"] | None, padding: Padding
) -> tuple[Shaped[Tensor, "batch length *rest"], Callable[[Tensor], Tensor]]:
    """Return the sequences with their real steps first and zeros behind, and what puts outputs back into place.

    Parameters
    ----------
    x
        The sequences; whatever is in the padding is lost, a NaN too.
    lengths
        The number of real steps of each; None if all steps are real.
    padding
        Where the padding is: `right` of the real steps, or `left`.

    Raises
    ------
    OptionError, ShapeError, DtypeError
        If the arguments do not fit together.
    """
    require(padding in ("right", "left"), f"got padding={padding!r}, wanted 'right' or 'left'")
    if lengths is None:
        return x, lambda y: y
    batch, length = x.shape[:2]
    check_lengths(lengths, batch, length)
    if padding == "right":
        return blank(x, lengths), lambda y: y
    t, shift = torch.arange(length, device=x.device), (length - lengths)[:, None]
    x = take_steps(x, (t + shift) % max(length, 1))
    return blank(x, lengths), lambda y: take_steps(y, (t - shift) % max(length, 1))
