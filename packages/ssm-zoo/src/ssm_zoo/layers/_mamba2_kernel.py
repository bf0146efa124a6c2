"""One step of Mamba-2 in one kernel, from the parameters as they lie in memory."""

from __future__ import annotations

import math

import numpy as np
from numba import carray, types

from ..scan.elementary import sigmoid, softplus
from ..scan.simd import LINE_BYTES, fill, fma, inlined, intrinsic, kernel, number, read, total, write

LANES = LINE_BYTES // 4


@intrinsic
def _pointer(typing, address):
    """Return an integer as a pointer: an address is handed over in a fifth of the time that an array takes."""

    def emit(context, builder, signature, args):
        return builder.inttoptr(args[0], context.get_value_type(types.voidptr))

    return types.voidptr(types.intp), emit


@inlined
def _floats(address, count):
    return carray(_pointer(address), (count,), np.float32)


@kernel
def step_at(batch, places, parameters, scratch, sizes, limits, options):
    """Do one step of every sequence.

    Parameters
    ----------
    batch
        Sequences.
    places
        Addresses of inputs, the convolution's windows and the scan's states before, outputs, and both after the step;
        the last two may be those before.
    parameters
        Addresses, in the order below; zero for a bias that there is not.
    scratch
        Memory for what lies between, as `scratch_of` says.
    sizes
        d_model, h, P, g, N, d_conv, and the rows of B and C in front of a mixing, N if there is none.
    limits
        Where Δ is kept, and eps of the norm.
    options
        Whether D is given for every channel, whether there is a norm, and whether it is before the gate.
    """
    d_model, h, P, g, N, taps, rows = sizes
    inner, channels = h * P, h * P + 2 * g * rows
    wide = inner + channels + h
    W_in, b_in = _floats(parameters[0], wide * d_model), parameters[1]
    W_out, b_out = _floats(parameters[2], d_model * inner), parameters[3]
    filters, b_conv = _floats(parameters[4], channels * taps), parameters[5]
    dt_bias, A_log = _floats(parameters[6], h), _floats(parameters[7], h)
    D, weight = _floats(parameters[8], inner if options[0] else h), _floats(parameters[9], inner)
    mixed, xBC, y, BC, first = scratch[0], scratch[1], scratch[2], scratch[1], inner
    if parameters[10] != 0:
        BC, first = scratch[3], 0
    for b in range(batch):
        x_t = _floats(places[0] + 4 * b * d_model, d_model)
        before = _floats(places[1] + 4 * b * channels * (taps - 1), channels * (taps - 1))
        H = _floats(places[2] + 4 * b * inner * N, inner * N)
        out = _floats(places[3] + 4 * b * d_model, d_model)
        after = _floats(places[4] + 4 * b * channels * (taps - 1), channels * (taps - 1))
        new = _floats(places[5] + 4 * b * inner * N, inner * N)
        _map(W_in, b_in, x_t, mixed, wide, d_model)
        _filter(mixed, inner, filters, b_conv, before, after, xBC, channels, taps)
        if parameters[10] != 0:
            for k in range(g):
                _mix(parameters[10] + 4 * k * N * rows, xBC, inner + k * rows, BC, k * N, N, rows)
                _mix(parameters[11] + 4 * k * N * rows, xBC, inner + (g + k) * rows, BC, (g + k) * N, N, rows)
        for k in range(h):
            lowest = softplus(fill(mixed[inner + channels + k] + dt_bias[k]))
            step = min(max(total(lowest) / LANES, limits[0]), limits[1])
            group = first + k // (h // g) * N
            decay = np.float32(math.exp(-step * math.exp(A_log[k])))
            for p in range(k * P, (k + 1) * P):
                feed = D[p if options[0] else k] * xBC[p]
                drive = np.float32(step * xBC[p])
                y[p] = feed + _advance(H, new, p * N, BC, group, group + g * N, N, decay, drive)
        _gate(y, mixed, weight, inner, g, limits[2], options[1], options[2])
        _map(W_out, b_out, y, out, d_model, inner)


