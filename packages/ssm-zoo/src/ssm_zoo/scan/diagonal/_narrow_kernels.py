"""Both passes over whole sequences of a narrow layer, in chunks of steps that never leave the cache.

All arrays are flat. A row of states is [Re x | Im x], each in whole lines (`scan/simd.py`), zeros behind the last.
A chunk has one such row per step, and one more at either end for the state before it. Chunks and steps are counted in
the order of the scan, rows in that of memory.
"""

from __future__ import annotations

import numpy as np

from ssm_zoo.scan.products import FULL, START, UNIT, add_product, peek, poke, set_product
from ssm_zoo.scan.simd import LINE_BYTES, fma, kernel, load, store


@kernel
def forward(first, last, inputs, outputs, checkpoints, system, steps, sizes, reverse):
    """Fill the outputs and the checkpoints of sequences `first` to `last`; their first checkpoints are filled in."""
    eigenvalues, drive, _, read, _, D = system
    length, chunk, m, p, row, _, width = sizes
    chunks = (length + chunk - 1) // chunk
    states, y = np.empty((chunk + 2) * row, inputs.dtype), np.empty(chunk * width, inputs.dtype)
    for b in range(first, last):
        for k in range(chunks):
            start = (chunks - 1 - k if reverse else k) * chunk
            count = min(chunk, steps[b] - start)
            before = (b * (chunks + 1) + k) * row
            at = b * length + start
            advance(states, inputs, at * m, m, eigenvalues, drive, checkpoints, before, count, row, reverse)
            if count > 0:
                set_product(y, START, width, states, row, row, UNIT, read, START, width, count, width, row, FULL)
                deliver(outputs, at * p, y, width, p, count, D, inputs)


@kernel
def backward(first, last, inputs, d_outputs, d_inputs, checkpoints, adjoint, gradients, system, steps, sizes, reverse):
    """Fill `d_inputs`, turn `adjoint` from the last state's to the first one's, and add to the other gradients."""
    eigenvalues, drive, drive_back, _, read_back, D = system
    d_eigenvalues, d_drive, d_read, d_D = gradients
    length, chunk, m, p, row, width, _ = sizes
    chunks = (length + chunk - 1) // chunk
    states, adjoints = np.empty((chunk + 2) * row, inputs.dtype), np.empty(chunk * row, inputs.dtype)
    d_u = np.empty(chunk * width, inputs.dtype)
    for b in range(first, last):
        for k in range(chunks - 1, -1, -1):
            start = (chunks - 1 - k if reverse else k) * chunk
            count = min(chunk, steps[b] - start)
            if count <= 0:
                continue
            before = (b * (chunks + 1) + k) * row
            u, g = (b * length + start) * m, (b * length + start) * p
            advance(states, inputs, u, m, eigenvalues, drive, checkpoints, before, count, row, reverse)
            add_outer(d_read, d_outputs, g, p, states, row, row, count)
            set_product(adjoints, START, row, d_outputs, g, p, UNIT, read_back, START, row, count, row, p, FULL)
            retreat(adjoints, states, eigenvalues, adjoint, b * row, d_eigenvalues, count, row, reverse)
            add_outer(d_drive, inputs, u, m, adjoints, 0, row, count)
            if len(D):
                add_products(d_D, d_outputs, inputs, u, m * count)
            if len(d_inputs):
                set_product(
                    d_u, START, width, adjoints, START, row, UNIT, drive_back, START, width, count, width, row, FULL
                )
                deliver(d_inputs, u, d_u, width, m, count, D, d_outputs)


@kernel
def advance(states, inputs, u, m, eigenvalues, drive, checkpoints, before, count, row, reverse):
    """Compute the states of a chunk, and leave the last in the next checkpoint."""
    half, width = row // 2, LINE_BYTES // states.itemsize
    if count > 0:
        set_product(states, row, row, inputs, u, m, UNIT, drive, START, row, count, row, m, FULL)
    stride = -row if reverse else row
    start = (count + 1) * row if reverse else 0
    for j in range(0, half, width):
        re, im = load(eigenvalues, j), load(eigenvalues, half + j)
        x_re, x_im = load(checkpoints, before + j), load(checkpoints, before + half + j)
        at = start + j
        if count > 0:
            store(states, at, x_re)
            store(states, at + half, x_im)
        for _ in range(count):
            at += stride
            next_re = fma(re, x_re, load(states, at) - im * x_im)
            x_im = fma(re, x_im, fma(im, x_re, load(states, at + half)))
            x_re = next_re
            store(states, at, x_re)
            store(states, at + half, x_im)
        store(checkpoints, before + row + j, x_re)
        store(checkpoints, before + row + half + j, x_im)


@kernel
def retreat(adjoints, states, eigenvalues, adjoint, a, d_eigenvalues, count, row, reverse):
    r"""Run the adjoint $a_t = C^H g_t + \bar λ a_{t+1}$ backwards in place, and add up $\bar x_{t-1} a_t$."""
    half, width = row // 2, LINE_BYTES // states.itemsize
    stride = -row if reverse else row
    end = 0 if reverse else (count - 1) * row
    for j in range(0, half, width):
        re, im = load(eigenvalues, j), load(eigenvalues, half + j)
        carry_re, carry_im = load(adjoint, a + j), load(adjoint, a + half + j)
        d_re, d_im = load(d_eigenvalues, j), load(d_eigenvalues, half + j)
        at = end + j
        for _ in range(count):
            a_re, a_im = load(adjoints, at) + carry_re, load(adjoints, at + half) + carry_im
            store(adjoints, at, a_re)
            store(adjoints, at + half, a_im)
            x_re, x_im = load(states, at + row - stride), load(states, at + row - stride + half)
            carry_re = fma(re, a_re, im * a_im)
            carry_im = re * a_im - im * a_re
            d_re = fma(x_re, a_re, fma(x_im, a_im, d_re))
            d_im = fma(x_re, a_im, d_im - x_im * a_re)
            at -= stride
        store(adjoint, a + j, carry_re)
        store(adjoint, a + half + j, carry_im)
        store(d_eigenvalues, j, d_re)
        store(d_eigenvalues, half + j, d_im)


@kernel
def add_outer(out, left, a, size, right, b, row, count):
    """Add the sum over steps of left (count, size) transposed and right (count, row); four rows at a time fit best."""
    for k in range(0, size, 4):
        add_product(out, k * row, row, left, a + k, UNIT, size, right, b, row, min(4, size - k), row, count, FULL)


@kernel
def deliver(out, o, tile, width, size, count, D, other):
    r"""Copy (count, size) numbers out of whole lines, with $D \odot$ those of `other` added if there is a D."""
    lanes = LINE_BYTES // out.itemsize
    for k in range(count):  # the spare numbers at the end of a row are overwritten by the row after it
        for j in range(0, size, lanes):
            store(tile, k * size + j, load(tile, k * width + j))
    whole = count * size - count * size % lanes
    for k in range(0, whole, lanes):
        line = load(tile, k)
        store(out, o + k, fma(load(D, k), load(other, o + k), line) if len(D) else line)
    for k in range(whole, count * size):
        value = peek(tile, k)
        poke(out, o + k, value + peek(D, k) * peek(other, o + k) if len(D) else value)


@kernel
def add_products(out, left, right, start, count):
    """Add left ⊙ right to `out`."""
    lanes = LINE_BYTES // out.itemsize
    whole = count - count % lanes
    for k in range(0, whole, lanes):
        store(out, k, fma(load(left, start + k), load(right, start + k), load(out, k)))
    for k in range(whole, count):
        poke(out, k, peek(out, k) + peek(left, start + k) * peek(right, start + k))
