"""The loops of the gated linear unit, for few features: a tile of rows at a time, which stays in the cache.

A tile is flat, rows after one another without padding between them. What is done to each number is done to whole lines,
wherever rows begin and end; a line of a product reaches into the row after it, to which it adds zeros.
"""

from __future__ import annotations

import numpy as np
from llvmlite import ir
from numba.core import types

from ssm_zoo.scan.elementary import gaussian, sigmoid
from ssm_zoo.scan.products import FULL, START, UNIT, add_product
from ssm_zoo.scan.simd import (
    LINE_BYTES,
    fill,
    fma,
    inlined,
    intrinsic,
    kernel,
    load,
    number,
    read,
    store,
    vector,
    write,
)

ROWS = 64
"""Of a tile."""

DENSITY = (2 * np.pi) ** -0.5
"""Of a normal variable at zero."""


@intrinsic
def kept(typing, bits, start, low, line):
    """Return the line with zeros where the bits from `bits[start]` on are below `low`."""

    def emit(context, builder, signature, args):
        whole = ir.VectorType(ir.IntType(16), line.width)
        source = builder.gep(context.make_array(bits)(context, builder, args[0]).data, [args[1]])
        drawn = builder.load(builder.bitcast(source, whole.as_pointer()), align=2)
        first = builder.insert_element(ir.Constant(whole, ir.Undefined), args[2], ir.IntType(32)(0))
        zeros = ir.Constant(ir.VectorType(ir.IntType(32), line.width), [0] * line.width)
        keep = builder.icmp_signed(">=", drawn, builder.shuffle_vector(first, first, zeros))
        return builder.select(keep, args[3], ir.Constant(vector(line), None))

    return line(bits, types.intp, types.int16, line), emit


@kernel
def forward(rows, x, h, weights, bias, dropouts, y, d):
    """Fill in the outputs of rows `rows[0]` to `rows[1]`."""
    lanes = LINE_BYTES // h.itemsize
    held, values, gates, biases = _tile(h, d), _tile(h, d), _tile(h, d), _repeated(bias, d)
    for first in range(rows[0], rows[1], ROWS):
        start, size = first * d, min(ROWS, rows[1] - first) * d
        _map(h, start, size, weights, biases, dropouts[0], held, values, gates, d)
        for k in range(0, size, lanes):
            line = load(values, k) * sigmoid(load(gates, k))
            count = min(lanes, size - k)
            write(y, start + k, count, read(x, start + k, count) + _dropped(line, dropouts[1], start + k))


@kernel
def backward(rows, h, weights, back, bias, dropouts, d_y, d_h, d_weights, d_bias, d):
    """Fill in the gradients of rows `rows[0]` to `rows[1]`, and add to those of the weights and the bias."""
    lanes = LINE_BYTES // h.itemsize
    held, values, gates, pull, biases = _tile(h, d), _tile(h, d), _tile(h, d), _tile(h, d), _repeated(bias, d)
    width = back.shape[2]
    for first in range(rows[0], rows[1], ROWS):
        count = min(ROWS, rows[1] - first)
        start, size = first * d, count * d
        _map(h, start, size, weights, biases, dropouts[0], held, values, gates, d)
        for k in range(0, size, lanes):
            line = _dropped(read(d_y, start + k, min(lanes, size - k)), dropouts[1], start + k)
            sign = sigmoid(load(gates, k))
            slope = load(values, k) * sign * (number(sign, 1.0) - sign)
            store(values, k, line * sign)  # from here on, the gradients of v and g
            store(gates, k, line * slope)
        pull[:] = 0
        for half, part in enumerate((values, gates)):
            add_product(pull, START, d, part, START, d, UNIT, back[half].ravel(), START, width, count, d, d, FULL)
            add_product(d_weights[half].ravel(), START, width, part, START, UNIT, d, held, START, d, d, d, count, FULL)
            for column in range(0, d, lanes):
                line = load(d_bias, half * width + column)
                for row in range(count):
                    line = line + load(part, row * d + column)
                store(d_bias, half * width + column, line)
        for k in range(0, size, lanes):
            some = min(lanes, size - k)
            line = read(h, start + k, some)
            density, below = gaussian(line)
            slope = fma(line * number(line, DENSITY), density, below)
            write(d_h, start + k, some, slope * _dropped(load(pull, k), dropouts[0], start + k))


@inlined
def _tile(like, d):
    return np.zeros(ROWS * d + LINE_BYTES, like.dtype)


@inlined
def _repeated(bias, d):
    """Return the bias of every row of a tile, for v and after it for g."""
    size = len(_tile(bias, d))
    biases = np.zeros(2 * size, bias.dtype)
    for half in range(2):
        for k in range(ROWS * d):
            biases[half * size + k] = bias[half * d + k % d]
    return biases


@inlined
def _map(h, start, size, weights, biases, dropout, held, values, gates, d):
    """Fill in the GELU of a tile after dropout, v and g."""
    lanes = LINE_BYTES // h.itemsize
    for k in range(0, size, lanes):
        line = read(h, start + k, min(lanes, size - k))
        _, below = gaussian(line)
        store(held, k, _dropped(line * below, dropout, start + k))
    width = weights.shape[2]
    rows = size // d
    for half, part in enumerate((values, gates)):
        for k in range(0, size, lanes):
            store(part, k, load(biases, half * len(part) + k))
        add_product(part, START, d, held, START, d, UNIT, weights[half].ravel(), START, width, rows, d, d, FULL)


@inlined
def _dropped(line, dropout, start):
    bits, low, scale = dropout
    return kept(bits, start, low, line * fill(scale)) if len(bits) else line
