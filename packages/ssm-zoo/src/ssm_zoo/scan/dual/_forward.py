"""One sequence of one group of heads through the scan, chunk after chunk in cache.

Glossary
--------
q           steps of a chunk, `CHUNK`; those of the last one may be fewer
s           log2 of the decay since the chunk's beginning, as a sum of two numbers, high and low
E           the fading matrix, 2**(s_i - s_j) where j <= i
G           C Bᵀ, what a step reads of an earlier one
M           G ⊙ E ⊙ dt_j, the scan inside the chunk: y = M x
H           state before the chunk, transposed (N, P): y += 2**s_i C H
at, of      where an array's numbers begin, and their strides (in numbers)
Wide sizes (`..._w`) are rounded up to whole lines.
"""

from __future__ import annotations

import math

import numpy as np

from ssm_zoo.scan.elementary import exp2
from ssm_zoo.scan.products import (
    BELOW,
    FULL,
    LOWER,
    START,
    UNIT,
    add_product,
    deliver,
    fetch,
    peek,
    scale,
    set_product,
    transpose,
)
from ssm_zoo.scan.simd import LINE_BYTES, fill, fma, kernel, load, store

CHUNK = np.int64(48)  # whole blocks of six rows, and whole lines; the matrices of a head fit a level-1 cache

_LOG2E = 1 / math.log(2)


@kernel
def wide(count, array):
    """Return a size rounded up to whole lines."""
    width = LINE_BYTES // array.itemsize
    return (count + width - 1) // width * width


@kernel
def triangle(like, last):
    """Return rows of a line that are one up to column `row + last`, and zero beyond."""
    width = LINE_BYTES // like.itemsize
    mask = np.zeros(width * width, like.dtype)
    for row in range(width):
        for column in range(min(width, row + last + 1)):
            mask[row * width + column] = 1
    return mask


@kernel
def decays(dt, at, step_of, A, rows, high, low, steps):
    """Fill in s and dt of one head and chunk; beyond `rows` steps the decay stops and dt is zero."""
    s = 0.0
    for t in range(CHUNK):
        steps[t] = 0
        if t < rows:
            steps[t] = peek(dt, at + t * step_of)
        s += np.float64(steps[t]) * A * _LOG2E
        high[t] = s
        low[t] = s - np.float64(high[t])


@kernel
def factors(high, low, steps, since, until):
    """Fill in 2**s_i, and 2**(s_q - s_j) without dt."""
    width = LINE_BYTES // high.itemsize
    end_high, end_low = fill(high[CHUNK - 1]), fill(low[CHUNK - 1])
    for j in range(0, CHUNK, width):
        store(since, j, exp2(load(high, j) + load(low, j)))
        store(until, j, exp2((end_high - load(high, j)) + (end_low - load(low, j))))


@kernel
def fading(high, low, i, j):
    """Return a line of E without its triangle."""
    return exp2((fill(high[i]) - load(high, j)) + (fill(low[i]) - load(low, j)))


@kernel
def _mix(G, high, low, steps, mask, M, rows):
    width = LINE_BYTES // M.itemsize
    for i in range(rows):
        for j in range(0, i + 1, width):
            E = fading(high, low, i, j)
            if j + width > i:
                E = E * load(mask, (i - j) * width)  # first of all: beyond the diagonal, E is as large as numbers get
            line = load(G, i * CHUNK + j) * E * load(steps, j)
            store(M, i * CHUNK + j, line)


@kernel
def rows_of(source, at, step_of, rows, count, out, out_w):
    """Copy the rows of a chunk; those beyond are zero."""
    for t in range(rows):
        fetch(out, t * out_w, source, at + t * step_of, count)
    out[rows * out_w : CHUNK * out_w] = 0


