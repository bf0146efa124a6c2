"""The loops of the fused convolution: a chunk of time after the other, in it one line of channels after the other.

x, y and their gradients are `Rows`. weight is (k, width) and bias (width,), where the width is the number of channels
in whole lines; windows are (batch, k - 1, d). All are flat: a slice made in a loop costs more than its numbers.
"""

from __future__ import annotations

import numpy as np

from ssm_zoo.scan.elementary import sigmoid
from ssm_zoo.scan.simd import LINE_BYTES, fma, inlined, kernel, load, number, read, store, write

CHUNK = 64  # steps of a line of channels held at once, in a few KiB


@kernel
def forward(sequences, channels, lengths, x_rows, weight, bias, window, y_rows, last, d, activate):
    """Convolve the sequences and the channels from the first number of a pair up to the second."""
    x, x_sequence, x_row = x_rows
    y, y_sequence, y_row = y_rows
    lanes, width = LINE_BYTES // weight.itemsize, bias.size
    taps = weight.size // width
    history = taps - 1
    lines = np.zeros((history + CHUNK) * lanes, weight.dtype)
    for b in range(sequences[0], sequences[1]):
        for begin in range(0, lengths[b], CHUNK):
            steps = min(CHUNK, lengths[b] - begin)
            for c in range(channels[0], channels[1], lanes):
                count = min(lanes, channels[1] - c)
                i, j = b * x_sequence + begin * x_row + c, b * history * d + c
                _gather(lines, x, i, x_row, window, j, d, begin, history, steps, count)
                i = b * y_sequence + begin * y_row + c
                for t in range(steps):
                    v = _filter(lines, t, weight, bias, c, taps)
                    if activate:
                        v = v * sigmoid(v)
                    write(y, i + t * y_row, count, v)
        for j in range(history):
            t = lengths[b] - history + j
            for c in range(channels[0], channels[1]):
                i = (b * history + j) * d + c
                last[i] = x[b * x_sequence + t * x_row + c] if t >= 0 else window[i + lengths[b] * d]


@kernel
def backward(
    sequences,
    channels,
    lengths,
    x_rows,
    weight,
    bias,
    window,
    d_y_rows,
    d_x_rows,
    d_weight,
    d_bias,
    d_window,
    d,
    activate,
):
    """Add to the gradients of weight and bias, and turn `d_window` from the last window's into the first's."""
    x, x_sequence, x_row = x_rows
    d_y, y_sequence, y_row = d_y_rows
    d_x, d_x_sequence, d_x_row = d_x_rows
    lanes, width = LINE_BYTES // weight.itemsize, bias.size
    taps = weight.size // width
    history = taps - 1
    lines = np.zeros((history + CHUNK) * lanes, weight.dtype)
    d_lines = np.zeros((history + CHUNK) * lanes, weight.dtype)
    for b in range(sequences[0], sequences[1]):
        for chunk in range((lengths[b] + CHUNK - 1) // CHUNK - 1, -1, -1):
            begin = chunk * CHUNK
            steps = min(CHUNK, lengths[b] - begin)
            for c in range(channels[0], channels[1], lanes):
                count = min(lanes, channels[1] - c)
                i, j = b * x_sequence + begin * x_row + c, b * history * d + c
                _gather(lines, x, i, x_row, window, j, d, begin, history, steps, count)
                d_lines[: steps * lanes] = 0
                for k in range(history):  # what the next chunk knows of the end of this one
                    store(d_lines, (steps + k) * lanes, read(d_window, j + k * d, count))
                i = b * y_sequence + begin * y_row + c
                for t in range(steps):
                    d_v = read(d_y, i + t * y_row, count)
                    if activate:
                        d_v = d_v * _slope(_filter(lines, t, weight, bias, c, taps))
                    _scatter(lines, d_lines, t, weight, d_weight, c, taps, width, d_v)
                    store(d_bias, c, load(d_bias, c) + d_v)
                i = b * d_x_sequence + begin * d_x_row + c
                for t in range(steps):
                    write(d_x, i + t * d_x_row, count, load(d_lines, (history + t) * lanes))
                for k in range(history):
                    write(d_window, j + k * d, count, load(d_lines, k * lanes))


@kernel
def _gather(lines, x, i, x_row, window, j, d, begin, history, steps, count):
    """Put the inputs of a chunk and the history before it side by side."""
    lanes = LINE_BYTES // lines.itemsize
    for k in range(history):
        t = k - history
        if begin + t < 0:
            store(lines, k * lanes, read(window, j + (begin + k) * d, count))
        else:
            store(lines, k * lanes, read(x, i + t * x_row, count))
    for t in range(steps):
        store(lines, (history + t) * lanes, read(x, i + t * x_row, count))


@inlined
def _filter(lines, t, weight, bias, c, taps):
    lanes = LINE_BYTES // lines.itemsize
    v = load(bias, c)
    for k in range(taps):
        v = fma(load(lines, (t + k) * lanes), load(weight, k * bias.size + c), v)
    return v


@inlined
def _scatter(lines, d_lines, t, weight, d_weight, c, taps, width, d_v):
    lanes = LINE_BYTES // lines.itemsize
    for k in range(taps):
        i, j = (t + k) * lanes, k * width + c
        store(d_lines, i, fma(d_v, load(weight, j), load(d_lines, i)))
        store(d_weight, j, fma(d_v, load(lines, i), load(d_weight, j)))


@inlined
def _slope(v):
    """Return the derivative of v sigmoid(v)."""
    s = sigmoid(v)
    return s * (number(v, 1.0) + v * (number(v, 1.0) - s))
