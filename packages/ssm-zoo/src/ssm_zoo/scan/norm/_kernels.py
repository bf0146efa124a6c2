"""The loops of the fused gated norm: row after row, a group of channels at a time.

The inputs u, the gate z, the outputs and all gradients are `Rows`; the weight is flat, each group in whole lines. With
v what is normalised, s = (mean v² + eps)^(-1/2) and p the gradient of s v, that of v is s p - s³ mean(p v) v.
"""

from __future__ import annotations

import math

import numpy as np

from ssm_zoo.scan.elementary import sigmoid
from ssm_zoo.scan.simd import LINE_BYTES, fill, fma, inlined, kernel, load, number, read, store, total, write


@kernel
def forward(rows, u_rows, z_rows, weight, y_rows, sizes, eps, norm_first):
    """Fill in the outputs of rows `rows[0]` to `rows[1]`."""
    u, z, y = u_rows[0], z_rows[0], y_rows[0]
    length, d, groups = sizes
    lanes = LINE_BYTES // weight.itemsize
    width = (d + lanes - 1) // lanes * lanes
    held = np.zeros(width, weight.dtype)
    for row in range(rows[0], rows[1]):
        b, t = row // length, row % length
        for g in range(groups):
            i, j, o = _at(u_rows, b, t, g * d), _at(z_rows, b, t, g * d), _at(y_rows, b, t, g * d)
            s = _hold(u, i, z, j, held, d, eps, norm_first)
            for k in range(0, d, lanes):
                count = min(lanes, d - k)
                n = load(held, k) * s * load(weight, g * width + k)
                if norm_first:
                    gate = read(z, j + k, count)
                    n = n * gate * sigmoid(gate)
                write(y, o + k, count, n)


@kernel
def backward(rows, u_rows, z_rows, weight, d_y_rows, d_u_rows, d_z_rows, d_weight, sizes, eps, norm_first):
    """Fill in the gradients of rows `rows[0]` to `rows[1]`, and add to that of the weight."""
    u, z, d_y, d_u, d_z = u_rows[0], z_rows[0], d_y_rows[0], d_u_rows[0], d_z_rows[0]
    length, d, groups = sizes
    lanes = LINE_BYTES // weight.itemsize
    width = (d + lanes - 1) // lanes * lanes
    held, pull = np.zeros(width, weight.dtype), np.zeros(width, weight.dtype)
    for row in range(rows[0], rows[1]):
        b, t = row // length, row % length
        for g in range(groups):
            i, j, o = _at(u_rows, b, t, g * d), _at(z_rows, b, t, g * d), _at(d_y_rows, b, t, g * d)
            s = _hold(u, i, z, j, held, d, eps, norm_first)
            back = _pull(d_y, o, z, j, held, pull, weight, d_weight, g * width, d, s, norm_first)
            to_u, to_z = _at(d_u_rows, b, t, g * d), _at(d_z_rows, b, t, g * d)
            for k in range(0, d, lanes):
                count = min(lanes, d - k)
                gate = read(z, j + k, count)
                sign = sigmoid(gate)
                slope = sign * fma(gate, number(s, 1.0) - sign, number(s, 1.0))
                d_v = s * (load(pull, k) - back * load(held, k))
                if norm_first:
                    d_n = read(d_y, o + k, count) * load(weight, g * width + k)
                    write(d_u, to_u + k, count, d_v)
                    write(d_z, to_z + k, count, d_n * s * load(held, k) * slope)
                else:
                    write(d_u, to_u + k, count, d_v * gate * sign)
                    write(d_z, to_z + k, count, d_v * read(u, i + k, count) * slope)


@inlined
def _at(rows, b, t, channel):
    return b * rows[1] + t * rows[2] + channel


@inlined
def _hold(u, i, z, j, held, d, eps, norm_first):
    """Keep v of one group, and return a line of s."""
    lanes = LINE_BYTES // held.itemsize
    squares = number(load(held, 0), 0.0)
    for k in range(0, d, lanes):
        count = min(lanes, d - k)
        v = read(u, i + k, count)
        if not norm_first:
            gate = read(z, j + k, count)
            v = v * gate * sigmoid(gate)
        squares = fma(v, v, squares)
        store(held, k, v)
    return fill(held.dtype.type(1 / math.sqrt(total(squares) / d + eps)))


@inlined
def _pull(d_y, o, z, j, held, pull, weight, d_weight, w, d, s, norm_first):
    """Keep p of one group, add to the weight's gradient, and return a line of s² mean(p v)."""
    lanes = LINE_BYTES // held.itemsize
    along = number(s, 0.0)
    for k in range(0, d, lanes):
        count = min(lanes, d - k)
        p = read(d_y, o + k, count)
        if norm_first:
            gate = read(z, j + k, count)
            p = p * gate * sigmoid(gate)
        store(d_weight, w + k, fma(p * s, load(held, k), load(d_weight, w + k)))
        p = p * load(weight, w + k)
        along = fma(p, load(held, k), along)
        store(pull, k, p)
    return s * s * fill(held.dtype.type(total(along) / d))
