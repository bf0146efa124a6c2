"""The whole of Mamba on CPU cores, tile after tile of time: what lies between the linear maps never leaves the cache.

Products are Torch's, on the thread that does a sequence; filter and scan are the kernels of `scan`. All that is kept
for the backward pass is where filters and scans start from; it computes the rest again.
"""

from __future__ import annotations

from math import ceil
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from ..scan.depthwise._kernels import backward as filter_backward
from ..scan.depthwise._kernels import forward as filter_forward
from ..scan.elementary import LOG2_E
from ..scan.rows import Rows, padded
from ..scan.selective._backward import backward as scan_backward
from ..scan.selective._forward import CHUNK
from ..scan.selective._forward import forward as scan_forward

if TYPE_CHECKING:
    from collections.abc import Iterator

STEPS = 8 * CHUNK  # of a tile: products large enough, and the tile of one thread within its share of the last cache


class Weights(NamedTuple):
    """The parameters as products take them; `None` for a bias that there is not."""

    W_in: Tensor  # (2 d, d_model)
    b_in: Tensor | None
    W_conv: Tensor  # (d, 1, k)
    b_conv: Tensor | None
    W_x: Tensor  # (R + 2 n, d)
    W_dt: Tensor  # (d, R)
    b_dt: Tensor
    A: Tensor  # (d, n)
    D: Tensor
    W_out: Tensor  # (d_model, d)
    b_out: Tensor | None


class Kernels(NamedTuple):
    """The parameters as kernels take them: flat, in whole lines."""

    conv: tuple[Any, Any]
    scan: tuple[Any, Any, Any]

    @classmethod
    def of(cls, w: Weights) -> Kernels:
        """Pad and transpose the small ones."""
        bias = w.D.new_zeros(w.D.shape) if w.b_conv is None else w.b_conv
        conv = flat(padded(w.W_conv.squeeze(1).mT)), flat(padded(bias))
        return cls(conv, (flat(padded(w.A.mT * LOG2_E)), flat(padded(w.D)), flat(padded(w.b_dt))))


class Tile:
    """Memory of one thread for a tile, and what is done with it.

    Parameters
    ----------
    w
        The parameters.
    kernels
        The same, for kernels.
    """

    def __init__(self, w: Weights, kernels: Kernels) -> None:
        self.w, self.kernels = w, kernels
        (d, n), rank, new = w.A.shape, w.W_dt.shape[1], w.D.new_empty
        self.mixed, self.u, self.dt, self.y = (new(STEPS, k * d) for k in (2, 1, 1, 1))
        self.chosen = new(STEPS, rank + 2 * n)
        u, z = self.mixed.split(d, 1)
        self.low, B, C = self.chosen.split([rank, n, n], 1)
        self.of_filter, self.of_y = (rows(u), rows(self.u)), rows(self.y)
        self.of_scan = [rows(part) for part in (self.u, self.dt, z, B, C)]
        self.everything, self.d = ((0, 1), (0, d)), d

    def prepare(self, x: Tensor, before: Any, after: Any) -> tuple:
        """Compute all that the scan takes; return the first arguments of kernels."""
        steps, w = len(x), self.w
        first = *self.everything, np.array([steps])
        product(x, w.W_in.mT, self.mixed[:steps], w.b_in)
        mixed, u = self.of_filter
        filter_forward(*first, mixed, *self.kernels.conv, before, u, after, self.d, True)
        torch.mm(self.u[:steps], w.W_x.mT, out=self.chosen[:steps])
        torch.mm(self.low[:steps], w.W_dt.mT, out=self.dt[:steps])
        return first

    def forward(self, x: Tensor, out: Tensor, window: Tensor, state: Tensor, checkpoints: Tensor) -> None:
        """Compute the outputs; window and state move on."""
        first, edge = self.prepare(x, flat(window), flat(window)), flat(state)
        ends = edge, self.of_y, flat(checkpoints), _NOTHING, True, True
        scan_forward(*first, *self.of_scan, *self.kernels.scan, *ends)
        product(self.y[: len(x)], self.w.W_out.mT, out, self.w.b_out)


