"""The scan in logarithmically many Torch operations: scan all chunks at once, scan their ends, then pass these on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch.nn.functional import pad

from ssm_zoo.scan.diagonal.reference import drive, read

if TYPE_CHECKING:
    from torch import Tensor

_CHUNK = 32  # steps done one by one: two levels up to 1024 steps, and few enough operations at any length


def run(
    inputs: Tensor, eigenvalues: Tensor, B: Tensor, C: Tensor, state: Tensor, reverse: bool
) -> tuple[Tensor, Tensor]:
    """Scan in chunks of chunks."""
    drives = drive(inputs.flip(1) if reverse else inputs, B)
    states = accumulate(drives, eigenvalues, state)
    last = states[:, -1]
    return read(states.flip(1) if reverse else states, C), last


def accumulate(drives: Tensor, eigenvalues: Tensor, state: Tensor) -> Tensor:
    r"""Return every $x_t = \lambda \odot x_{t-1} + d_t$, (batch, length, n)."""
    length = drives.shape[1]
    if length <= _CHUNK:
        return _loop(drives, eigenvalues, state)
    chunks = pad(drives, (0, 0, 0, -length % _CHUNK)).unflatten(1, (-1, _CHUNK))  # (batch, chunk, step, n)
    within = _loop(chunks.transpose(1, 2), eigenvalues, torch.zeros_like(chunks[:, :, 0]))  # (batch, step, chunk, n)
    still = eigenvalues.new_zeros(1, _CHUNK, eigenvalues.shape[0])
    powers = _loop(still, eigenvalues, torch.ones_like(eigenvalues))[0]  # (step, n)
    ends = accumulate(within[:, -1], powers[-1], state)
    before = torch.cat([state[:, None], ends[:, :-1]], 1)  # (batch, chunk, n)
    whole = within.transpose(1, 2) + powers * before[:, :, None]
    return whole.flatten(1, 2)[:, :length]


def _loop(drives: Tensor, eigenvalues: Tensor, state: Tensor) -> Tensor:
    states = []
    for step in drives.unbind(1):
        state = eigenvalues * state + step
        states.append(state)
    return torch.stack(states, 1)
