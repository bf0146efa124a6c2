"""Exponentials and logarithms of a `Line`, to rounding error: Numba has none that come as vectors."""

from __future__ import annotations

from math import log
from typing import TYPE_CHECKING, Any

import numpy as np
from llvmlite import ir
from numba.core import types
from scipy.special import erfcx

from .simd import at_least, call, fma, inlined, intrinsic, number, vector

if TYPE_CHECKING:
    from collections.abc import Callable

LOG2_E = 1 / log(2)


@intrinsic
def exponent(typing, x):
    """Return x within the exponents of normal numbers; a NaN stays."""
    low, high = (-126.0, 127.99) if x.dtype == types.float32 else (-1022.0, 1023.99)

    def emit(context, builder, signature, args):
        for limit, sign in ((low, "<"), (high, ">")):
            line = ir.Constant(vector(x), [limit] * x.width)
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
        return builder.bitcast(builder.add(builder.bitcast(args[0], whole), power), vector(x))

    return x(x, k), emit


@intrinsic
def nearest(typing, x):
    """Return the nearest whole numbers."""
    return x(x), lambda context, builder, signature, args: call(builder, "rint", x, args)


@intrinsic
def magnitude(typing, x):
    """Return |x|."""
    return x(x), lambda context, builder, signature, args: call(builder, "fabs", x, args)


def polynomial(function: Callable, low: float, high: float, degrees: dict) -> Any:
    """Return the intrinsic that interpolates a function at the Chebyshev points of an interval."""

    @intrinsic
    def evaluate(typing, x):
        fit = np.polynomial.Chebyshev.interpolate(function, degrees[x.dtype], [low, high])
        first, *rest = fit.convert(kind=np.polynomial.Polynomial).coef[::-1]

        def emit(context, builder, signature, args):
            value = ir.Constant(vector(x), [float(first)] * x.width)
            for coefficient in rest:
                term = ir.Constant(vector(x), [float(coefficient)] * x.width)
                value = call(builder, "fmuladd", x, [value, args[0], term])
            return value

        return x(x), emit

    return evaluate


@intrinsic
def at_most(typing, x, high):
    """Return the smaller; a NaN in x stays."""

    def emit(context, builder, signature, args):
        return builder.select(builder.fcmp_ordered(">", *args), args[1], args[0])

    return x(x, high), emit


@intrinsic
def with_sign(typing, x, sign):
    """Return |x| with the sign of the other."""
    return x(x, sign), lambda context, builder, signature, args: call(builder, "copysign", x, args)


# The degrees are the lowest that interpolate to rounding error; the tiny number keeps 0 / 0 away.
_TINY = np.finfo(float).tiny
_power = polynomial(
    lambda f: np.expm1((f + _TINY) / LOG2_E) / (f + _TINY), -0.5, 0.5, {types.float32: 4, types.float64: 12}
)
_artanh = polynomial(
    lambda square: np.arctanh(np.sqrt(square)) / np.sqrt(square), 0.0, 1 / 9, {types.float32: 4, types.float64: 11}
)
_TURN = 2.0  # where the fraction (z - 2) / (z + 2), which takes all z >= 0 to [-1, 1), is zero
_scaled_erfc = polynomial(lambda t: erfcx(_TURN * (1 + t) / (1 - t)), -1.0, 1.0, {types.float32: 9, types.float64: 24})


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


@inlined
def gaussian(x):
    r"""Return $\phi(x) \sqrt{2\pi}$ and $\Phi(x)$, density and distribution of a normal variable.

    With z = |x| / √2, Φ(-|x|) = exp(-z²) erfcx(z) / 2; its absolute error is a rounding error of 1.
    """
    z = at_most(magnitude(x) * number(x, 0.5**0.5), number(x, 30.0))
    density = exp(number(x, 0.0) - z * z)
    turn = number(x, _TURN)
    tail = density * _scaled_erfc((z - turn) / (z + turn))
    half = number(x, 0.5)
    return density, fma(half, with_sign(number(x, 1.0) - tail, x), half)
