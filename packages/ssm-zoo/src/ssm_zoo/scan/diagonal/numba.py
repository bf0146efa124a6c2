"""The scan on CPU cores: matrix products by Torch, the recurrence between them by Numba, tile after tile in cache."""

from __future__ import annotations

import threading
from functools import reduce
from itertools import pairwise
from math import ceil, prod
from typing import TYPE_CHECKING, Any, NamedTuple

import numba
import torch
from torch.autograd.function import once_differentiable

from ..threads import on_threads, scan_threads

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from torch import Tensor

_TILE_BYTES = 1 << 21  # stays in a level-3 cache; smaller tiles pay more for Python between the products than they save
_SHARES = 2  # per thread: a core that is busy with something else then takes fewer of them
_WORTH_A_THREAD = 1 << 22  # complex multiply-adds; below it, waking a thread costs more than it saves
_FEW_COLUMNS = 12  # of a product; measured with Torch's MKL in both precisions
_NARROWEST = 32  # states; a narrower share leaves the vector units idle

_scratch = threading.local()

# Contraction and reassociation only: a NaN or an infinity must stay visible in the loss.
_kernel: Any = numba.njit(nogil=True, cache=True, fastmath={"contract", "reassoc", "nsz"})


def run(
    inputs: Tensor, eigenvalues: Tensor, B: Tensor, C: Tensor, state: Tensor, reverse: bool
) -> tuple[Tensor, Tensor]:
    """Scan forwards; the backward pass computes the states again from one checkpoint per tile."""
    return _Scan.apply(inputs, eigenvalues, B, C, state, reverse)


class _Scan(torch.autograd.Function):
    @staticmethod
    def forward(ctx, inputs, eigenvalues, B, C, state, reverse):
        plan = _Plan.of(inputs, eigenvalues, C, reverse)
        systems = [_System.cut(eigenvalues, B, C, state, part, plan.chunks) for part in plan.parts]
        inputs = inputs.contiguous()
        outputs = [inputs.new_empty(*inputs.shape[:2], C.shape[0]) for _ in systems]
        _share_out(lambda k, rows: _forward(plan, rows, inputs, systems[k], outputs[k]), plan)
        ctx.save_for_backward(inputs, *(tensor for system in systems for tensor in system))
        ctx.plan = plan
        last = torch.cat([_complex(system.checkpoints[-1]) for system in systems], 1)
        return _sum(outputs), last

    @staticmethod
    @once_differentiable
    def backward(ctx, d_outputs, d_last):
        plan, (inputs, *saved) = ctx.plan, ctx.saved_tensors
        width = len(_System._fields)
        systems = [_System(*saved[k : k + width]) for k in range(0, len(saved), width)]
        d_outputs = d_outputs.contiguous()
        d_inputs = [torch.empty_like(inputs) if ctx.needs_input_grad[0] else None for _ in systems]
        adjoints = [_planes(d_last[:, part]) for part in plan.parts]
        sums = _share_out(
            lambda k, rows: _backward(plan, rows, inputs, systems[k], d_outputs, adjoints[k], d_inputs[k]), plan
        )
        grads = [[_sum(shares) for shares in zip(*part, strict=True)] for part in sums]
        d_eigenvalues, d_B, d_C = (torch.cat([_complex(part[k]) for part in grads], -1) for k in range(3))
        d_state = torch.cat([_complex(adjoint) for adjoint in adjoints], -1)
        return _sum(d_inputs) if ctx.needs_input_grad[0] else None, d_eigenvalues, d_B.mT, d_C.conj(), d_state, None


