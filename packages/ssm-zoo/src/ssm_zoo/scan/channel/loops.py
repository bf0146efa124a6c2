"""What of a chunk is not a matrix product: turning the layout, and passing the state from chunk to chunk."""

from __future__ import annotations

import numpy as np

from ssm_zoo.scan.channel.tables import kernel

_BLOCK = 16  # steps and channels of a block that is turned: 16 lines of the cache on either side


@kernel
def gather(sequences, ends, first, out):
    """Copy some channels into (channel, sequence, chunk, step), with zeros at and after each end.

    `sequences` is (sequence, time, channel) of those channels; `first` is the time at which `out` begins.
    """
    channels, count, chunks, steps = out.shape
    for b in range(count):
        for k in range(chunks):
            start = first + k * steps
            real = min(max(ends[b] - start, 0), steps)
            for j in range(0, real, _BLOCK):
                stop = min(j + _BLOCK, real)
                for h in range(channels):
                    for i in range(j, stop):
                        out[h, b, k, i] = sequences[b, start + i, h]
            for h in range(channels):
                out[h, b, k, real:] = 0


@kernel
def scatter(chunked, ends, first, out):
    """Copy back, with zeros at and after each end: the inverse of `gather`."""
    channels, count, chunks, steps = chunked.shape
    length = out.shape[1]
    for b in range(count):
        for k in range(chunks):
            start = first + k * steps
            real = min(max(ends[b] - start, 0), steps)
            for j in range(0, real, _BLOCK):
                stop = min(j + _BLOCK, real)
                for h in range(channels):
                    for i in range(j, stop):
                        out[b, start + i, h] = chunked[h, b, k, i]
            for i in range(start + real, min(start + steps, length)):
                out[b, i] = 0


@kernel
def advance(states, inputs, ends, first, last_tile, eigenvalues, jump, carry, last):
    """Turn what each chunk adds to the state into the state before it, in place; write the states at the ends.

    Shapes: states (g, sequence, chunk, 2n), inputs (g, sequence, chunk, T), carry and last (sequence, g, 2n).
    """
    channels, count, chunks, width = states.shape
    steps, n = inputs.shape[3], width // 2
    for h in range(channels):
        re, im = jump[h, :n], jump[h, n:]
        for b in range(count):
            x_re, x_im = carry[b, h, :n], carry[b, h, n:]
            end = ends[b] - first
            for k in range(chunks):
                row_re, row_im = states[h, b, k, :n], states[h, b, k, n:]
                if k == end // steps:
                    last[b, h] = carry[b, h]
                    _walk(last[b, h], inputs[h, b, k, : end % steps], eigenvalues[h], n)
                for j in range(n):
                    a, c = x_re[j], x_im[j]
                    x_re[j] = re[j] * a - im[j] * c + row_re[j]
                    x_im[j] = re[j] * c + im[j] * a + row_im[j]
                    row_re[j], row_im[j] = a, c
            if last_tile and end == chunks * steps:
                last[b, h] = carry[b, h]


@kernel
def _walk(state, inputs, eigenvalues, n):
    for u in inputs:
        for j in range(n):
            a, c = state[j], state[n + j]
            state[j] = eigenvalues[j] * a - eigenvalues[n + j] * c + u
            state[n + j] = eigenvalues[j] * c + eigenvalues[n + j] * a


@kernel
def retreat(
    adjoints, states, inputs, ends, first, last_tile, eigenvalues, jump, carry, d_last, d_inputs, d_eigenvalues, d_jump
):
    r"""Turn the gradient of each chunk's first state into the adjoint of its last one, in place; pass `carry` down.

    Adds $\bar x a$ to `d_jump`, and what the last states owe to the steps of their chunk to `d_inputs` and
    `d_eigenvalues`. `d_inputs` must hold zeros where nothing else was added.
    """
    channels, count, chunks, width = states.shape
    steps, n = inputs.shape[3], width // 2
    trail = np.empty((steps, width), states.dtype)
    extra = np.empty(width, states.dtype)
    for h in range(channels):
        re, im, d_re, d_im = jump[h, :n], jump[h, n:], d_jump[h, :n], d_jump[h, n:]
        for b in range(count):
            a_re, a_im = carry[b, h, :n], carry[b, h, n:]
            end = ends[b] - first
            if last_tile and end == chunks * steps:
                for j in range(width):
                    carry[b, h, j] += d_last[b, h, j]
            for k in range(chunks - 1, -1, -1):
                x_re, x_im = states[h, b, k, :n], states[h, b, k, n:]
                row_re, row_im = adjoints[h, b, k, :n], adjoints[h, b, k, n:]
                for j in range(n):
                    p, q = a_re[j], a_im[j]
                    d_re[j] += x_re[j] * p + x_im[j] * q
                    d_im[j] += x_re[j] * q - x_im[j] * p
                    a_re[j] = re[j] * p + im[j] * q + row_re[j]
                    a_im[j] = re[j] * q - im[j] * p + row_im[j]
                    row_re[j], row_im[j] = p, q
                if k == end // steps:
                    extra[:] = d_last[b, h]
                    real = end % steps
                    _walk_back(
                        extra, states[h, b, k], inputs[h, b, k, :real], eigenvalues[h], trail,
                        d_inputs[h, b, k], d_eigenvalues[h],
                    )  # fmt: skip
                    for j in range(width):
                        carry[b, h, j] += extra[j]


@kernel
def _walk_back(adjoint, state, inputs, eigenvalues, trail, d_inputs, d_eigenvalues):
    n = state.shape[0] // 2
    for i in range(len(inputs)):
        trail[i] = state if i == 0 else trail[i - 1]
        if i > 0:
            _walk(trail[i], inputs[i - 1 : i], eigenvalues, n)
    for i in range(len(inputs) - 1, -1, -1):
        total = adjoint[0] * 0
        for j in range(n):
            p, q = adjoint[j], adjoint[n + j]
            total += p
            d_eigenvalues[j] += trail[i, j] * p + trail[i, n + j] * q
            d_eigenvalues[n + j] += trail[i, j] * q - trail[i, n + j] * p
            adjoint[j] = eigenvalues[j] * p + eigenvalues[n + j] * q
            adjoint[n + j] = eigenvalues[j] * q - eigenvalues[n + j] * p
        d_inputs[i] += total
