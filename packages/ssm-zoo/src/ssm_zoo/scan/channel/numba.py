"""The scan on CPU cores: a chunk is three matrix products by Torch, and Numba passes the states from chunk to chunk."""

from __future__ import annotations

from functools import reduce
from itertools import product
from math import ceil
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from ssm_zoo.scan.channel.loops import advance, gather, retreat, scatter
from ssm_zoo.scan.channel.tables import fill, gradients
from ssm_zoo.scan.channel.torch import chunk_steps
from ssm_zoo.scan.lengths import counts
from ssm_zoo.scan.shares import cut
from ssm_zoo.scan.simd import LINE_BYTES
from ssm_zoo.scan.threads import on_threads, scan_threads, scratch

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_CHANNELS = 16  # of a task: a cache line of the inputs in single precision
_TILE_ROWS = 512  # chunks at once: 16 channels of them stay in a level-3 cache, and products are long enough
_WORTH_A_THREAD = 1 << 22  # complex multiply-adds; below it, waking a thread costs more than it saves


def run(
    inputs: Tensor, eigenvalues: Tensor, C: Tensor, D: Tensor, state: Tensor, lengths: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Scan forwards, keeping the state before each chunk for the backward pass."""
    outputs, last, _ = _scan(inputs, eigenvalues, C, D, state, lengths)
    return outputs, last


@torch.library.custom_op("ssm_zoo::channel_numba", mutates_args=(), device_types="cpu")
def _scan(
    inputs: Tensor, eigenvalues: Tensor, C: Tensor, D: Tensor, state: Tensor, lengths: Tensor | None
) -> tuple[Tensor, Tensor, Tensor]:
    call = _Call.of(inputs, eigenvalues, C, D, lengths)
    carry, last = _planes(state), inputs.new_empty(*state.shape[:2], 2 * state.shape[2])
    outputs, checkpoints = torch.empty_like(call.inputs), inputs.new_empty(_checkpoints(inputs, eigenvalues))
    on_threads(_forward, [(call, *cut, carry, last, outputs, checkpoints) for cut in call.cuts], call.threads)
    return outputs, _complex(last), checkpoints


@torch.library.custom_op("ssm_zoo::channel_numba_backward", mutates_args=(), device_types="cpu")
def _scan_backward(
    d_outputs: Tensor,
    d_last: Tensor,
    inputs: Tensor,
    eigenvalues: Tensor,
    C: Tensor,
    D: Tensor,
    checkpoints: Tensor,
    lengths: Tensor | None,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    call = _Call.of(inputs, eigenvalues, C, D, lengths)
    d_outputs, d_last, d_inputs = d_outputs.contiguous(), _planes(d_last), torch.empty_like(call.inputs)
    carry = torch.zeros_like(d_last)
    tasks = [(call, *cut, carry, d_last, d_outputs, checkpoints, d_inputs) for cut in call.cuts]
    sums = on_threads(_backward, tasks, call.threads)
    shares = len(call.cuts) // ceil(inputs.shape[2] / _CHANNELS)  # the cuts of the same channels follow each other
    groups = [sums[k : k + shares] for k in range(0, len(sums), shares)]
    d_eigenvalues, d_C, d_D = (torch.cat([_sum(share[k] for share in group) for group in groups]) for k in range(3))
    return d_inputs, _complex(d_eigenvalues), _complex(d_C), d_D, _complex(carry)


@_scan.register_fake
def _(inputs, eigenvalues, C, D, state, lengths):
    return inputs.new_empty(inputs.shape), state.new_empty(state.shape), inputs.new_empty(_checkpoints(inputs, C))


@_scan_backward.register_fake
def _(d_outputs, d_last, inputs, eigenvalues, C, D, checkpoints, lengths):
    return tuple(tensor.new_empty(tensor.shape) for tensor in (inputs, eigenvalues, C, D, d_last))


def _remember(ctx, inputs, output):
    inputs, eigenvalues, C, D, state, lengths = inputs
    ctx.save_for_backward(inputs, eigenvalues, C, D, output[2], lengths)
    ctx.mark_non_differentiable(output[2])
    ctx.set_materialize_grads(False)
    ctx.shape = state.shape


def _differentiate(ctx, d_outputs, d_last, _):
    inputs, eigenvalues, C, D, checkpoints, lengths = ctx.saved_tensors
    d_outputs = inputs.new_zeros(inputs.shape) if d_outputs is None else d_outputs
    d_last = eigenvalues.new_zeros(ctx.shape) if d_last is None else d_last
    return (*_scan_backward(d_outputs, d_last, inputs, eigenvalues, C, D, checkpoints, lengths), None)


_scan.register_autograd(_differentiate, setup_context=_remember)


class _Call(NamedTuple):
    """What forward and backward share: contiguous arguments, and who does which channels of which sequences."""

    inputs: Tensor  # (batch, length, H)
    ends: Tensor  # (batch,)
    eigenvalues: Tensor  # (H, 2n)
    C: Tensor  # (H, 2n)
    D: Tensor  # (H,)
    steps: int
    cuts: list[tuple[slice, slice]]  # channels, sequences
    threads: int

    @classmethod
    def of(cls, inputs, eigenvalues, C, D, lengths):
        (batch, length, H), n = inputs.shape, eigenvalues.shape[1]
        ends = counts(inputs, lengths)
        threads = max(1, min(scan_threads(), batch * length * H * n // _WORTH_A_THREAD))
        channels, shares = ceil(H / _CHANNELS), 1
        if channels % threads and channels < 4 * threads:
            shares = min(batch, ceil(4 * threads / channels))
        cuts = list(product(cut(H, channels), cut(batch, shares)))
        # Copies, for a tensor that NumPy has seen can never be resized again, and FSDP resizes parameters.
        planes = _planes(eigenvalues), _planes(C), D.clone()
        return cls(inputs.contiguous(), ends, *planes, chunk_steps(n), cuts, threads)

    def tiles(self, sequences: slice) -> Iterator[tuple[slice, list[range]]]:
        """Give groups of sequences, each with its spans of chunks in the order of time."""
        chunks = ceil(self.inputs.shape[1] / self.steps)
        spans = [range(k, min(k + _TILE_ROWS, chunks)) for k in range(0, chunks, _TILE_ROWS)]
        group = max(1, _TILE_ROWS // chunks)
        for start in range(sequences.start, sequences.stop, group):
            yield slice(start, min(start + group, sequences.stop)), spans

    def place(self, channels: slice, group: slice, span: range) -> tuple[int, ...]:
        """Return what the loops call a place."""
        return channels.start, group.start, span.start, group.stop - group.start, len(span), self.steps

    def tables(self, channels: slice) -> _Tables:
        """Return the matrices of one chunk."""
        eigenvalues = self.eigenvalues[channels]
        g, width = eigenvalues.shape
        empty, T = eigenvalues.new_empty, self.steps
        tables = _Tables(empty(g, T, T), empty(g, T, width), empty(g, T, width), empty(g, width))
        fill(*_arrays(eigenvalues, self.C[channels], self.D[channels], *tables))
        return tables


class _Tables(NamedTuple):
    toeplitz: Tensor  # (g, T, T)
    drive: Tensor  # (g, T, 2n)
    read: Tensor  # (g, T, 2n)
    jump: Tensor  # (g, 2n)


def _forward(call, channels, sequences, carry, last, outputs, checkpoints):
    tables, eigenvalues = call.tables(channels), call.eigenvalues[channels]
    g, steps = len(eigenvalues), call.steps
    for group, spans in call.tiles(sequences):
        for span in spans:
            place, rows = call.place(channels, group, span), (group.stop - group.start) * len(span)
            u, y = (_tile(name, call.inputs, g, rows * steps) for name in ("u", "y"))
            gather(*_arrays(call.inputs, call.ends), place, g, u.numpy())
            states = _rows(checkpoints[channels, group, span.start : span.stop])
            torch.bmm(_cut_out(u, rows, steps), tables.drive, out=states)
            advance(*_arrays(checkpoints, u, call.ends), place, *_arrays(eigenvalues, tables.jump, carry, last))
            torch.bmm(_cut_out(u, rows, steps), tables.toeplitz, out=_cut_out(y, rows, steps))
            _cut_out(y, rows, steps).baddbmm_(states, tables.read.mT)
            scatter(*_arrays(y, call.ends), place, g, outputs.numpy())


def _backward(call, channels, sequences, carry, d_last, d_outputs, checkpoints, d_inputs):
    tables, eigenvalues = call.tables(channels), call.eigenvalues[channels]
    sums = _Tables(*(torch.zeros_like(table) for table in tables))
    parameters = [torch.zeros_like(part[channels]) for part in (call.eigenvalues, call.C, call.D)]
    (g, width), steps = eigenvalues.shape, call.steps
    for group, spans in call.tiles(sequences):
        for span in reversed(spans):
            place, rows = call.place(channels, group, span), (group.stop - group.start) * len(span)
            tiles = [_tile(name, call.inputs, g, rows * steps) for name in ("u", "g", "y")]
            tiles.append(_tile("a", call.inputs, g, rows * width))
            u, d_y, d_u = (_cut_out(tile, rows, steps) for tile in tiles[:3])
            adjoints = _cut_out(tiles[3], rows, width)
            for source, tile in zip((call.inputs, d_outputs), tiles, strict=False):
                gather(*_arrays(source, call.ends), place, g, tile.numpy())
            sums.read.baddbmm_(d_y.mT, _rows(checkpoints[channels, group, span.start : span.stop]))
            sums.toeplitz.baddbmm_(u.mT, d_y)
            torch.bmm(d_y, tables.read, out=adjoints)
            torch.bmm(d_y, tables.toeplitz.mT, out=d_u)
            fixed = _arrays(eigenvalues, tables.jump, carry, d_last, tiles[2], parameters[0], sums.jump)
            retreat(*_arrays(tiles[3], checkpoints, tiles[0], call.ends), place, *fixed)
            sums.drive.baddbmm_(u.mT, adjoints)
            d_u.baddbmm_(adjoints, tables.drive.mT)
            scatter(*_arrays(tiles[2], call.ends), place, g, d_inputs.numpy())
    gradients(*_arrays(eigenvalues, call.C[channels], *sums, *parameters))
    return parameters


def _tile(name: str, like: Tensor, g: int, size: int) -> Tensor:
    """Return scratch; channels are a line further apart than they need, lest all fall into one set of the cache."""
    size += LINE_BYTES // like.element_size()
    return scratch(name, g * size, like).view(g, size)


def _cut_out(tile: Tensor, rows: int, columns: int) -> Tensor:
    """Return (g, rows, columns) of a tile, a view."""
    return tile[:, : rows * columns].unflatten(1, (rows, columns))


def _checkpoints(inputs: Tensor, eigenvalues: Tensor) -> tuple[int, ...]:
    (batch, length, H), n = inputs.shape, eigenvalues.shape[1]
    return H, batch, -(-length // chunk_steps(n)), 2 * n


def _planes(z: Tensor) -> Tensor:
    return torch.cat([z.real, z.imag], -1)


def _complex(planes: Tensor) -> Tensor:
    return torch.complex(*planes.chunk(2, -1))


def _rows(chunked: Tensor) -> Tensor:
    """Return (g, rows, columns) of (g, sequence, chunk, columns) as a view, whatever lies between the channels."""
    g, count, chunks, columns = chunked.shape
    return chunked.as_strided((g, count * chunks, columns), (chunked.stride(0), columns, 1), chunked.storage_offset())


def _arrays(*tensors: Tensor) -> list:
    return [tensor.numpy() for tensor in tensors]


def _sum(parts: Iterable[Tensor]) -> Tensor:
    return reduce(torch.add, parts)