class Gradients(Tile):
    """A tile, and the gradients of one thread, which grow while it goes through its sequences."""

    def __init__(self, w: Weights, kernels: Kernels) -> None:
        super().__init__(w, kernels)
        zeros = (None if p is None else torch.zeros_like(p, memory_format=torch.contiguous_format) for p in w)
        self.of: Weights = Weights._make(zeros)
        (d, n), new = w.A.shape, w.D.new_empty
        self.d_mixed, self.d_u, self.d_dt, self.d_y = (new(STEPS, k * d) for k in (2, 1, 1, 1))
        self.d_B, self.d_C, self.d_chosen = new(STEPS, n), new(STEPS, n), torch.empty_like(self.chosen)
        self.after = np.empty((w.W_conv.shape[2] - 1) * d, kernels.scan[0].dtype)
        self.d_conv, self.d_scan = ([np.zeros_like(part) for part in group] for group in kernels)
        d_in, d_z = self.d_mixed.split(d, 1)
        self.of_d_filter = rows(self.d_u), rows(d_in)
        self.of_d_scan = [rows(part) for part in (self.d_y, self.d_u, self.d_dt, d_z)]

    def backward(self, x: Tensor, d_out: Tensor, d_x: Tensor, start: tuple, adjoint: tuple) -> None:
        """Put the gradient of x into `d_x`; `adjoint`, of window and state, moves from the end to the start."""
        steps, w, grad = len(x), self.w, self.of
        window, checkpoints = map(flat, start)
        d_window, d_state = map(flat, adjoint)
        first = self.prepare(x, window, self.after)
        d_y, d_u, d_dt, d_chosen = (part[:steps] for part in (self.d_y, self.d_u, self.d_dt, self.d_chosen))
        torch.mm(d_out, w.W_out, out=d_y)
        sums = flat(self.d_B), flat(self.d_C), *self.d_scan, d_state, self.of_y, _NOTHING, True, True
        scan_backward(*first, *self.of_scan, *self.kernels.scan, checkpoints, *self.of_d_scan, *sums)
        torch.cat([d_dt @ w.W_dt, self.d_B[:steps], self.d_C[:steps]], 1, out=d_chosen)
        d_u.addmm_(d_chosen, w.W_x)
        ends = *self.of_d_filter, *self.d_conv, d_window, self.d, True
        filter_backward(*first, self.of_filter[0], *self.kernels.conv, window, *ends)
        torch.mm(self.d_mixed[:steps], w.W_in, out=d_x)
        add_product(grad.W_out, grad.b_out, d_out, self.y[:steps])
        add_product(grad.W_dt, None, d_dt, self.low[:steps])
        add_product(grad.W_x, None, d_chosen, self.u[:steps])
        add_product(grad.W_in, grad.b_in, self.d_mixed[:steps], x)

    def finish(self) -> Weights:
        """Return the gradients, those of the kernels among them."""
        (d_W, d_b), (d_A, d_D, d_bias) = self.d_conv, self.d_scan
        w = self.of
        taps = w.W_conv.shape[2]
        w.W_conv.copy_(torch.from_numpy(d_W).view(taps, -1)[:, : self.d].mT[:, None])
        w.A.copy_(torch.from_numpy(d_A).view(w.A.shape[1], -1)[:, : self.d].mT)
        for into, part in ((w.b_conv, d_b), (w.D, d_D), (w.b_dt, d_bias)):
            if into is not None:
                into.copy_(torch.from_numpy(part)[: self.d])
        return w


_NOTHING = np.empty(0, np.float64)


def spans(length: int) -> Iterator[tuple[int, slice, slice]]:
    """Give the tiles of a sequence: number, steps, and chunks of the scan."""
    for k in range(ceil(length / STEPS)):
        end = min((k + 1) * STEPS, length)
        yield k, slice(k * STEPS, end), slice(k * STEPS // CHUNK, ceil(end / CHUNK))


def product(a: Tensor, b: Tensor, out: Tensor, bias: Tensor | None = None) -> None:
    """Put a b + bias into `out`."""
    if bias is None:
        torch.mm(a, b, out=out)
    else:
        torch.addmm(bias, a, b, out=out)


def add_product(weight: Tensor, bias: Tensor | None, d_out: Tensor, x: Tensor) -> None:
    """Add what a linear map from x hands on to the gradients of its weight and bias."""
    weight.addmm_(d_out.mT, x)
    if bias is not None:
        bias.add_(d_out.sum(0))


def flat(tensor: Tensor) -> Any:
    """Return the numbers of a contiguous tensor as kernels take them."""
    return tensor.detach().view(-1).numpy()


def rows(part: Tensor) -> Rows:
    """Return a part of a tile as kernels take it."""
    return Rows.of(part[None])