class _Plan(NamedTuple):
    """How a call is cut: parts of the states, shares of the batch, and tiles of `group` sequences by `chunk` steps."""

    parts: list[slice]
    shares: list[slice]
    group: int
    chunk: int
    chunks: int
    reverse: bool
    threads: int

    @classmethod
    def of(cls, inputs, eigenvalues, C, reverse):
        (batch, length, m), n, p = inputs.shape, eigenvalues.shape[0], C.shape[0]
        work = batch * length * n * (m + p + 2)
        threads = max(1, min(scan_threads(), work // _WORTH_A_THREAD))
        parts = max(1, min(threads // batch, n // _NARROWEST))
        shares = min(batch, _SHARES * threads) if threads > 1 else 1
        rows = max(1, _TILE_BYTES // (2 * ceil(n / parts) * inputs.element_size()))
        chunks = ceil(length / rows)
        share = ceil(batch / shares)
        group = ceil(share / ceil(share / max(1, rows // length)))
        return cls(_cut(n, parts), _cut(batch, shares), group, ceil(length / chunks), chunks, reverse, threads)

    def tiles(self, rows: slice, length: int) -> Iterable[tuple[slice, list[slice]]]:
        """Give groups of sequences, each with its spans of time in the order of the scan."""
        spans = [slice(k, min(k + self.chunk, length)) for k in range(0, length, self.chunk)]
        if self.reverse:
            spans.reverse()
        for start in range(rows.start, rows.stop, self.group):
            yield slice(start, min(start + self.group, rows.stop)), spans


class _System(NamedTuple):
    """A part of the states in real planes [re | im]: x_t = λ x_{t-1} + u_t drive, y_t = x_t read."""

    eigenvalues: Tensor  # (2n,)
    drive: Tensor  # (m, 2n)
    read: Tensor  # (2n, p)
    checkpoints: Tensor  # (chunks + 1, batch, 2n): the state before each span of time, and the last

    @classmethod
    def cut(cls, eigenvalues, B, C, state, part, chunks):
        before = _planes(state[:, part])
        checkpoints = before.new_empty(chunks + 1, *before.shape)
        checkpoints[0] = before
        return cls(_planes(eigenvalues[part]), _planes(B[part].mT), _planes(C.conj()[:, part]).mT, checkpoints)


def _forward(plan, rows, inputs, system, outputs):
    (tile,) = _tiles(1, plan, system)
    for group, spans in plan.tiles(rows, inputs.shape[1]):
        for k, span in enumerate(spans):
            states = _states(plan, inputs[group, span], system, k, group, tile)
            _multiply(states, system.read, _rows(outputs[group, span]))


def _backward(plan, rows, inputs, system, d_outputs, adjoint, d_inputs):
    """Fill `d_inputs`, turn `adjoint` from the last state's into the first one's, return the parameters' gradients."""
    tile, twin = _tiles(2, plan, system)
    d_eigenvalues, d_drive = torch.zeros_like(system.eigenvalues), torch.zeros_like(system.drive)
    d_read = torch.zeros_like(system.read.mT)
    for group, spans in plan.tiles(rows, inputs.shape[1]):
        for k, span in reversed(list(enumerate(spans))):
            states = _states(plan, inputs[group, span], system, k, group, tile)
            d_out = _rows(d_outputs[group, span])
            d_read.addmm_(d_out.mT, states)
            adjoints = torch.mm(d_out, system.read.mT, out=twin[: d_out.shape[0]])
            before = system.checkpoints[k, group]
            _retreat(
                *_arrays(_tall(adjoints, before), _tall(states, before), system.eigenvalues, before, adjoint[group]),
                d_eigenvalues.numpy(),
                plan.reverse,
            )
            d_drive.addmm_(_rows(inputs[group, span]).mT, adjoints)
            if d_inputs is not None:
                _multiply(adjoints, system.drive.mT, _rows(d_inputs[group, span]))
    return d_eigenvalues, d_drive, d_read


def _tiles(count: int, plan: _Plan, system: _System) -> Tensor:
    """Return scratch of the calling thread, which keeps it: fresh memory costs a page fault every 4 kB."""
    shape = (count, plan.group * plan.chunk, system.drive.shape[1])
    held = vars(_scratch).get(str(system.drive.dtype))
    if held is None or held.numel() < prod(shape):
        with torch.inference_mode(False):  # usable in any mode afterwards
            held = system.drive.new_empty(prod(shape))
        setattr(_scratch, str(system.drive.dtype), held)
    return held[: prod(shape)].view(shape)


def _multiply(tall: Tensor, matrix: Tensor, out: Tensor) -> None:
    """Put the product into `out`; MKL makes one with few columns two to four times faster as a transposed one."""
    if 1 < matrix.shape[1] < _FEW_COLUMNS:
        out.copy_(torch.mm(matrix.mT, tall.mT).mT)
    else:
        torch.mm(tall, matrix, out=out)


def _states(plan, inputs, system, k, group, tile):
    """Compute the states of one tile, (rows, 2n), and leave the last of them in the next checkpoint."""
    inputs = _rows(inputs)
    states = torch.mm(inputs, system.drive, out=tile[: inputs.shape[0]])
    before, after = system.checkpoints[k, group], system.checkpoints[k + 1, group]
    _advance(*_arrays(_tall(states, before), system.eigenvalues, before, after), plan.reverse)
    return states


@_kernel
def _advance(states, eigenvalues, before, after, reverse):
    sequences, length, width = states.shape
    n = width // 2
    re, im = eigenvalues[:n], eigenvalues[n:]
    for b in range(sequences):
        after[b] = before[b]
        x_re, x_im = after[b, :n], after[b, n:]
        for step in range(length):
            t = length - 1 - step if reverse else step
            row_re, row_im = states[b, t, :n], states[b, t, n:]
            for j in range(n):
                next_re = re[j] * x_re[j] - im[j] * x_im[j] + row_re[j]
                next_im = re[j] * x_im[j] + im[j] * x_re[j] + row_im[j]
                x_re[j], x_im[j] = next_re, next_im
                row_re[j], row_im[j] = next_re, next_im


@_kernel
def _retreat(adjoints, states, eigenvalues, before, carry, d_eigenvalues, reverse):
    r"""Run the adjoint $a_t = C^H g_t + \bar λ a_{t+1}$ backwards in place, and add up $\bar x_{t-1} a_t$."""
    sequences, length, width = states.shape
    n = width // 2
    re, im = eigenvalues[:n], eigenvalues[n:]
    d_re, d_im = d_eigenvalues[:n], d_eigenvalues[n:]
    for b in range(sequences):
        carry_re, carry_im = carry[b, :n], carry[b, n:]
        for step in range(length - 1, -1, -1):
            t = length - 1 - step if reverse else step
            previous = before[b] if step == 0 else states[b, t + 1 if reverse else t - 1]
            x_re, x_im = previous[:n], previous[n:]
            row_re, row_im = adjoints[b, t, :n], adjoints[b, t, n:]
            for j in range(n):
                a_re, a_im = row_re[j] + carry_re[j], row_im[j] + carry_im[j]
                row_re[j], row_im[j] = a_re, a_im
                carry_re[j] = re[j] * a_re + im[j] * a_im
                carry_im[j] = re[j] * a_im - im[j] * a_re
                d_re[j] += x_re[j] * a_re + x_im[j] * a_im
                d_im[j] += x_re[j] * a_im - x_im[j] * a_re


def _share_out(work: Callable, plan: _Plan) -> list[list]:
    """Do `work(part, rows)` for every part and share, on all threads; return the results by part, in a fixed order."""
    tasks = [(k, rows) for k in range(len(plan.parts)) for rows in plan.shares]
    results = on_threads(work, tasks, plan.threads)
    return [results[k : k + len(plan.shares)] for k in range(0, len(results), len(plan.shares))]


def _cut(size: int, pieces: int) -> list[slice]:
    ends = [size * k // pieces for k in range(pieces + 1)]
    return [slice(a, b) for a, b in pairwise(ends)]


def _planes(z: Tensor) -> Tensor:
    return torch.cat([z.real, z.imag], -1)


def _complex(planes: Tensor) -> Tensor:
    return torch.complex(*planes.chunk(2, -1))


def _rows(tile: Tensor) -> Tensor:
    return tile.view(-1, tile.shape[-1])


def _tall(rows: Tensor, before: Tensor) -> Tensor:
    return rows.view(before.shape[0], -1, rows.shape[-1])


def _arrays(*tensors: Tensor) -> list:
    return [tensor.numpy() for tensor in tensors]


def _sum(parts: Iterable[Any]) -> Tensor:
    return reduce(torch.add, parts)