@kernel
def forward(
    heads, lengths, sizes, x, x_of, dt, dt_of, A, B, B_of, C, C_of, D, state, checkpoints, y, y_of, last, b, g, keep
):
    """Run heads `heads[0]` to `heads[1]` of sequence b, which are of group g; padding gets zero outputs."""
    P, N, n_heads = sizes
    length, padded = lengths
    P_w, N_w = wide(P, x), wide(N, x)
    mask = triangle(x, 0)
    B_c, C_c = np.empty(CHUNK * N_w, x.dtype), np.empty(CHUNK * N_w, x.dtype)
    B_t, G, M = np.zeros(N * CHUNK, x.dtype), np.zeros(CHUNK * CHUNK, x.dtype), np.zeros(CHUNK * CHUNK, x.dtype)
    X, Y = np.empty(CHUNK * P_w, x.dtype), np.empty(CHUNK * P_w, x.dtype)
    high, low, steps = np.empty(CHUNK, x.dtype), np.empty(CHUNK, x.dtype), np.empty(CHUNK, x.dtype)
    since, until = np.empty(CHUNK, x.dtype), np.empty(CHUNK, x.dtype)
    first, end = heads
    H = np.zeros((end - first) * N * P_w, x.dtype)
    for h in range(first, end):
        transpose(H, (h - first) * N * P_w, P_w, state, (b * n_heads + h) * P * N, N, P, N)
    chunks = (padded + CHUNK - 1) // CHUNK
    for c in range(chunks):
        t0 = c * CHUNK
        rows = max(0, min(CHUNK, length - t0))
        if rows > 0:
            rows_of(B, b * B_of[0] + t0 * B_of[1] + g * B_of[2], B_of[1], rows, N, B_c, N_w)
            rows_of(C, b * C_of[0] + t0 * C_of[1] + g * C_of[2], C_of[1], rows, N, C_c, N_w)
            transpose(B_t, START, CHUNK, B_c, START, N_w, CHUNK, N)
            set_product(G, START, CHUNK, C_c, START, N_w, UNIT, B_t, START, CHUNK, rows, CHUNK, N, BELOW)
        for h in range(first, end):
            before = (h - first) * N * P_w
            if keep:
                transpose(checkpoints, ((b * chunks + c) * n_heads + h) * P * N_w, N_w, H, before, P_w, N, P)
            if rows == 0:
                continue
            decays(dt, b * dt_of[0] + t0 * dt_of[1] + h * dt_of[2], dt_of[1], A[h], rows, high, low, steps)
            factors(high, low, steps, since, until)
            rows_of(x, b * x_of[0] + t0 * x_of[1] + h * x_of[2], x_of[1], rows, P, X, P_w)
            _mix(G, high, low, steps, mask, M, rows)
            set_product(Y, START, P_w, C_c, START, N_w, UNIT, H, before, P_w, rows, P_w, N, FULL)
            for t in range(rows):
                scale(Y, t * P_w, P_w, since[t])
            add_product(Y, START, P_w, M, START, CHUNK, UNIT, X, START, P_w, rows, P_w, rows, LOWER)
            for t in range(rows):
                _add_scaled(Y, t * P_w, X, t * P_w, D, h * P_w, P_w)
                deliver(y, b * y_of[0] + (t0 + t) * y_of[1] + h * y_of[2], Y, t * P_w, P)
                scale(X, t * P_w, P_w, until[t] * steps[t])
            for n in range(N):
                scale(H, before + n * P_w, P_w, since[CHUNK - 1])
            add_product(H, before, P_w, B_c, START, UNIT, N_w, X, START, P_w, N, P_w, rows, FULL)
    for h in range(first, end):
        transpose(last, (b * n_heads + h) * P * N, N, H, (h - first) * N * P_w, P_w, N, P)


@kernel
def _add_scaled(out, o, a, a0, factors, f, columns):
    for k in range(0, columns, LINE_BYTES // out.itemsize):
        store(out, o + k, fma(load(a, a0 + k), load(factors, f + k), load(out, o + k)))
