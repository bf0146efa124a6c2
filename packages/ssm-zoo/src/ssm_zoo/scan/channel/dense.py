r"""Independent dense systems, $x_t = A x_{t-1} + B u_t,\; y_t = C x_t + D u_t$, of one input and output, in chunks.

As in `torch.py`, with powers of A by squaring where that has powers of λ: for systems that have no diagonal form worth
the name, such as S4's, whose eigenvectors are next to dependent.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import torch
from torch.nn.functional import pad

from ssm_zoo.scan.channel.torch import toeplitz
from ssm_zoo.scan.lengths import counts, reverse_steps, state_after, total

if TYPE_CHECKING:
    from torch import Tensor

    from ssm_zoo.scan.moments import Moments

_STEPS = 64


class Dense(NamedTuple):
    """H systems of m states: A (H, m, m), B (H, m), C (H, m)."""

    A: Tensor
    B: Tensor
    C: Tensor

    def squares(self, steps: int) -> list[Tensor]:
        r"""Return $A, A^2, A^4, ...$ up to the last exponent that is not above `steps`."""
        powers = [self.A]
        while 2 ** len(powers) <= steps:
            powers.append(powers[-1] @ powers[-1])
        return powers

    def read_after(self, steps: int) -> Tensor:
        r"""Return $C A^{steps}$, (H, m)."""
        row = self.C[:, None]
        for bit, power in enumerate(self.squares(steps)):
            row = row @ power if steps >> bit & 1 else row
        return row[:, 0]

    def adjoint(self) -> Dense:
        r"""Return $(A^T, C^T, B^T)$."""
        return Dense(self.A.mT, self.C, self.B)

    def run(self, inputs: Tensor, D: Tensor, state: Tensor, lengths: Tensor | None) -> tuple[Tensor, Tensor]:
        """Scan in chunks: inputs (batch, length, H), state (batch, H, m)."""
        batch, length, _ = inputs.shape
        squares = self.squares(_STEPS)
        drive, read = _doubled(self.B, squares), _doubled(self.C, [power.mT for power in squares])  # (H, m, T)
        rows = pad(inputs.permute(2, 0, 1), (0, -length % _STEPS)).unflatten(-1, (-1, _STEPS))  # (H, batch, chunk, T)
        added = (rows.flatten(1, 2) @ drive.flip(-1).mT).unflatten(1, (batch, -1))  # (H, batch, chunk, m)
        jump, states = squares[-1].mT, [state.transpose(0, 1)]
        for step in added.unbind(2):
            states.append(states[-1] @ jump + step)
        before = torch.stack(states, 2)  # (H, batch, chunk + 1, m)
        taps = (self.C[:, None] @ drive)[:, 0]
        y = rows.flatten(1, 2) @ toeplitz(taps, D)
        y = y + before[:, :, :-1].flatten(1, 2) @ (self.A.mT @ read)
        outputs = y.unflatten(1, (batch, -1)).flatten(2)[..., :length].permute(1, 2, 0)
        return outputs, _last(squares, drive, rows, before, lengths, length)

    def moment(self, inputs: Tensor, carried: Tensor, lengths: Tensor | None) -> Tensor:
        r"""Return $\sum \xi_t \xi_t^T$ over the real steps, with $\xi_1$ = carried $+ B u_1$, in double precision."""
        length, ends = inputs.shape[1], counts(inputs, lengths)
        first = carried + self.B * inputs[:, 0, :, None]  # (batch, H, m)
        moment = _outer(first, (ends > 0)[:, None])
        rest = pad(inputs[:, 1:].permute(2, 0, 1), (0, -(length - 1) % _STEPS)).unflatten(-1, (-1, _STEPS))
        squares = self.squares(_STEPS)
        added = rest.flatten(1, 2) @ _doubled(self.B, squares).flip(-1).mT
        jump, states = squares[-1].mT, [first.transpose(0, 1)]
        for each in added.unflatten(1, (len(inputs), -1)).unbind(2):
            states.append(states[-1] @ jump + each)
        x = torch.stack(states[:-1], 2) if len(states) > 1 else added.new_zeros(*first.shape[1::-1], 0, first.shape[2])
        starts = torch.arange(x.shape[2], device=inputs.device) * _STEPS + 1
        for t in range(_STEPS):  # of all chunks at once
            x = (x.flatten(1, 2) @ self.A.mT).view(x.shape) + rest[..., t, None] * self.B[:, None, None]
            moment = moment + _outer(
                x.permute(1, 2, 0, 3).flatten(0, 1), (starts + t < ends[:, None]).flatten()[:, None]
            )
        return moment

    def loop(self, inputs: Tensor, D: Tensor, state: Tensor, lengths: Tensor | None) -> tuple[Tensor, Tensor]:
        """Scan by the definition."""
        states: list[Tensor] = []
        for u in inputs.unbind(1):
            states.append(self.advance(states[-1] if states else state, u))
        stacked = torch.stack(states, 1)  # (batch, length, H, m)
        return (self.C * stacked).sum(-1) + D * inputs, state_after(stacked, lengths, state)

    def advance(self, state: Tensor, u: Tensor) -> Tensor:
        """Return the next state."""
        return (self.A @ state[..., None]).squeeze(-1) + self.B * u[..., None]


def _doubled(vector: Tensor, squares: list[Tensor]) -> Tensor:
    r"""Return $v, Av, A^2v, ...$, as many as the last power, (H, m, T)."""
    columns = vector[..., None]
    for power in squares[:-1]:
        columns = torch.cat([columns, power @ columns], -1)
    return columns


def _last(squares, drive, rows, before, lengths, length):
    (H, batch, _, m), steps = before.shape, rows.shape[-1]
    if lengths is None and length % steps == 0:
        return before[:, :, -1].transpose(0, 1)
    ends = torch.full((batch,), length, device=rows.device) if lengths is None else lengths
    chunk, real = ends // steps, ends % steps
    here = chunk.clamp_max(rows.shape[2] - 1)[None, :, None, None]
    inputs = rows.gather(2, here.expand(H, batch, 1, steps))  # (H, batch, 1, T)
    state = before.gather(2, chunk[None, :, None, None].expand(H, batch, 1, m)).squeeze(2)
    for bit, power in enumerate(squares[:-1]):
        state = torch.where((real >> bit & 1 == 1)[:, None], state @ power.mT, state)
    lag = real[:, None] - 1 - torch.arange(steps, device=ends.device)  # (batch, T)
    weights = torch.where(lag >= 0, drive[..., lag.clamp_min(0)], 0)  # (H, m, batch, T)
    return (state + (weights.transpose(1, 2) * inputs).sum(-1)).transpose(0, 1)


def gathered(
    system: Dense,
    moments: Moments,
    inputs: Tensor,
    state: Tensor,
    results: tuple[Tensor, Tensor],
    lengths: Tensor | None,
) -> tuple[Tensor, Tensor]:
    r"""Add the moments of the states; the "gradient" of the tap of the results is that of the adjoint states."""
    with torch.no_grad():
        carried = (system.A @ torch.cat([state.real, state.imag], -1)[..., None]).squeeze(-1)
        moment = system.moment(inputs, carried, lengths)
    moments.add(moment, total(inputs, lengths))
    return _Gathered.apply(*results, moments.tap, *system, lengths)


class _Gathered(torch.autograd.Function):
    @staticmethod
    def forward(ctx, outputs, last, tap, A, B, C, lengths):
        ctx.save_for_backward(A, B, C, lengths)
        return outputs.view_as(outputs), last.view_as(last)

    @staticmethod
    def backward(ctx, d_outputs, d_last):
        *system, lengths = ctx.saved_tensors
        carried = torch.cat([d_last.real, d_last.imag], -1)
        moment = Dense(*system).adjoint().moment(reverse_steps(d_outputs, lengths), carried, lengths)
        return d_outputs, d_last, moment, None, None, None, None


def _outer(rows: Tensor, real: Tensor) -> Tensor:
    """Return the sum of ξ ξᵀ over the rows that are real, (H, m, m), of (rows, H, m)."""
    rows = torch.where(real[..., None], rows, 0).transpose(0, 1).double()
    return rows.mT @ rows
