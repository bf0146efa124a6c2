"""The scan on CPU cores: every head of a chunk in cache, with products of our own; README.md tells the tricks."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ssm_zoo.scan.rows import padded
from ssm_zoo.scan.simd import LINE_BYTES
from ssm_zoo.scan.threads import on_threads, scan_threads

from ._backward import backward
from ._forward import CHUNK as _CHUNK
from ._forward import forward
from .moments import adjoint_moment, state_moment

if TYPE_CHECKING:
    from collections.abc import Callable

CHUNK = int(_CHUNK)
_WORTH_A_THREAD = 1 << 22  # multiply-adds; below it, waking a thread costs more than it saves


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
    """Scan forwards; keep the states between the chunks if there will be gradients or moments."""
    differentiated = [t for t in (x, dt, A, B, C, D, state, tap) if t is not None and t.requires_grad]
    keep = tap is not None or (torch.is_grad_enabled() and bool(differentiated))
    y, last, _, moment = _ssd(x, dt, A, B, C, D, state, lengths, tap, keep)
    return (y, last) if tap is None else (y, last, moment)


@torch.library.custom_op("ssm_zoo::ssd_numba", mutates_args=())
def _ssd(
    x: Tensor,
    dt: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor | None,
    state: Tensor,
    lengths: Tensor | None,
    tap: Tensor | None,
    keep: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return outputs, last state, the states before the chunks (P, N filled up to lines), and their moment."""
    (batch, length, h, P), (g, N) = x.shape, B.shape[2:]
    x, dt, B, C, state, D_w = _compact(x), _compact(dt), _compact(B), _compact(C), state.contiguous(), _filled(D, x)
    chunks, N_w, new = -(-length // CHUNK), _wide(N, x), x.new_empty if lengths is None else x.new_zeros
    y, last = new(x.shape), torch.empty_like(state)
    checkpoints = (x.new_zeros if N_w > N else x.new_empty)(batch, chunks, h, P, N_w) if keep else x.new_empty(0)
    ends = [length] * batch if lengths is None else lengths.tolist()
    arrays = (*_flat(x), *_flat(dt), A.contiguous().numpy(), *_flat(B), *_flat(C), _vector(D_w))
    results = (_vector(state), _vector(checkpoints), *_flat(y), _vector(last))

    def work(b: int, group: int, _: int, heads: tuple[int, int]) -> None:
        forward(heads, (ends[b], length), (P, N, h), *arrays, *results, b, group, keep)

    threads = _threads(x, N)
    _share_out(work, batch, _heads(batch, h, g, threads), threads)
    return y, last, checkpoints, _moment(state_moment, x, tap, ends, dt, A, B, x, dt, checkpoints[..., :N])


@_ssd.register_fake
def _(x, dt, A, B, C, D, state, lengths, tap, keep):
    (batch, length, h, P), (g, N) = x.shape, B.shape[2:]
    checkpoints = x.new_empty(batch, -(-length // CHUNK), h, P, _wide(N, x)) if keep else x.new_empty(0)
    moment = x.new_empty(0 if tap is None else g, N, N, dtype=torch.float64)
    return x.new_empty(x.shape), state.new_empty(state.shape), checkpoints, moment


@torch.library.custom_op("ssm_zoo::ssd_numba_backward", mutates_args=())
def _ssd_backward(
    dy: Tensor | None,
    d_last: Tensor | None,
    x: Tensor,
    dt: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor | None,
    lengths: Tensor | None,
    tap: Tensor | None,
    checkpoints: Tensor,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Return the gradients of x, dt, A, B, C, D, the first state and the tap."""
    (batch, length, h, P), (g, N) = x.shape, B.shape[2:]
    x, dt, B, C, D_w = _compact(x), _compact(dt), _compact(B), _compact(C), _filled(D, x)
    dy = torch.zeros_like(x) if dy is None else _compact(dy)
    d_state = x.new_zeros(batch, h, P, N) if d_last is None else d_last.clone(memory_format=torch.contiguous_format)
    new = x.new_empty if lengths is None else x.new_zeros
    threads = _threads(x, N)
    heads = _heads(batch, h, g, threads)
    parts = len(heads) // g
    dx, ddt, dB, dC = new(x.shape), new(dt.shape), new(parts, *B.shape), new(parts, *C.shape)
    dA, dD = A.new_zeros(batch, h, dtype=torch.float64), x.new_zeros(batch, *D_w.shape)
    kept = x.new_empty(batch, checkpoints.shape[1], h, P, N) if tap is not None else x.new_empty(0, 0, 0, 0, 0)
    ends = [length] * batch if lengths is None else lengths.tolist()
    arrays = (*_flat(x), *_flat(dt), A.contiguous().numpy(), *_flat(B), *_flat(C), _vector(D_w), _vector(checkpoints))
    results = [_vector(t) for t in (d_state, kept, dx, ddt, dA, dB, dC, dD)]

    def work(b: int, group: int, part: int, heads: tuple[int, int]) -> None:
        sizes = (ends[b], length), (P, N, h, batch, g)
        backward(heads, *sizes, *arrays, *_flat(dy), *results, b, group, part, tap is not None)

    _share_out(work, batch, heads, threads)
    moment = _moment(adjoint_moment, x, tap, ends, dt, A, C, dy, None, kept)
    dB, dC = (t.sum(0) if parts > 1 else t.squeeze(0) for t in (dB, dC))
    return dx, ddt, dA.sum(0).to(A), dB, dC, dD.sum(0)[:, :P].contiguous(), d_state, moment


@_ssd_backward.register_fake
def _(dy, d_last, x, dt, A, B, C, D, lengths, tap, checkpoints):
    (h, P), N = x.shape[2:], B.shape[3]
    shapes = (x.shape, dt.shape, A.shape, B.shape, C.shape, (h, P), (x.shape[0], h, P, N))
    moment = x.new_empty(0 if tap is None else B.shape[2], N, N, dtype=torch.float64)
    return *(x.new_empty(shape) for shape in shapes), moment


def _save(ctx, inputs, output):
    x, dt, A, B, C, D, _, lengths, tap, _ = inputs
    ctx.set_materialize_grads(False)
    ctx.mark_non_differentiable(*output[2:])
    ctx.save_for_backward(x, dt, A, B, C, D, lengths, tap, output[2])


def _differentiate(ctx, dy, d_last, *_):
    if dy is None and d_last is None:
        return (None,) * 10
    dx, ddt, dA, dB, dC, dD, d_state, d_tap = _ssd_backward(dy, d_last, *ctx.saved_tensors)
    has_D, has_tap = ctx.saved_tensors[5] is not None, ctx.saved_tensors[7] is not None
    return dx, ddt, dA, dB, dC, dD if has_D else None, d_state, None, d_tap if has_tap else None, None


_ssd.register_autograd(_differentiate, setup_context=_save)


def _heads(batch: int, h: int, g: int, threads: int) -> list[tuple[int, int, tuple[int, int]]]:
    """Return groups, parts of them, and the heads of each part; more parts than one if sequences are few."""
    parts = min(h // g, -(-threads // (batch * g)))
    ends = [h // g * k // parts for k in range(parts + 1)]
    return [(k, p, (h // g * k + a, h // g * k + z)) for k in range(g) for p, (a, z) in enumerate(pairwise(ends))]


def _threads(x: Tensor, N: int) -> int:
    return max(1, min(scan_threads(), x.numel() * (2 * N + CHUNK) // _WORTH_A_THREAD))


def _share_out(work: Callable[..., None], batch: int, heads: list, threads: int) -> None:
    on_threads(work, [(b, *part) for b in range(batch) for part in heads], threads)


def _moment(of, x, tap, ends, dt, A, B, values, steps, states):
    """Return the moment of the states of all sequences, in double precision, sequence by sequence."""
    g, N = B.shape[2:]
    moment = x.new_zeros(0 if tap is None else g, N, N, dtype=torch.float64)
    for b, end in enumerate(ends if tap is not None else ()):
        if end == 0:
            continue
        u = values[b, :end] if steps is None else values[b, :end] * steps[b, :end, :, None]
        s = _chunks((dt[b, :end] * A).double(), g).cumsum(-1)  # (g, r, c, q)
        w = _chunks(torch.ones_like(dt[b, :end, :1]), 1)
        moment += of(
            s, w, _chunks(u, g), _chunks(B[b, :end], g), states[b, : s.shape[2]].transpose(0, 1).unflatten(0, (g, -1))
        )
    return moment


def _chunks(t: Tensor, g: int) -> Tensor:
    """Return (length, heads, ...) as (g, heads of a group, chunks, q, ...), filled up with zeros."""
    t = torch.nn.functional.pad(t, (0, 0) * (t.ndim - 1) + (0, -t.shape[0] % CHUNK))
    return t.unflatten(1, (g, -1)).unflatten(0, (-1, CHUNK)).movedim((2, 3), (0, 1))


def _flat(t: Tensor) -> tuple[Any, tuple[int, ...]]:
    """Return the memory that a tensor spans as a vector, and its strides: kernels then compile once for all layouts."""
    span = 1 + sum((size - 1) * stride for size, stride in zip(t.shape, t.stride(), strict=True))
    return t.as_strided((span,), (1,)).numpy(), t.stride()


def _vector(t: Tensor) -> Any:
    return t.view(-1).numpy()


def _compact(t: Tensor) -> Tensor:
    """Return the tensor, copied if its last axis is not contiguous."""
    return t if t.stride(-1) == 1 else t.contiguous()


def _filled(D: Tensor | None, x: Tensor) -> Tensor:
    """Return D in whole lines, zero if there is none."""
    return padded(x.new_zeros(x.shape[2:]) if D is None else D)


def _wide(count: int, t: Tensor) -> int:
    """Return a size rounded up to whole lines."""
    width = LINE_BYTES // t.element_size()
    return -(-count // width) * width
