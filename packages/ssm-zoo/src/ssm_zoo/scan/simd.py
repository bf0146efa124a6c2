"""A cache line of numbers as one value in Numba code: kernels made of it are vectors by construction.

Left to itself, LLVM gives up on the loops of a scan: it cannot rule out that a dozen arrays overlap. A `Line` is an
LLVM vector, 16 floats or 8 doubles, which every processor cuts to its own width. Indices count numbers, not lines.
"""

from __future__ import annotations

import operator
from math import log
from typing import TYPE_CHECKING, Any

import numba
import numpy as np
from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic, models, overload, register_model

if TYPE_CHECKING:
    from collections.abc import Callable

LINE_BYTES = 64
LOG2_E = 1 / log(2)

kernel: Any = numba.njit(nogil=True, cache=True, error_model="numpy")
"""Compile serial code that may run beside others; NaN and infinity behave as they do in arrays."""

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
        super().__init__(manager, kind, _vector(kind))


def _vector(kind: Line) -> ir.VectorType:
    return ir.VectorType(_SCALARS[kind.dtype], kind.width)


def _address(context, builder, kind, array, start):
    pointer = builder.gep(context.make_array(kind)(context, builder, array).data, [start])
    return builder.bitcast(pointer, _vector(Line(kind.dtype)).as_pointer())


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
def fill(typing, number):
    """Return a line of one number."""
    kind = Line(number)

    def emit(context, builder, signature, args):
        index = ir.IntType(32)
        first = builder.insert_element(ir.Constant(_vector(kind), ir.Undefined), args[0], index(0))
        return builder.shuffle_vector(first, first, ir.Constant(ir.VectorType(index, kind.width), [0] * kind.width))

    return kind(number), emit


@intrinsic
def total(typing, line):
    """Return the sum of the numbers of a line."""
    scalar = _SCALARS[line.dtype]

    def emit(context, builder, signature, args):
        kind = ir.FunctionType(scalar, [scalar, _vector(line)])
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


def _call(builder, name, kind, args):
    vector = _vector(kind)
    function = ir.FunctionType(vector, [vector] * len(args))
    full = f"llvm.{name}.v{kind.width}f{kind.dtype.bitwidth}"
    return builder.call(cgutils.get_or_insert_function(builder.module, function, full), args)


@intrinsic
def fma(typing, a, b, c):
    """Return a b + c."""
    return a(a, b, c), lambda context, builder, signature, args: _call(builder, "fmuladd", a, args)


@intrinsic
def nearest(typing, x):
    """Return the nearest whole numbers."""
    return x(x), lambda context, builder, signature, args: _call(builder, "rint", x, args)


@intrinsic
def magnitude(typing, x):
    """Return |x|."""
    return x(x), lambda context, builder, signature, args: _call(builder, "fabs", x, args)


@intrinsic
def at_least(typing, x, low):
    """Return the larger; a NaN in x stays."""

    def emit(context, builder, signature, args):
        return builder.select(builder.fcmp_ordered("<", *args), args[1], args[0])

    return x(x, low), emit


@intrinsic
def exponent(typing, x):
    """Return x within the exponents of normal numbers; a NaN stays."""
    low, high = (-126.0, 127.99) if x.dtype == types.float32 else (-1022.0, 1023.99)

    def emit(context, builder, signature, args):
        for limit, sign in ((low, "<"), (high, ">")):
            line = ir.Constant(_vector(x), [limit] * x.width)
            args = [builder.select(builder.fcmp_ordered(sign, args[0], line), line, args[0])]
        return args[0]

    return x(x), emit


@intrinsic
def scale_by_power(typing, x, k):
    """Return x 2**k, for normal numbers."""
    bits, mantissa = (32, 23) if x.dtype == types.float32 else (64, 52)

    def emit(context, builder, signature, args):
        whole = ir.VectorType(ir.IntType(bits), x.width)
        shift = ir.Constant(whole, [mantissa] * x.width)
        power = builder.shl(builder.fptosi(args[1], whole), shift)
        return builder.bitcast(builder.add(builder.bitcast(args[0], whole), power), _vector(x))

    return x(x, k), emit


def number(like, value):
    """Return a line of one constant, of the kind of another line."""
    raise NotImplementedError


@overload(number)
def _number(like, value):
    if like.dtype == types.float32:
        return lambda like, value: fill(np.float32(value))
    return lambda like, value: fill(np.float64(value))


def polynomial(function: Callable, low: float, high: float, degrees: dict) -> Any:
    """Return the intrinsic that interpolates a function at the Chebyshev points of an interval."""

    @intrinsic
    def evaluate(typing, x):
        fit = np.polynomial.Chebyshev.interpolate(function, degrees[x.dtype], [low, high])
        first, *rest = fit.convert(kind=np.polynomial.Polynomial).coef[::-1]

        def emit(context, builder, signature, args):
            value = ir.Constant(_vector(x), [float(first)] * x.width)
            for coefficient in rest:
                term = ir.Constant(_vector(x), [float(coefficient)] * x.width)
                value = _call(builder, "fmuladd", x, [value, args[0], term])
            return value

        return x(x), emit

    return evaluate


# The degrees are the lowest that interpolate to rounding error; the tiny number keeps 0 / 0 away.
_TINY = np.finfo(float).tiny
_power = polynomial(
    lambda f: np.expm1((f + _TINY) / LOG2_E) / (f + _TINY), -0.5, 0.5, {types.float32: 4, types.float64: 12}
)
_artanh = polynomial(
    lambda square: np.arctanh(np.sqrt(square)) / np.sqrt(square), 0.0, 1 / 9, {types.float32: 4, types.float64: 11}
)


@inlined
def exp2(x):
    """Return 2**x; as good as zero below the normal numbers, as good as infinite above them."""
    x = exponent(x)
    whole = nearest(x)
    rest = x - whole
    # 1 + ..., so that 2**0 is 1: a state that does not decay must not drift
    return scale_by_power(fma(rest, _power(rest), number(x, 1.0)), whole)


@inlined
def exp(x):
    """Return e**x."""
    return exp2(x * number(x, LOG2_E))


@inlined
def log1p(x):
    r"""Return log(1 + x) for 0 <= x <= 1, as $2 \operatorname{artanh}(x / (2 + x))$: a small x loses no digits."""
    s = x / (x + number(x, 2.0))
    return (s + s) * _artanh(s * s)


@inlined
def sigmoid(x):
    """Return 1 / (1 + exp(-x))."""
    one = number(x, 1.0)
    return one / (one + exp2(x * number(x, -LOG2_E)))


@inlined
def softplus(x):
    """Return log(1 + exp(x))."""
    return at_least(x, number(x, 0.0)) + log1p(exp2(magnitude(x) * number(x, -LOG2_E)))
