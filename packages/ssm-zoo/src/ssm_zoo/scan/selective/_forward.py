r"""The loops of the fused selective scan, forwards; `_backward.py` runs them again.

A chunk of time after the other, in it a line of channels after the other, in that a state after the other: what a state
needs for the steps of a chunk stays in the fastest cache, the state itself in registers. u, dt, z, B, C and y are
`Rows`. A is (n, width), times log2(e); D and the bias of dt are (width,), states (batch, n, width) and checkpoints
(batch, chunks, n, width), where the width is the number of channels in whole lines. All are flat.
"""

from __future__ import annotations

import numpy as np

from ssm_zoo.scan.elementary import exp2, sigmoid, softplus
from ssm_zoo.scan.simd import LINE_BYTES, fill, fma, inlined, kernel, load, number, read, store, total, write

CHUNK = 32  # steps between checkpoints, which take that much less memory than all states


@kernel
def forward(
    sequences,
    channels,
    lengths,
    u_rows,
    dt_rows,
    z_rows,
    B_rows,
    C_rows,
    A,
    D,
    bias,
    state,
    y_rows,
    checkpoints,
    moment,
    positive,
    gated,
):
    """Scan the sequences and the channels of two spans; `state` turns from the first into the last.

    `positive` puts softplus on dt, `gated` multiplies by silu(z). No checkpoints are kept, and no moment is summed,
    where these are empty.
    """
    (u, u_sequence, u_row), (dt, dt_sequence, dt_row), (z, z_sequence, z_row) = u_rows, dt_rows, z_rows
    y, y_sequence, y_row = y_rows
    width, lanes = D.size, LINE_BYTES // A.itemsize
    n = A.size // width
    chunks = checkpoints.size // max(1, state.size)
    rates, drives, sums = (
        np.empty(CHUNK * lanes, A.dtype),
        np.empty(CHUNK * lanes, A.dtype),
        np.empty(CHUNK * lanes, A.dtype),
    )
    B, C = np.empty(n * CHUNK, A.dtype), np.empty(n * CHUNK, A.dtype)
    gather = moment.size > 0
    states = np.empty(n * CHUNK * lanes if gather else 0, A.dtype)
    for b in range(sequences[0], sequences[1]):
        for begin in range(0, lengths[b], CHUNK):
            steps = min(CHUNK, lengths[b] - begin)
            columns(B, B_rows, b, begin, steps, n)
            columns(C, C_rows, b, begin, steps, n)
            for c in range(channels[0], channels[1], lanes):
                count = min(lanes, channels[1] - c)
                i, j = b * u_sequence + begin * u_row + c, b * dt_sequence + begin * dt_row + c
                for t in range(steps):
                    rate = rate_of(read(dt, j + t * dt_row, count) + load(bias, c), positive)
                    store(rates, t * lanes, rate)
                    x = read(u, i + t * u_row, count)
                    store(drives, t * lanes, rate * x)
                    store(sums, t * lanes, load(D, c) * x)
                for k in range(n):
                    j = (b * n + k) * width + c
                    h, a = load(state, j), load(A, k * width + c)
                    if checkpoints.size:
                        store(checkpoints, ((b * chunks + begin // CHUNK) * n + k) * width + c, h)
                    if gather:
                        h = _remember(h, a, rates, drives, sums, B, C, states, k * CHUNK, steps)
                    else:
                        h = _advance(h, a, rates, drives, sums, B, C, k * CHUNK, steps)
                    store(state, j, h)
                i, j = b * y_sequence + begin * y_row + c, b * z_sequence + begin * z_row + c
                for t in range(steps):
                    out = load(sums, t * lanes)
                    if gated:
                        gate = read(z, j + t * z_row, count)
                        out = out * (gate * sigmoid(gate))
                    write(y, i + t * y_row, count, out)
                if gather:
                    add_squares(moment, states, n, steps)


@inlined
def _advance(h, a, rates, drives, sums, B, C, k, steps):
    """Move a state on through a chunk, add what is read from it to the sums, and return it."""
    lanes = LINE_BYTES // rates.itemsize
    for t in range(steps):
        h = fma(exp2(load(rates, t * lanes) * a), h, load(drives, t * lanes) * fill(B[k + t]))
        store(sums, t * lanes, fma(h, fill(C[k + t]), load(sums, t * lanes)))
    return h


@inlined
def _remember(h, a, rates, drives, sums, B, C, states, k, steps):
    """Do what `_advance` does, and keep the state of every step."""
    lanes = LINE_BYTES // rates.itemsize
    for t in range(steps):
        h = fma(exp2(load(rates, t * lanes) * a), h, load(drives, t * lanes) * fill(B[k + t]))
        store(sums, t * lanes, fma(h, fill(C[k + t]), load(sums, t * lanes)))
        store(states, (k + t) * lanes, h)
    return h


@inlined
def rate_of(raw, positive):
    """Return dt."""
    return softplus(raw) if positive else raw


@kernel
def columns(into, rows, b, begin, steps, n):
    """Copy B or C of a chunk, so that the steps of one state lie side by side."""
    flat, sequence, row = rows
    for t in range(steps):
        i = b * sequence + (begin + t) * row
        for k in range(n):
            into[k * CHUNK + t] = flat[i + k]


@kernel
def add_squares(moment, states, n, steps):
    """Add the sum of h hᵀ over a line of channels and the steps of a chunk; `states` is (n, CHUNK, line)."""
    lanes = LINE_BYTES // states.itemsize
    for k in range(n):
        for l in range(k + 1):
            product = number(load(states, 0), 0.0)
            for t in range(steps):
                i = t * lanes
                product = fma(load(states, k * CHUNK * lanes + i), load(states, l * CHUNK * lanes + i), product)
            value = total(product)
            moment[k * n + l] += value
            if l < k:
                moment[l * n + k] += value
