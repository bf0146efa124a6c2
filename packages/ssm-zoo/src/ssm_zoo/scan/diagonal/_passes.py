"""Both passes of the scan on CPU cores: products by Torch, the recurrence between them by Numba, tile after tile."""

from __future__ import annotations

from functools import reduce
from math import prod
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch

from ..lengths import counts
from ..threads import on_threads, scratch
from ._kernels import advance, feed_back, feed_through, retreat
from ._tiles import Plan, chunks

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from torch import Tensor

_FEW_COLUMNS = 12  # of a product; measured with Torch's MKL in both precisions
_WIDE = 256  # numbers of D at least, in as many copies as that takes


def scan_forwards(inputs, eigenvalues, B, C, D, state, reverse, keep, lengths, tap):
    """Return outputs, last state, what the backward pass needs, and the second moment of the states if there is a tap.

    That is the state before every tile, and all states if they are to be kept.
    """
    call = _Call.of(inputs, eigenvalues, B, C, D, reverse, lengths, tap is not None)
    checkpoints = inputs.new_empty(checkpoint_size(inputs, eigenvalues))
    states = inputs.new_empty(kept_size(inputs, eigenvalues, keep))
    views, kept = call.views(checkpoints, batch_axis=1), call.views(states, batch_axis=0)
    for view, part in zip(views, call.plan.parts, strict=True):
        view[0] = _planes(state[:, part])
    outputs = [inputs.new_empty(*inputs.shape[:2], C.shape[0]) for _ in views]
    moments = call.share_out(lambda k, rows: _forward(call, rows, k, views[k], kept[k], outputs[k], tap))
    return _sum(outputs), _complex_of(view[-1] for view in views), checkpoints, states, _sum(moments[0])


def scan_backwards(
    d_outputs, d_last, inputs, eigenvalues, B, C, D, checkpoints, states, reverse, lengths, tap, needs_inputs
):
    """Return the gradients of inputs, eigenvalues, B, C, D, state and tap; empty where there is none."""
    call = _Call.of(inputs, eigenvalues, B, C, D, reverse, lengths, tap is not None)
    views, kept = call.views(checkpoints, batch_axis=1), call.views(states, batch_axis=0)
    d_outputs = d_outputs.contiguous()
    d_inputs = [torch.empty_like(call.inputs) if needs_inputs else None for _ in views]
    adjoints = [_planes(d_last[:, part]) for part in call.plan.parts]
    sums = call.share_out(
        lambda k, rows: _backward(call, rows, k, views[k], kept[k], d_outputs, adjoints[k], d_inputs[k], tap)
    )
    *parts, d_D, d_tap = zip(*[[_sum(shares) for shares in zip(*part, strict=True)] for part in sums], strict=True)
    d_eigenvalues, d_drive, d_read = (_complex_of(part) for part in parts)
    d_B, d_C = d_drive.mT.contiguous(), torch.complex(d_read.real, -d_read.imag)
    d_input = _sum(d_inputs) if needs_inputs else inputs.new_empty(0)
    return d_input, d_eigenvalues, d_B, d_C, d_D[0], _complex_of(adjoints), d_tap[0]


class _System(NamedTuple):
    """A part of the states in real planes [re | im]: x_t = λ x_{t-1} + u_t drive, y_t = x_t read + D ⊙ u_t."""

    eigenvalues: Tensor  # (2n,)
    drive: Tensor  # (m, 2n)
    read: Tensor  # (2n, p)
    D: Tensor | None  # (k m,), k times; of the first part only