@kernel
def _map(W, bias, x, out, rows, columns):
    """Set out to W x + bias, four rows at a time."""
    row = 0
    while row + 4 <= rows:
        at = row * columns
        a = b = c = d = number(read(x, 0, 1), 0.0)
        for k in range(0, columns, LANES):
            count = min(LANES, columns - k)
            part = read(x, k, count)
            a = fma(read(W, at + k, count), part, a)
            b = fma(read(W, at + columns + k, count), part, b)
            c = fma(read(W, at + 2 * columns + k, count), part, c)
            d = fma(read(W, at + 3 * columns + k, count), part, d)
        out[row], out[row + 1], out[row + 2], out[row + 3] = total(a), total(b), total(c), total(d)
        row += 4
    while row < rows:
        a = number(read(x, 0, 1), 0.0)
        for k in range(0, columns, LANES):
            count = min(LANES, columns - k)
            a = fma(read(W, row * columns + k, count), read(x, k, count), a)
        out[row] = total(a)
        row += 1
    if bias != 0:
        added = _floats(bias, rows)
        for row in range(rows):
            out[row] += added[row]


@kernel
def _mix(address, xBC, at, out, to, N, rows):
    """Set N numbers of out to what the matrix at the address makes of those rows of B or C."""
    W = _floats(address, N * rows)
    for i in range(N):
        a = number(read(xBC, 0, 1), 0.0)
        for k in range(0, rows, LANES):
            a = fma(read(W, i * rows + k, rows - k), read(xBC, at + k, rows - k), a)
        out[to + i] = total(a)


@kernel
def _filter(mixed, first, filters, bias, before, after, xBC, channels, taps):
    """Filter the new inputs of the convolution and move its window on."""
    history = taps - 1
    for c in range(channels):
        new = mixed[first + c]
        v = filters[c * taps + history] * new
        for k in range(history):
            v += filters[c * taps + k] * before[c * history + k]
        xBC[c] = v
        for k in range(history - 1):
            after[c * history + k] = before[c * history + k + 1]
        if history > 0:
            after[c * history + history - 1] = new
    if bias != 0:
        added = _floats(bias, channels)
        for c in range(channels):
            xBC[c] += added[c]
    for c in range(0, channels, LANES):
        v = read(xBC, c, channels - c)
        write(xBC, c, channels - c, v * sigmoid(v))


@inlined
def _advance(H, new, at, BC, B, C, N, decay, drive):
    """Move one row of the state on, and return what is read from it."""
    found = number(read(H, at, 1), 0.0)
    for n in range(0, N, LANES):
        row = fma(read(H, at + n, N - n), fill(decay), fill(drive) * read(BC, B + n, N - n))
        write(new, at + n, N - n, row)
        found = fma(row, read(BC, C + n, N - n), found)
    return total(found)


@kernel
def _gate(y, z, weight, inner, g, eps, norm, norm_first):
    """Gate y with z, its first numbers, and normalise it."""
    d = inner // g
    for i in range(0, inner, d):
        squares = number(read(y, 0, 1), 0.0)
        for k in range(i, i + d, LANES):
            v = read(y, k, i + d - k)
            if not norm_first:
                gate = read(z, k, i + d - k)
                v = v * gate * sigmoid(gate)
                write(y, k, i + d - k, v)
            squares = fma(v, v, squares)
        scale = np.float32(1 / math.sqrt(total(squares) / d + eps))
        for k in range(i, i + d, LANES):
            v = read(y, k, i + d - k)
            if norm:
                v = v * fill(scale) * read(weight, k, i + d - k)
            if norm_first:
                gate = read(z, k, i + d - k)
                v = v * gate * sigmoid(gate)
            write(y, k, i + d - k, v)
