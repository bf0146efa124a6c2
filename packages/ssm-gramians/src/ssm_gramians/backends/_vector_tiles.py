"""Products of small matrices in vector registers, for compiled loops: LLVM vectors, which Numba has no name for.

A product is cut into tiles of four rows by 32 or 64 bytes, which stay in registers over the whole inner sum. Matrices
lie in flat arrays, padded to whole tiles; a complex one as a real plane followed by an imaginary one.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

ROWS, BYTES = 4, 32  # of the smallest tile; four rows of 64 bytes are the most that 16 AVX registers hold
_FUSED = ("contract",)  # multiply and add may become one instruction, where the processor has it


def make_tile(size: int, *, is_complex: bool) -> Any:
    r"""Return the Numba function `tile(A, a, a_row, a_col, sign, B, b, C, c, width, start, stop, plane)`.

    It does $C_{rj} \mathrel{+}= \sum_k A_{rk} B_{kj}$ for four rows r, `size` bytes of columns, start <= k < stop. The
    tile of C begins at c, that of B at b, both with rows of `width`; $A_{rk}$ is at a + r a_row + k a_col. `sign` = -1
    conjugates A, `plane` is the distance from real to imaginary parts.
    """

    @intrinsic
    def tile(typing, A, a, a_row, a_col, sign, B, b, C, c, width, start, stop, plane):
        signature = types.void(A, *[types.intp] * 3, A.dtype, B, types.intp, C, *[types.intp] * 5)

        def generate(context, builder, signature, arguments):
            data = [
                context.make_array(kind)(context, builder, value).data if isinstance(kind, types.Array) else value
                for kind, value in zip(signature.args, arguments, strict=True)
            ]
            _emit(builder, size * 8 // A.dtype.bitwidth, is_complex, *data)
            return context.get_dummy_value()

        return signature, generate

    return tile


def _emit(builder, lanes, is_complex, A, a, a_row, a_col, sign, B, b, C, c, width, start, stop, plane):
    vector = ir.VectorType(A.type.pointee, lanes)
    shifts = (None, plane) if is_complex else (None,)

    def pointer(base, *terms):
        place = terms[0]
        for term in terms[1:]:
            place = place if term is None else builder.add(place, term)
        return builder.gep(base, [place])

    def row(base, *terms):
        return builder.bitcast(pointer(base, *terms), vector.as_pointer())

    align = 8 if isinstance(A.type.pointee, ir.DoubleType) else 4
    offsets = [builder.mul(width, ir.Constant(width.type, r)) for r in range(ROWS)]
    sums = [[cgutils.alloca_once(builder, vector) for _ in shifts] for _ in offsets]
    for offset, planes in zip(offsets, sums, strict=True):
        for shift, total in zip(shifts, planes, strict=True):
            builder.store(builder.load(row(C, c, offset, shift), align=align), total)
    starts = [builder.add(a, builder.mul(a_row, ir.Constant(a.type, r))) for r in range(ROWS)]
    step = ir.Constant(start.type, 1)
    with cgutils.for_range_slice(builder, start, stop, step, intp=start.type) as (k, _):
        right = [builder.load(row(B, b, builder.mul(k, width), shift), align=align) for shift in shifts]
        for first, planes in zip(starts, sums, strict=True):
            place = builder.add(first, builder.mul(k, a_col))
            left = [builder.load(pointer(A, place, shift)) for shift in shifts]
            if is_complex:
                left[1] = builder.fmul(left[1], sign)
            _multiply_add(builder, planes, [_spread(builder, x, vector) for x in left], right)
    for offset, planes in zip(offsets, sums, strict=True):
        for shift, total in zip(shifts, planes, strict=True):
            builder.store(builder.load(total), row(C, c, offset, shift), align=align)


def _multiply_add(builder, planes, left, right):
    """Add left * right to the sums: one plane, or (re re - im im, re im + im re)."""

    def add(total, x, y):
        builder.store(builder.fadd(builder.load(total), builder.fmul(x, y, flags=_FUSED), flags=_FUSED), total)

    add(planes[0], left[0], right[0])
    if len(planes) == 2:
        add(planes[1], left[0], right[1])
        add(planes[0], builder.fneg(left[1]), right[1])
        add(planes[1], left[1], right[0])


def _spread(builder, x, vector):
    """Return the vector with x in every lane."""
    empty, index = ir.Constant(vector, ir.Undefined), ir.IntType(32)
    single = builder.insert_element(empty, x, ir.Constant(index, 0))
    return builder.shuffle_vector(single, empty, ir.Constant(ir.VectorType(index, vector.count), [0] * vector.count))
