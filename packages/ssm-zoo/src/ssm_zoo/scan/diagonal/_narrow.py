"""Both passes of the scan of a narrow layer: whole sequences at a time in one kernel, no matrix library in between."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from torch.nn.functional import pad

from ..lengths import counts
from ..simd import LINE_BYTES
from ..threads import on_threads
from ._narrow_kernels import backward, forward
from ._tiles import Plan

if TYPE_CHECKING:
    from torch import Tensor

_WIDEST = 16  # inputs and outputs; from some 32 on, a matrix library makes better products
_CHUNK_BYTES = 1 << 14  # of states; as many adjoints beside it, they stay in a level-1 cache
_STEPS = 12, 48  # of a chunk, least and most: multiples of the six rows that products are made of


def is_narrow(m: int, p: int) -> bool:
    """Say whether a layer of m inputs and p outputs is one for this file."""
    return m <= _WIDEST and p <= _WIDEST


def scan_forwards(inputs, eigenvalues, B, C, D, state, reverse, lengths):
    """Return outputs, last state and the states before every chunk."""
    call = _Call.of(inputs, eigenvalues, B, C, D, reverse, lengths)
    checkpoints = inputs.new_empty(len(inputs), call.chunks + 1, call.row)
    checkpoints[:, 0] = _planes(state, call.row)
    make = inputs.new_empty if lengths is None else inputs.new_zeros
    outputs = make(*inputs.shape[:2], C.shape[0])
    arrays = _flat(call.inputs), _flat(outputs), _flat(checkpoints), *call.rest

    def work(_, rows):
        forward(rows.start, rows.stop, *arrays)

    call.share_out(work)
    return outputs, _complex(checkpoints[:, -1], len(eigenvalues)), checkpoints.view(-1)


def scan_backwards(d_outputs, d_last, inputs, eigenvalues, B, C, D, checkpoints, reverse, lengths, needs_inputs):
    """Return the gradients of inputs, eigenvalues, B, C, D and state; empty where there is none."""
    call = _Call.of(inputs, eigenvalues, B, C, D, reverse, lengths)
    n, (p, m) = len(eigenvalues), (C.shape[0], B.shape[1])
    make = inputs.new_empty if lengths is None else inputs.new_zeros
    d_inputs = make(inputs.shape if needs_inputs else 0)
    adjoint = _planes(d_last, call.row)
    d_D_size = 0 if D is None else -(-call.chunk * p // call.lanes) * call.lanes
    sums = [inputs.new_zeros(len(call.plan.shares), size) for size in (call.row, m * call.row, p * call.row, d_D_size)]
    arrays = [_flat(tensor) for tensor in (call.inputs, d_outputs.contiguous(), d_inputs, checkpoints, adjoint)]

    def work(k, rows):
        gradients = tuple(tensor[k].numpy() for tensor in sums)
        backward(rows.start, rows.stop, *arrays, gradients, *call.rest)

    call.share_out(work)
    d_eigenvalues, d_drive, d_read, d_D = (tensor.sum(0) for tensor in sums)
    d_B = _complex(d_drive.view(m, -1), n).mT.contiguous()
    d_C = _complex(d_read.view(p, -1), n).conj().resolve_conj()
    d_D = d_D if D is None else d_D[: call.chunk * p].view(-1, p).sum(0)
    return d_inputs, _complex(d_eigenvalues, n), d_B, d_C, d_D, _complex(adjoint, n)


def checkpoint_size(inputs: Tensor, eigenvalues: Tensor) -> int:
    """Return how many numbers the checkpoints are, whatever the number of threads."""
    row, chunk = _sizes(inputs, eigenvalues.shape[0])
    return inputs.shape[0] * (-(-inputs.shape[1] // chunk) + 1) * row


class _Call(NamedTuple):
    """What both passes have in common."""

    plan: Plan
    inputs: Tensor
    lanes: int
    row: int
    chunk: int
    chunks: int
    rest: tuple[Any, ...]
    """System, steps, sizes and direction, as the kernels take them."""

    @classmethod
    def of(cls, inputs, eigenvalues, B, C, D, reverse, lengths):
        (_, length, m), p = inputs.shape, C.shape[0]
        plan = Plan.of(inputs, len(eigenvalues), p, reverse, whole=True)
        lanes, (row, chunk) = LINE_BYTES // inputs.element_size(), _sizes(inputs, len(eigenvalues))
        drive, read = _planes(B.mT, row), _planes(C.conj().resolve_conj(), row)  # (m, row), (p, row)
        drive_back, read_forth = _columns(drive, lanes), _columns(read, lanes)
        D = inputs.new_empty(0) if D is None else D.repeat(chunk + lanes)
        system = tuple(_flat(t) for t in (_planes(eigenvalues, row), drive, drive_back, read_forth, read, D))
        steps = counts(inputs, lengths).numpy()
        sizes = length, chunk, m, p, row, drive_back.shape[1], read_forth.shape[1]
        return cls(plan, inputs.contiguous(), lanes, row, chunk, -(-length // chunk), (system, steps, sizes, reverse))

    def share_out(self, work: Any) -> None:
        """Do `work(k, rows)` for all shares of the batch on all threads."""
        on_threads(work, list(enumerate(self.plan.shares)), self.plan.threads)


def _sizes(inputs: Tensor, n: int) -> tuple[int, int]:
    """Return the numbers in a row of states, and the steps of a chunk."""
    lanes = LINE_BYTES // inputs.element_size()
    row = 2 * lanes * -(-n // lanes)
    least, most = _STEPS
    fit = _CHUNK_BYTES // (row * inputs.element_size())
    return row, max(least, min(most, fit - fit % least))


def _planes(z: Tensor, row: int) -> Tensor:
    return pad(torch.stack([z.real, z.imag], -2), (0, row // 2 - z.shape[-1])).flatten(-2)


def _complex(planes: Tensor, n: int) -> Tensor:
    return torch.complex(*planes.unflatten(-1, (2, -1))[..., :n].unbind(-2))


def _columns(matrix: Tensor, lanes: int) -> Tensor:
    """Return the transpose, in whole lines."""
    return pad(matrix.mT, (0, -matrix.shape[0] % lanes)).contiguous()


def _flat(tensor: Tensor) -> np.ndarray:
    return tensor.detach().reshape(-1).numpy()
