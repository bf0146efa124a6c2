"""The scan in logarithmically many Torch operations: scan all chunks at once, scan their ends, then pass these on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch.nn.functional import pad

from ssm_zoo.scan.diagonal.reference import compute, loop

if TYPE_CHECKING:
    from torch import Tensor

_CHUNK = 32  # steps done one by one: two levels up to 1024 steps, and few enough operations at any length


def run(
    inputs: Tensor,
    eigenvalues: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor | None,
    state: Tensor,
    reverse: bool,
    lengths: Tensor | None,
    tap: Tensor | None,
) -> tuple[Tensor, ...]:
    """Scan in chunks of chunks."""
    return compute(accumulate, inputs, eigenvalues, B, C, D, state, reverse, lengths, tap)


def accumulate(drives: Tensor, eigenvalues: Tensor, state: Tensor) -> Tensor:
    r"""Return every $x_t = \lambda \odot x_{t-1} + d_t$, (batch, length, n)."""
    length = drives.shape[1]
    if length <= _CHUNK:
        return loop(drives, eigenvalues, state)
    chunks = pad(drives, (0, 0, 0, -length % _CHUNK)).unflatten(1, (-1, _CHUNK))  # (batch, chunk, step, n)
    within = loop(chunks.transpose(1, 2), eigenvalues, torch.zeros_like(chunks[:, :, 0]))  # (batch, step, chunk, n)
    still = eigenvalues.new_zeros(1, _CHUNK, eigenvalues.shape[0])
    powers = loop(still, eigenvalues, torch.ones_like(eigenvalues))[0]  # (step, n)
    ends = accumulate(within[:, -1], powers[-1], state)
    before = torch.cat([state[:, None], ends[:, :-1]], 1)  # (batch, chunk, n)
    whole = within.transpose(1, 2) + powers * before[:, :, None]
    return whole.flatten(1, 2)[:, :length]
