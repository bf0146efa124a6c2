"""A cache line of numbers as one value in Numba code: kernels made of it are vectors by construction.

Left to itself, LLVM gives up on the loops of a scan: it cannot rule out that a dozen arrays overlap. A `Line` is an
LLVM vector, 16 floats or 8 doubles, which every processor cuts to its own width. Indices count numbers, not lines.
"""

from __future__ import annotations

import operator
from typing import TYPE_CHECKING, Any

import numba
import numba.extending
import numpy as np
from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import models, overload, register_model

if TYPE_CHECKING:
    from collections.abc import Sequence

LINE_BYTES = 64

intrinsic: Any = numba.extending.intrinsic
"""Numba's, untyped: it takes one argument less than the function it decorates."""

kernel: Any = numba.njit(nogil=True, cache=True, error_model="numpy")
"""Compile serial code that may run beside others; NaN and infinity behave as they do in arrays."""

loops: Any = numba.njit(nogil=True, cache=True, error_model="numpy", fastmath={"contract", "reassoc", "nsz"})
"""Compile such code of plain loops, which LLVM may reorder into vectors; NaN and infinity stay visible all the same."""

inlined: Any = numba.njit(forceinline=True, error_model="numpy")
"""Compile code into every kernel that uses it: a call costs more than a line of numbers."""

_SCALARS = {types.float32: ir.FloatType(), types.float64: ir.DoubleType()}


class Line(types.Type):
    """The Numba type of one line of numbers."""

    def __init__(self, dtype: Any) -> None:
        self.dtype = dtype
        self.width = 8 * LINE_BYTES // dtype.bitwidth
        super().__init__(f"Line({dtype})")


@register_model(Line)
class _LineModel(models.PrimitiveModel):
    def __init__(self, manager: Any, kind: Line) -> None:
        super().__init__(manager, kind, vector(kind))


def vector(kind: Line) -> ir.VectorType:
    """Return the LLVM type of a line."""
    return ir.VectorType(_SCALARS[kind.dtype], kind.width)


def _address(context, builder, kind, array, start):
    pointer = builder.gep(context.make_array(kind)(context, builder, array).data, [start])
    return builder.bitcast(pointer, vector(Line(kind.dtype)).as_pointer())


@intrinsic
def load(typing, array, start):
    """Return the line at `array[start]` of a contiguous vector."""

    def emit(context, builder, signature, args):
        return builder.load(_address(context, builder, array, *args), align=array.dtype.bitwidth // 8)

    return Line(array.dtype)(array, types.intp), emit


@intrinsic
def store(typing, array, start, line):
    """Put a line at `array[start]` of a contiguous vector."""

    def emit(context, builder, signature, args):
        builder.store(args[2], _address(context, builder, array, *args[:2]), align=array.dtype.bitwidth // 8)
        return context.get_dummy_value()

    return types.void(array, types.intp, line), emit


@intrinsic
def read(typing, array, start, count):
    """Return the line at `array[start]`; if there are only `count` numbers of it, zeros behind them."""
    kind = Line(array.dtype)

    def emit(context, builder, signature, args):
        array_value, start, count = args
        spare = cgutils.alloca_once(builder, vector(kind))
        with builder.if_else(_is_whole(builder, count, kind), likely=True) as (whole, part):
            with whole:
                line = builder.load(_address(context, builder, array, array_value, start), align=4)
                from_whole = builder.block
            with part:
                builder.store(ir.Constant(vector(kind), None), spare)
                source = context.make_array(array)(context, builder, array_value).data
                _copy(builder, builder.gep(source, [start]), _first(builder, spare, kind), count)
                filled = builder.load(spare)
                from_part = builder.block
        result = builder.phi(vector(kind))
        result.add_incoming(line, from_whole)
        result.add_incoming(filled, from_part)
        return result

    return kind(array, types.intp, types.intp), emit


@intrinsic
def write(typing, array, start, count, line):
    """Put a line at `array[start]`, but no more than `count` numbers of it."""

    def emit(context, builder, signature, args):
        array_value, start, count, value = args
        spare = cgutils.alloca_once(builder, vector(line))
        with builder.if_else(_is_whole(builder, count, line), likely=True) as (whole, part):
            with whole:
                builder.store(value, _address(context, builder, array, array_value, start), align=4)
            with part:
                builder.store(value, spare)
                target = context.make_array(array)(context, builder, array_value).data
                _copy(builder, _first(builder, spare, line), builder.gep(target, [start]), count)
        return context.get_dummy_value()

    return types.void(array, types.intp, types.intp, line), emit


def _is_whole(builder, count, kind):
    return builder.icmp_signed(">=", count, count.type(kind.width))


def _first(builder, pointer, kind):
    return builder.bitcast(pointer, _SCALARS[kind.dtype].as_pointer())


def _copy(builder, source, target, count):
    with cgutils.for_range(builder, count) as loop:
        builder.store(builder.load(builder.gep(source, [loop.index])), builder.gep(target, [loop.index]))


@intrinsic
def fill(typing, number):
    """Return a line of one number."""
    kind = Line(number)

    def emit(context, builder, signature, args):
        index = ir.IntType(32)
        first = builder.insert_element(ir.Constant(vector(kind), ir.Undefined), args[0], index(0))
        return builder.shuffle_vector(first, first, ir.Constant(ir.VectorType(index, kind.width), [0] * kind.width))

    return kind(number), emit


@intrinsic
def total(typing, line):
    """Return the sum of the numbers of a line."""
    scalar = _SCALARS[line.dtype]

    def emit(context, builder, signature, args):
        kind = ir.FunctionType(scalar, [scalar, vector(line)])
        name = f"llvm.vector.reduce.fadd.v{line.width}f{line.dtype.bitwidth}"
        reduce = cgutils.get_or_insert_function(builder.module, kind, name)
        return builder.call(reduce, [scalar(-0.0), args[0]], fastmath=["reassoc"])

    return line.dtype(line), emit


def _overload_operator(symbol: Any, instruction: str) -> None:
    @intrinsic
    def apply(typing, a, b):
        def emit(context, builder, signature, args):
            return getattr(builder, instruction)(*args, flags=["contract"])

        return a(a, b), emit

    @overload(symbol)
    def choose(a, b):
        return (lambda a, b: apply(a, b)) if isinstance(a, Line) and a == b else None


for _symbol, _instruction in (("add", "fadd"), ("sub", "fsub"), ("mul", "fmul"), ("truediv", "fdiv")):
    _overload_operator(getattr(operator, _symbol), _instruction)


def call(builder: Any, name: str, kind: Line, args: Sequence) -> Any:
    """Call an LLVM intrinsic that takes lines and returns one."""
    line = vector(kind)
    function = ir.FunctionType(line, [line] * len(args))
    full = f"llvm.{name}.v{kind.width}f{kind.dtype.bitwidth}"
    return builder.call(cgutils.get_or_insert_function(builder.module, function, full), args)


@intrinsic
def fma(typing, a, b, c):
    """Return a b + c."""
    return a(a, b, c), lambda context, builder, signature, args: call(builder, "fmuladd", a, args)


@intrinsic
def at_least(typing, x, low):
    """Return the larger; a NaN in x stays."""

    def emit(context, builder, signature, args):
        return builder.select(builder.fcmp_ordered("<", *args), args[1], args[0])

    return x(x, low), emit


def number(like, value):
    """Return a line of one constant, of the kind of another line."""
    raise NotImplementedError


@overload(number)
def _number(like, value):
    if like.dtype == types.float32:
        return lambda like, value: fill(np.float32(value))
    return lambda like, value: fill(np.float64(value))
