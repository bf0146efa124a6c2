"""Products of small matrices in cache, for Numba kernels: faster than a library's, since they skip what is zero.

A matrix is an array, the index of its first number, and its strides, in numbers. Rows of a right factor or a result are
whole lines (`simd.py`), filled up with anything finite. Six rows of one line are summed up in registers:
twelve of the sixteen that AVX2 has.
"""

from __future__ import annotations

import numpy as np
from numba.core import types

from .simd import LINE_BYTES, fill, fma, intrinsic, kernel, load, number, store, total

FULL, LOWER, UPPER, BELOW = (np.int64(k) for k in range(4))
"""Nothing is known; the left factor is zero beyond the diagonal; before it; the result is not wanted beyond it."""


START, UNIT = np.int64(0), np.int64(1)
"""A place and a stride. As literals, they would make Numba compile a product again for every combination of them."""


@intrinsic
def peek(typing, array, index):
    """Return number `index` of a contiguous array, not counted from the end."""

    def emit(context, builder, signature, args):
        return builder.load(builder.gep(context.make_array(array)(context, builder, args[0]).data, [args[1]]))

    return array.dtype(array, types.intp), emit


@intrinsic
def poke(typing, array, index, value):
    """Set number `index` of a contiguous array, not counted from the end."""

    def emit(context, builder, signature, args):
        builder.store(args[2], builder.gep(context.make_array(array)(context, builder, args[0]).data, [args[1]]))
        return context.get_dummy_value()

    return types.void(array, types.intp, array.dtype), emit


@kernel
def add_product(out, o, o_row, a, a0, a_row, a_col, b, b0, b_row, rows, columns, inner, shape):
    """Add the product of a (rows, inner) and b (inner, columns) to `out`."""
    width = LINE_BYTES // out.itemsize
    for column in range(0, columns, width):
        row = column - column % 6 if shape == BELOW else 0
        while row < rows:
            count = 6 if row + 6 <= rows else (4 if row + 4 <= rows else 1)
            start = row if shape == UPPER else 0
            end = min(inner, row + count) if shape == LOWER else inner
            at_o, at_b = o + row * o_row + column, b0 + start * b_row + column
            at_a = a0 + row * a_row + start * a_col
            if count == 6:
                _six(out, at_o, o_row, a, at_a, a_row, a_col, b, at_b, b_row, end - start)
            elif count == 4:
                _four(out, at_o, o_row, a, at_a, a_row, a_col, b, at_b, b_row, end - start)
            else:
                _one(out, at_o, a, at_a, a_col, b, at_b, b_row, end - start)
            row += count


@kernel
def set_product(out, o, o_row, a, a0, a_row, a_col, b, b0, b_row, rows, columns, inner, shape):
    """Set `out` to the product of a (rows, inner) and b (inner, columns)."""
    clear(out, o, o_row, rows, columns)
    add_product(out, o, o_row, a, a0, a_row, a_col, b, b0, b_row, rows, columns, inner, shape)


@kernel
def _six(out, o, o_row, a, a0, a_row, a_col, b, b0, b_row, inner):
    o1, o2, o3, o4, o5 = o + o_row, o + 2 * o_row, o + 3 * o_row, o + 4 * o_row, o + 5 * o_row
    c0, c1, c2 = load(out, o), load(out, o1), load(out, o2)
    c3, c4, c5 = load(out, o3), load(out, o4), load(out, o5)
    for _ in range(inner):
        row = load(b, b0)
        c0 = fma(fill(peek(a, a0)), row, c0)
        c1 = fma(fill(peek(a, a0 + a_row)), row, c1)
        c2 = fma(fill(peek(a, a0 + 2 * a_row)), row, c2)
        c3 = fma(fill(peek(a, a0 + 3 * a_row)), row, c3)
        c4 = fma(fill(peek(a, a0 + 4 * a_row)), row, c4)
        c5 = fma(fill(peek(a, a0 + 5 * a_row)), row, c5)
        a0 += a_col
        b0 += b_row
    store(out, o, c0)
    store(out, o1, c1)
    store(out, o2, c2)
    store(out, o3, c3)
    store(out, o4, c4)
    store(out, o5, c5)


@kernel
def _four(out, o, o_row, a, a0, a_row, a_col, b, b0, b_row, inner):
    o1, o2, o3 = o + o_row, o + 2 * o_row, o + 3 * o_row
    c0, c1, c2, c3 = load(out, o), load(out, o1), load(out, o2), load(out, o3)
    for _ in range(inner):
        row = load(b, b0)
        c0 = fma(fill(peek(a, a0)), row, c0)
        c1 = fma(fill(peek(a, a0 + a_row)), row, c1)
        c2 = fma(fill(peek(a, a0 + 2 * a_row)), row, c2)
        c3 = fma(fill(peek(a, a0 + 3 * a_row)), row, c3)
        a0 += a_col
        b0 += b_row
    store(out, o, c0)
    store(out, o1, c1)
    store(out, o2, c2)
    store(out, o3, c3)


@kernel
def _one(out, o, a, a0, a_col, b, b0, b_row, inner):
    c = load(out, o)
    for _ in range(inner):
        c = fma(fill(peek(a, a0)), load(b, b0), c)
        a0 += a_col
        b0 += b_row
    store(out, o, c)


@kernel
def clear(out, o, o_row, rows, columns):
    """Set rows of lines to zero."""
    zero = number(load(out, o), 0.0)
    for row in range(rows):
        for column in range(0, columns, LINE_BYTES // out.itemsize):
            store(out, o + row * o_row + column, zero)


@kernel
def scale(out, o, columns, factor):
    """Multiply one row of lines."""
    line = fill(factor)
    for column in range(o, o + columns, LINE_BYTES // out.itemsize):
        store(out, column, load(out, column) * line)


@kernel
def dot(a, a0, b, b0, columns):
    """Return the sum of a b over one row of lines."""
    width = LINE_BYTES // a.itemsize
    found = load(a, a0) * load(b, b0)
    for column in range(width, columns, width):
        found = fma(load(a, a0 + column), load(b, b0 + column), found)
    return total(found)


@kernel
def fetch(out, o, source, s, count):
    """Copy `count` numbers into whole lines, filled up with zeros."""
    width = LINE_BYTES // out.itemsize
    whole = count - count % width
    for k in range(0, whole, width):
        store(out, o + k, load(source, s + k))
    for k in range(whole, count):
        poke(out, o + k, peek(source, s + k))
    if whole < count:
        for k in range(count, whole + width):
            poke(out, o + k, 0.0)


@kernel
def deliver(out, o, source, s, count):
    """Copy `count` numbers out of whole lines."""
    width = LINE_BYTES // out.itemsize
    whole = count - count % width
    for k in range(0, whole, width):
        store(out, o + k, load(source, s + k))
    for k in range(whole, count):
        poke(out, o + k, peek(source, s + k))


@kernel
def transpose(out, o, o_row, source, s, s_row, rows, columns):
    """Set out (columns, rows) to the transpose of source (rows, columns)."""
    for row in range(rows):
        for column in range(columns):
            poke(out, o + column * o_row + row, peek(source, s + row * s_row + column))