class _Call(NamedTuple):
    """What both passes have in common."""

    plan: Plan
    systems: list[_System]
    inputs: Tensor
    lengths: np.ndarray

    @classmethod
    def of(cls, inputs, eigenvalues, B, C, D, reverse, lengths, whole):
        plan = Plan.of(inputs, eigenvalues.shape[0], C.shape[0], reverse, whole)
        systems = [
            _System(
                _planes(eigenvalues[part]),
                _planes(B[part].mT),
                torch.cat([C[:, part].real, -C[:, part].imag], 1).mT,
                None if k or D is None else D.repeat(-(-_WIDE // len(D))),
            )
            for k, part in enumerate(plan.parts)
        ]
        return cls(plan, systems, inputs.contiguous(), counts(inputs, lengths).numpy())

    def views(self, memory: Tensor, batch_axis: int) -> list[Tensor]:
        """Return the parts' shares of what is kept for the backward pass: (steps, batch, 2n) or (batch, steps, 2n)."""
        rows = memory.numel() // (2 * self.plan.parts[-1].stop)
        shape = (-1, len(self.inputs)) if batch_axis else (len(self.inputs), rows // len(self.inputs))
        return [
            memory[2 * part.start * rows : 2 * part.stop * rows].view(*shape, 2 * (part.stop - part.start))
            for part in self.plan.parts
        ]

    def share_out(self, work: Callable) -> list[list]:
        """Do `work(part, rows)` for all parts and shares on all threads; return the results by part, in order."""
        plan = self.plan
        tasks = [(k, rows) for k in range(len(plan.parts)) for rows in plan.shares]
        results = on_threads(work, tasks, plan.threads)
        return [results[k : k + len(plan.shares)] for k in range(0, len(results), len(plan.shares))]


def _forward(call, rows, part, checkpoints, kept, outputs, tap):
    """Fill the outputs, the checkpoints and what is kept, return the sum of second moments."""
    system, plan = call.systems[part], call.plan
    (tile,) = _tiles(1, call, system)
    moment = zero_moment(outputs, tap)
    for group, spans in plan.tiles(rows):
        for k, span in enumerate(spans):
            into = _rows(kept[group, span]) if kept.numel() else tile
            states = _states(call, system, checkpoints[k : k + 2, group], group, span, into)
            out = _rows(outputs[group, span])
            _multiply(states, system.read, out)
            if system.D is not None:
                feed_through(*_arrays(out.view(-1), call.inputs[group, span].view(-1), system.D))
            if tap is not None:
                moment += states.mT @ states
    return moment


def _backward(call, rows, part, checkpoints, kept, d_outputs, adjoint, d_inputs, tap):
    """Fill `d_inputs`, turn `adjoint` from the last state's into the first one's, return the other gradients."""
    system, plan = call.systems[part], call.plan
    tile, twin = _tiles(2, call, system)
    d_eigenvalues, d_drive = torch.zeros_like(system.eigenvalues), torch.zeros_like(system.drive)
    d_read, d_tap = torch.zeros_like(system.read.mT), zero_moment(d_outputs, tap)
    d_D = d_outputs.new_empty(0) if system.D is None else torch.zeros_like(system.D)
    for group, spans in plan.tiles(rows):
        for k, span in reversed(list(enumerate(spans))):
            if kept.numel():
                states = _rows(kept[group, span])
            else:
                states = _states(call, system, checkpoints[k : k + 2, group], group, span, tile)
            u, g = _rows(call.inputs[group, span]), _rows(d_outputs[group, span])
            d_read.addmm_(g.mT, states)
            adjoints = torch.mm(g, system.read.mT, out=twin[: len(g)])
            before = checkpoints[k, group]
            retreat(
                *_arrays(_tall(adjoints, before), _tall(states, before), system.eigenvalues, before, adjoint[group]),
                d_eigenvalues.numpy(),
                call.lengths[group],
                span.start,
                plan.reverse,
            )
            d_drive.addmm_(u.mT, adjoints)
            if tap is not None:
                d_tap += adjoints.mT @ adjoints
            if system.D is not None:
                feed_back(*_arrays(g.view(-1), u.view(-1), d_D))
            if d_inputs is not None:
                d_u = _rows(d_inputs[group, span])
                _multiply(adjoints, system.drive.mT, d_u)
                if system.D is not None:
                    feed_through(*_arrays(d_u.view(-1), g.view(-1), system.D))
    return d_eigenvalues, d_drive, d_read, d_D.view(-1, call.inputs.shape[2]).sum(0), d_tap


def _tiles(count, call, system):
    """Return room for so many tiles, (count, rows, 2n)."""
    shape = count, call.plan.group * call.plan.chunk, system.drive.shape[1]
    return scratch("tiles", prod(shape), system.drive).view(shape)


def _states(call, system, checkpoints, group, span, tile):
    """Compute the states of one tile, (rows, 2n), and leave the last of them in the next checkpoint."""
    inputs = _rows(call.inputs[group, span])
    states = torch.mm(inputs, system.drive, out=tile[: len(inputs)])
    before, after = checkpoints
    arrays = _arrays(_tall(states, before), system.eigenvalues, before, after)
    advance(*arrays, call.lengths[group], span.start, call.plan.reverse)
    return states


def _multiply(tall: Tensor, matrix: Tensor, out: Tensor) -> None:
    """Put the product into `out`; MKL makes one with few columns two to four times faster as a transposed one."""
    if 1 < matrix.shape[1] < _FEW_COLUMNS:
        out.copy_(torch.mm(matrix.mT, tall.mT).mT)
    else:
        torch.mm(tall, matrix, out=out)


def checkpoint_size(inputs: Tensor, eigenvalues: Tensor) -> int:
    """Return how many numbers the checkpoints are, whatever the number of threads."""
    n = eigenvalues.shape[0]
    return (chunks(inputs, n) + 1) * inputs.shape[0] * 2 * n


def kept_size(inputs: Tensor, eigenvalues: Tensor, keep: bool) -> int:
    """Return how many numbers all states are, none if they are not kept."""
    return inputs.shape[0] * inputs.shape[1] * 2 * eigenvalues.shape[0] if keep else 0


def zero_moment(like: Tensor, tap: Tensor | None) -> Tensor:
    """Return a second moment to add to, empty without a tap."""
    return like.new_empty(0) if tap is None else torch.zeros_like(tap)


def _planes(z: Tensor) -> Tensor:  # no lazy conjugates: inside a compiled operator Torch takes them for resolved
    return torch.cat([z.real, z.imag], -1)


def _complex(planes: Tensor) -> Tensor:
    return torch.complex(*planes.chunk(2, -1))


def _complex_of(parts: Iterable[Tensor]) -> Tensor:
    return torch.cat([_complex(part) for part in parts], -1)


def _rows(tile: Tensor) -> Tensor:
    return tile.view(tile.shape[0] * tile.shape[1], tile.shape[2])


def _tall(rows: Tensor, before: Tensor) -> Tensor:
    return rows.view(before.shape[0], -1, rows.shape[-1])


def _arrays(*tensors: Tensor) -> list:
    return [tensor.numpy() for tensor in tensors]


def _sum(parts: Iterable[Any]) -> Tensor:
    return reduce(torch.add, parts)
