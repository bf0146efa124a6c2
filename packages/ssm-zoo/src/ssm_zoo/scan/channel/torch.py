"""The scan in chunks, as batched matrix products: within a chunk a Toeplitz matrix, between chunks the states."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import torch
from torch.nn.functional import pad

if TYPE_CHECKING:
    from jaxtyping import Complex, Float, Int
    from torch import Tensor

_FEW = 32  # chunks that are scanned one by one


def run(
    inputs: Tensor, eigenvalues: Tensor, C: Tensor, D: Tensor, state: Tensor, lengths: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Scan in chunks; see README.md for the names."""
    batch, length, _ = inputs.shape
    chunks = _Chunks.of(inputs, eigenvalues, state)
    read = C[..., None] * chunks.powers  # (H, n, T + 1)
    y = chunks.rows @ toeplitz(read[..., :-1].real.sum(1), D)
    before = chunks.before[:, :, :-1].transpose(0, 1).flatten(1, 2)  # (H, rows, n)
    for x, plane in zip(planes(before), planes(read[..., 1:].conj()), strict=True):
        y = y + x @ plane
    outputs = y.unflatten(1, (batch, -1)).flatten(2)[..., :length].permute(1, 2, 0)
    return outputs, chunks.end(lengths, length)


def end_states(
    inputs: Float[Tensor, "batch length H"],
    eigenvalues: Complex[Tensor, "H n"],
    state: Complex[Tensor, "batch H n"],
    lengths: Int[Tensor, " batch"] | None = None,
) -> Complex[Tensor, "batch H n"]:
    """Return the last states alone, for less than half of the work."""
    return _Chunks.of(inputs, eigenvalues, state).end(lengths, inputs.shape[1])


def chunk_steps(n: int) -> int:
    """Return T: short where the states are few, so that the Toeplitz matrices cost no more than the states do."""
    return 64 if n > 16 else 32


class _Chunks(NamedTuple):
    """Inputs and states of all chunks."""

    rows: Tensor  # (H, batch · chunks, T)
    powers: Tensor  # (H, n, T + 1): of the eigenvalues
    before: Tensor  # (batch, H, chunks + 1, n): the state before each chunk, and after the last

    @classmethod
    def of(cls, inputs: Tensor, eigenvalues: Tensor, state: Tensor) -> _Chunks:
        batch, length, _ = inputs.shape
        steps = chunk_steps(eigenvalues.shape[1])
        powers = power_table(eigenvalues, steps + 1)
        rows = pad(inputs.permute(2, 0, 1), (0, -length % steps)).unflatten(-1, (-1, steps)).flatten(1, 2)
        added = torch.complex(*(rows @ plane.mT for plane in planes(powers[..., :-1].flip(-1))))  # (H, rows, n)
        added = added.unflatten(1, (batch, -1)).transpose(0, 1)
        return cls(rows, powers, exclusive(added, powers[..., -1], state))

    def end(self, lengths: Tensor | None, length: int) -> Tensor:
        """Return the states after the last real steps: from the state before their chunk, through the steps of it."""
        (batch, H, _, n), steps = self.before.shape, self.rows.shape[-1]
        if lengths is None and length % steps == 0:
            return self.before[:, :, -1]
        ends = torch.full((batch,), length, device=self.rows.device) if lengths is None else lengths
        chunk, real = ends // steps, ends % steps  # (batch)
        chunked = self.rows.unflatten(1, (batch, -1)).transpose(0, 1)  # (batch, H, chunk, T)
        here = chunk.clamp_max(chunked.shape[2] - 1)  # an end may lie behind the last chunk: then `real` is zero
        inputs = chunked.gather(2, here[:, None, None, None].expand(batch, H, 1, steps))  # (batch, H, 1, T)
        before = self.before.gather(2, chunk[:, None, None, None].expand(batch, H, 1, n)).squeeze(2)
        lag = real[:, None] - 1 - torch.arange(steps, device=ends.device)  # (batch, T)
        weights = torch.where(lag >= 0, self.powers[..., lag.clamp_min(0)], 0)  # (H, n, batch, T)
        driven = (weights.permute(2, 0, 1, 3) * inputs).sum(-1)
        return self.powers[..., real].permute(2, 0, 1) * before + driven


def power_table(eigenvalues: Tensor, count: int) -> Tensor:
    """Return λ⁰ ... λ^(count − 1), doubling their number: no logarithm, so zero is an eigenvalue like any other."""
    table, power = torch.ones_like(eigenvalues)[..., None], eigenvalues[..., None]
    while table.shape[-1] < count:
        table, power = torch.cat([table, table * power], -1), power * power
    return table[..., :count]


def planes(z: Tensor) -> tuple[Tensor, Tensor]:
    """Return real and imaginary part."""
    z = z.resolve_conj()
    return z.real, z.imag


def toeplitz(taps: Tensor, D: Tensor) -> Tensor:
    """Return the matrices with entries k_(j − i) from step i to step j >= i, (H, T, T); D adds to k_0."""
    steps = taps.shape[-1]
    taps = torch.cat([taps[:, :1] + D[:, None], taps[:, 1:], torch.zeros_like(taps)], -1)
    t = torch.arange(steps, device=taps.device)
    return taps[:, (t - t[:, None]) % (2 * steps)]


def exclusive(added: Tensor, jump: Tensor, state: Tensor) -> Tensor:
    """Return the state before each chunk and after the last one, (batch, H, chunks + 1, n)."""
    chunks = added.shape[2]
    if chunks <= _FEW:
        states = [state]
        for step in added.unbind(2):
            states.append(jump * states[-1] + step)
        return torch.stack(states, 2)
    groups = pad(added, (0, 0, 0, -chunks % _FEW)).unflatten(2, (-1, _FEW))  # (batch, H, group, chunk, n)
    within = [torch.zeros_like(groups[..., 0, :])]
    for step in groups.unbind(3):
        within.append(jump[:, None] * within[-1] + step)
    powers = power_table(jump, _FEW + 1)  # (H, n, chunk)
    starts = exclusive(within[-1], powers[..., -1], state)  # (batch, H, group + 1, n)
    carried = powers[..., :-1].mT[:, None] * starts[:, :, :-1, None]
    whole = (torch.stack(within[:-1], 3) + carried).flatten(2, 3)  # (batch, H, chunks rounded up, n)
    return torch.cat([whole, starts[:, :, -1:]], 2)[:, :, : chunks + 1]
