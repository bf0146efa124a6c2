r"""Chunk by chunk with matrix products, made of Torch's operations alone.

Inside a chunk of q steps the scan is a matrix: $y_i = \sum_{j \le i} (C_i \cdot B_j) e^{s_i - s_j} \Delta_j x_j$, with
the running sum s of $\Delta a$. The state is carried from chunk to chunk. B and C are never repeated for the heads of a
group.

Axes: batch b, chunks c, groups g, heads of a group r, steps of a chunk q, channels P, states N.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch.nn.functional import pad
from torch.utils.checkpoint import checkpoint

from ssm_zoo.scan.lengths import blank, real_steps

from .moments import adjoint_moment, fading, state_moment

if TYPE_CHECKING:
    from torch import Tensor

_CHUNK = 64  # q; per step and channel the matrix costs q, the state 2 N
_SPAN = 16 * _CHUNK  # steps whose matrices are held at once; the backward pass computes them again


def run(
    x: Tensor,
    dt: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor | None,
    state: Tensor,
    lengths: Tensor | None,
    tap: Tensor | None,
) -> tuple[Tensor, ...]:
    """Run span after span, with a checkpoint at the beginning of each."""
    x, dt, B, C = (each if lengths is None else blank(each, lengths) for each in (x, dt, B, C))
    real = torch.ones_like(dt[..., 0]) if lengths is None else real_steps(lengths, x.shape[1]).to(dt)
    state = state.unflatten(1, (B.shape[2], -1))
    moment = state.new_zeros(B.shape[2], *[B.shape[3]] * 2, dtype=torch.float64)
    again = torch.is_grad_enabled() and not torch.compiler.is_compiling()
    outputs = []
    spans = zip(*(t.split(_SPAN if tap is None else _CHUNK, 1) for t in (x, dt, B, C, real)), strict=True)
    for span in spans:
        if again and x.shape[1] > _SPAN:
            y, state, seen = checkpoint(_span, span, A, state, tap, use_reentrant=False, preserve_rng_state=False)
        else:
            y, state, seen = _span(span, A, state, tap)
        outputs.append(y)
        moment = moment if tap is None else moment + seen
    y = torch.cat(outputs, 1)
    y = y if D is None else y + D * x
    last = state.flatten(1, 2)
    return (y, last) if tap is None else (y, last, moment)


def _span(span, A, state, tap):
    """Return outputs without D, the state after the span, and the moment of its states if there is a tap."""
    x, dt, B, C, real = span
    (length, P), g = x.shape[1::2], B.shape[2]
    q = min(_CHUNK, length)
    B, C = (_chunks(t, q).transpose(2, 3) for t in (B, C))  # (b, c, g, q, N)
    u = _chunks(dt[..., None] * x, q).unflatten(3, (g, -1))  # (b, c, q, g, r, P)
    s = _chunks(dt * A, q).double().cumsum(2).unflatten(3, (g, -1)).movedim(2, -1)  # (b, c, g, r, q), rounded once
    after = (s[..., -1:] - s).exp().to(x.dtype).movedim(-1, 2)[..., None]
    # for all heads of a group at once: (r P, q) @ (q, N), and below (q, N) @ (N, r P)
    added = (after * u).flatten(4).movedim(2, 4) @ B
    before, state = _carry(state, s[..., -1].exp().to(x.dtype), added.unflatten(3, (-1, P)))
    mix = (C @ B.mT)[:, :, :, None] * fading(s).to(x.dtype)  # (b, c, g, r, q, q)
    y = (mix @ u.movedim(2, 4)).movedim(4, 2)
    from_before = (C @ before.flatten(3, 4).mT).unflatten(4, (-1, P)).movedim(3, 2)
    y = y + s.exp().to(x.dtype).movedim(-1, 2)[..., None] * from_before  # (b, c, q, g, r, P)
    seen = None
    if tap is not None:
        w = _chunks(real, q)[:, :, None, None]
        y, state = _Tapped.apply(y, state, tap, s, w, C)
        heads = (s, w, u.movedim(2, 4), B[:, :, :, None], before)
        seen = state_moment(*(t.detach().movedim(2, 0) for t in heads))
    return y.flatten(3, 4).flatten(1, 2)[:, :length], state, seen


def _chunks(t: Tensor, q: int) -> Tensor:
    """Cut the time, axis 1, into chunks, the last one filled up with zeros."""
    return pad(t, (0, 0) * (t.ndim - 2) + (0, -t.shape[1] % q)).unflatten(1, (-1, q))


def _carry(state: Tensor, decays: Tensor, added: Tensor) -> tuple[Tensor, Tensor]:
    """Return the states before every chunk, (b, c, g, r, P, N), and the one after the last."""
    before = []
    for decay, new in zip(decays.unbind(1), added.unbind(1), strict=True):
        before.append(state)
        state = decay[..., None, None] * state + new
    return torch.stack(before, 1), state


class _Tapped(torch.autograd.Function):
    """Outputs of one chunk and the state after it as they are: their gradients make up all adjoint states of it."""

    @staticmethod
    def forward(ctx, y, state, tap, s, w, C):
        ctx.save_for_backward(s, w, C)
        return y.view_as(y), state.view_as(state)

    @staticmethod
    def backward(ctx, d_y, d_state):
        s, w, C = ctx.saved_tensors
        heads = (s, w, d_y.movedim(2, 4), C[:, :, :, None], d_state[:, None])
        return d_y, d_state, adjoint_moment(*(t.movedim(2, 0) for t in heads)), None, None, None
