r"""The loops of the fused selective scan, backwards: chunk after chunk from the end, each computed again first.

With $h_t = e^{dt A} h_{t-1} + dt\,B_t u_t$ the adjoint state is $a_t = C_t g_t + e^{dt_{t+1} A} a_{t+1}$; everything
else is a product of it. The layouts are those of `_forward.py`.
"""

from __future__ import annotations

import numpy as np

from ssm_zoo.scan.elementary import LOG2_E, exp2, sigmoid
from ssm_zoo.scan.selective._forward import CHUNK, add_squares, columns, rate_of
from ssm_zoo.scan.simd import LINE_BYTES, fill, fma, inlined, kernel, load, number, read, store, total, write


@kernel
def backward(
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
    checkpoints,
    d_y_rows,
    d_u_rows,
    d_dt_rows,
    d_z_rows,
    d_B,
    d_C,
    d_A,
    d_D,
    d_bias,
    d_state,
    y_rows,
    moment,
    positive,
    gated,
):
    """Fill the gradients of u, dt, z, B and C, add to those of A, D and bias; `d_state` turns from last into first.

    d_B and d_C are (batch, length, n), of these channels alone. The outputs come as a by-product if they are gated,
    where `y_rows` is not empty.
    """
    (u, u_sequence, u_row), (dt, dt_sequence, dt_row), (z, z_sequence, z_row) = u_rows, dt_rows, z_rows
    d_y, y_sequence, y_row = d_y_rows
    d_u, d_u_sequence, d_u_row = d_u_rows
    d_dt, d_dt_sequence, d_dt_row = d_dt_rows
    d_z, d_z_sequence, d_z_row = d_z_rows
    y, out_sequence, out_row = y_rows
    width, lanes = D.size, LINE_BYTES // A.itemsize
    n, size = A.size // width, CHUNK * lanes
    chunks, length = checkpoints.size // d_state.size, d_B.size // (d_state.size // A.size * n)
    rates, drives, sums, gs = (
        np.empty(size, A.dtype),
        np.empty(size, A.dtype),
        np.empty(size, A.dtype),
        np.empty(size, A.dtype),
    )
    d_rates, d_drives = np.empty(size, A.dtype), np.empty(size, A.dtype)
    decays, states = np.empty(size, A.dtype), np.empty(size + lanes, A.dtype)
    B, C = np.empty(n * CHUNK, A.dtype), np.empty(n * CHUNK, A.dtype)
    sum_B, sum_C = np.empty(n * CHUNK, A.dtype), np.empty(n * CHUNK, A.dtype)
    gather = moment.size > 0
    adjoints = np.empty(n * size if gather else 0, A.dtype)
    for b in range(sequences[0], sequences[1]):
        for chunk in range((lengths[b] + CHUNK - 1) // CHUNK - 1, -1, -1):
            begin = chunk * CHUNK
            steps = min(CHUNK, lengths[b] - begin)
            columns(B, B_rows, b, begin, steps, n)
            columns(C, C_rows, b, begin, steps, n)
            sum_B[:] = 0
            sum_C[:] = 0
            for c in range(channels[0], channels[1], lanes):
                count = min(lanes, channels[1] - c)
                at_u, at_dt = b * u_sequence + begin * u_row + c, b * dt_sequence + begin * dt_row + c
                at_y, at_z = b * y_sequence + begin * y_row + c, b * z_sequence + begin * z_row + c
                zero = number(load(D, c), 0.0)
                for t in range(steps):
                    i = t * lanes
                    rate = rate_of(read(dt, at_dt + t * dt_row, count) + load(bias, c), positive)
                    x, g = read(u, at_u + t * u_row, count), read(d_y, at_y + t * y_row, count)
                    if gated:
                        gate = read(z, at_z + t * z_row, count)
                        g = g * (gate * sigmoid(gate))
                    store(rates, i, rate)
                    store(drives, i, rate * x)
                    store(gs, i, g)
                    store(sums, i, load(D, c) * x)
                    store(d_rates, i, zero)
                    store(d_drives, i, zero)
                for k in range(n):
                    j, a = k * width + c, load(A, k * width + c)
                    h = load(checkpoints, (b * chunks + chunk) * n * width + j)
                    if gated:
                        _again_with_sums(h, a, rates, drives, sums, B, C, decays, states, k * CHUNK, steps)
                    else:
                        _again(h, a, rates, drives, B, decays, states, k * CHUNK, steps)
                    adjoint, slope = load(d_state, b * n * width + j), load(d_A, j)
                    chosen = B, C, sum_B, sum_C
                    if gather:
                        adjoint, slope = _retreat_and_remember(
                            adjoint,
                            slope,
                            a,
                            rates,
                            drives,
                            gs,
                            chosen,
                            decays,
                            states,
                            d_rates,
                            d_drives,
                            adjoints,
                            k * CHUNK,
                            steps,
                        )
                    else:
                        adjoint, slope = _retreat(
                            adjoint,
                            slope,
                            a,
                            rates,
                            drives,
                            gs,
                            chosen,
                            decays,
                            states,
                            d_rates,
                            d_drives,
                            k * CHUNK,
                            steps,
                        )
                    store(d_state, b * n * width + j, adjoint)
                    store(d_A, j, slope)
                if gather:
                    add_squares(moment, adjoints, n, steps)
                sum_D, sum_bias = load(d_D, c), load(d_bias, c)
                at_d_u, at_d_dt = b * d_u_sequence + begin * d_u_row + c, b * d_dt_sequence + begin * d_dt_row + c
                at_d_z = b * d_z_sequence + begin * d_z_row + c
                for t in range(steps):
                    i = t * lanes
                    x, g, d_drive = read(u, at_u + t * u_row, count), load(gs, i), load(d_drives, i)
                    sum_D = fma(g, x, sum_D)
                    write(d_u, at_d_u + t * d_u_row, count, fma(g, load(D, c), d_drive * load(rates, i)))
                    d_rate = fma(d_drive, x, load(d_rates, i) * number(x, 1 / LOG2_E))
                    if positive:
                        d_rate = d_rate * sigmoid(read(dt, at_dt + t * dt_row, count) + load(bias, c))
                    sum_bias = sum_bias + d_rate
                    write(d_dt, at_d_dt + t * d_dt_row, count, d_rate)
                    if gated:
                        gate = read(z, at_z + t * z_row, count)
                        s = sigmoid(gate)
                        if y.size:
                            write(y, b * out_sequence + (begin + t) * out_row + c, count, load(sums, i) * (gate * s))
                        slope = s * fma(gate, number(s, 1.0) - s, number(s, 1.0))
                        d_gate = read(d_y, at_y + t * y_row, count) * load(sums, i) * slope
                        write(d_z, at_d_z + t * d_z_row, count, d_gate)
                store(d_D, c, sum_D)
                store(d_bias, c, sum_bias)
            for t in range(steps):
                i = (b * length + begin + t) * n
                for k in range(n):
                    d_B[i + k], d_C[i + k] = sum_B[k * CHUNK + t], sum_C[k * CHUNK + t]


@inlined
def _again(h, a, rates, drives, B, decays, states, k, steps):
    """Write down the decays and states of a chunk, the one before it first."""
    lanes = LINE_BYTES // rates.itemsize
    store(states, 0, h)
    for t in range(steps):
        i = t * lanes
        decay = exp2(load(rates, i) * a)
        h = fma(decay, h, load(drives, i) * fill(B[k + t]))
        store(decays, i, decay)
        store(states, i + lanes, h)


@inlined
def _again_with_sums(h, a, rates, drives, sums, B, C, decays, states, k, steps):
    """Do what `_again` does, and what was read from the states too, for the gradient of the gate."""
    lanes = LINE_BYTES // rates.itemsize
    store(states, 0, h)
    for t in range(steps):
        i = t * lanes
        decay = exp2(load(rates, i) * a)
        h = fma(decay, h, load(drives, i) * fill(B[k + t]))
        store(decays, i, decay)
        store(states, i + lanes, h)
        store(sums, i, fma(h, fill(C[k + t]), load(sums, i)))


@inlined
def _retreat(adjoint, slope, a, rates, drives, gs, chosen, decays, states, d_rates, d_drives, k, steps):
    """Walk a chunk backwards, add to the sums, and return the adjoint state before it and the gradient of A."""
    B, C, sum_B, sum_C = chosen
    lanes = LINE_BYTES // rates.itemsize
    for t in range(steps - 1, -1, -1):
        i, q = t * lanes, k + t
        g = load(gs, i)
        adjoint = fma(g, fill(C[q]), adjoint)
        sum_C[q] += total(g * load(states, i + lanes))
        sum_B[q] += total(adjoint * load(drives, i))
        store(d_drives, i, fma(adjoint, fill(B[q]), load(d_drives, i)))
        adjoint = adjoint * load(decays, i)
        through = adjoint * load(states, i)
        slope = fma(through, load(rates, i), slope)
        store(d_rates, i, fma(through, a, load(d_rates, i)))
    return adjoint, slope


@inlined
def _retreat_and_remember(
    adjoint, slope, a, rates, drives, gs, chosen, decays, states, d_rates, d_drives, adjoints, k, steps
):
    """Do what `_retreat` does, and keep the adjoint state of every step."""
    lanes = LINE_BYTES // rates.itemsize
    here = adjoint
    for t in range(steps - 1, -1, -1):
        here = fma(load(gs, t * lanes), fill(chosen[1][k + t]), here)
        store(adjoints, (k + t) * lanes, here)
        here = here * load(decays, t * lanes)
    return _retreat(adjoint, slope, a, rates, drives, gs, chosen, decays, states, d_rates, d_drives, k, steps)
