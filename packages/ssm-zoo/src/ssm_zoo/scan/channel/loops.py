"""What of a chunk is not a matrix product: turning the layout, and passing the state from chunk to chunk.

Every array is whole and contiguous, so that each function is compiled once for each precision; `place` says which part
of it is meant: first channel, first sequence, first chunk, number of sequences, of chunks, and of steps in a chunk. A
*tile* holds this part, (channel, sequence · chunk · column), with something between the channels.
"""

from __future__ import annotations

import numpy as np

from ssm_zoo.scan.simd import loops

_BLOCK = 16  # steps and channels of a block that is turned: 16 lines of the cache on either side


@loops
def gather(sequences, ends, place, channels, tile):
    """Copy sequences, (batch, time, H), into a tile, with zeros at and after each end."""
    h0, b0, k0, count, chunks, steps = place
    for b in range(count):
        for k in range(chunks):
            start, row = (k0 + k) * steps, (b * chunks + k) * steps
            real = min(max(ends[b0 + b] - start, 0), steps)
            for j in range(0, real, _BLOCK):
                stop = min(j + _BLOCK, real)
                for h in range(channels):
                    for i in range(j, stop):
                        tile[h, row + i] = sequences[b0 + b, start + i, h0 + h]
            for h in range(channels):
                tile[h, row + real : row + steps] = 0


@loops
def scatter(tile, ends, place, channels, sequences):
    """Copy back, with zeros at and after each end: the inverse of `gather`."""
    h0, b0, k0, count, chunks, steps = place
    for b in range(count):
        for k in range(chunks):
            start, row = (k0 + k) * steps, (b * chunks + k) * steps
            real = min(max(ends[b0 + b] - start, 0), steps)
            for j in range(0, real, _BLOCK):
                stop = min(j + _BLOCK, real)
                for h in range(channels):
                    for i in range(j, stop):
                        sequences[b0 + b, start + i, h0 + h] = tile[h, row + i]
            for i in range(start + real, min(start + steps, sequences.shape[1])):
                sequences[b0 + b, i, h0 : h0 + channels] = 0


@loops
def advance(checkpoints, inputs, ends, place, eigenvalues, jump, carry, last):
    """Turn what each chunk adds to the state into the state before it, in place; write the states at the ends.

    Shapes: checkpoints (H, batch, chunk, 2n), inputs a tile, eigenvalues and jump (channel, 2n), carry and last
    (batch, H, 2n).
    """
    h0, b0, k0, count, chunks, steps = place
    n, all_chunks = jump.shape[1] // 2, checkpoints.shape[2]
    for h in range(jump.shape[0]):
        re, im = jump[h, :n], jump[h, n:]
        for b in range(b0, b0 + count):
            state = carry[b, h0 + h]
            x_re, x_im = state[:n], state[n:]
            for k in range(k0, k0 + chunks):
                row_re, row_im = checkpoints[h0 + h, b, k, :n], checkpoints[h0 + h, b, k, n:]
                if k == ends[b] // steps:
                    last[b, h0 + h] = state
                    row = ((b - b0) * chunks + k - k0) * steps
                    _walk(last[b, h0 + h], inputs[h, row : row + ends[b] % steps], eigenvalues[h], n)
                for j in range(n):
                    a, c = x_re[j], x_im[j]
                    x_re[j] = re[j] * a - im[j] * c + row_re[j]
                    x_im[j] = re[j] * c + im[j] * a + row_im[j]
                    row_re[j], row_im[j] = a, c
            if k0 + chunks == all_chunks and ends[b] == all_chunks * steps:
                last[b, h0 + h] = state


@loops
def _walk(state, inputs, eigenvalues, n):
    for u in inputs:
        for j in range(n):
            a, c = state[j], state[n + j]
            state[j] = eigenvalues[j] * a - eigenvalues[n + j] * c + u
            state[n + j] = eigenvalues[j] * c + eigenvalues[n + j] * a


@loops
def retreat(
    adjoints, checkpoints, inputs, ends, place, eigenvalues, jump, carry, d_last, d_inputs, d_eigenvalues, d_jump
):
    r"""Turn the gradient of each chunk's first state into the adjoint of its last one, in place; pass `carry` down.

    Adds $\bar x a$ to `d_jump`, and what the last states owe to the steps of their chunk to `d_inputs` and
    `d_eigenvalues`. `adjoints`, `inputs` and `d_inputs` are tiles.
    """
    h0, b0, k0, count, chunks, steps = place
    width, all_chunks = jump.shape[1], checkpoints.shape[2]
    n = width // 2
    trail = np.empty((steps, width), checkpoints.dtype)
    extra = np.empty(width, checkpoints.dtype)
    for h in range(jump.shape[0]):
        re, im, d_re, d_im = jump[h, :n], jump[h, n:], d_jump[h, :n], d_jump[h, n:]
        for b in range(b0, b0 + count):
            adjoint = carry[b, h0 + h]
            a_re, a_im = adjoint[:n], adjoint[n:]
            if k0 + chunks == all_chunks and ends[b] == all_chunks * steps:
                adjoint += d_last[b, h0 + h]
            for k in range(k0 + chunks - 1, k0 - 1, -1):
                state, row = checkpoints[h0 + h, b, k], (b - b0) * chunks + k - k0
                x_re, x_im = state[:n], state[n:]
                row_re = adjoints[h, row * width : row * width + n]
                row_im = adjoints[h, row * width + n : (row + 1) * width]
                for j in range(n):
                    p, q = a_re[j], a_im[j]
                    d_re[j] += x_re[j] * p + x_im[j] * q
                    d_im[j] += x_re[j] * q - x_im[j] * p
                    a_re[j] = re[j] * p + im[j] * q + row_re[j]
                    a_im[j] = re[j] * q - im[j] * p + row_im[j]
                    row_re[j], row_im[j] = p, q
                if k == ends[b] // steps:
                    extra[:] = d_last[b, h0 + h]
                    span = slice(row * steps, row * steps + ends[b] % steps)
                    _walk_back(
                        extra, state, inputs[h, span], eigenvalues[h], trail, d_inputs[h, span], d_eigenvalues[h]
                    )
                    adjoint += extra


@loops
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
