"""Vectors of four numbers as values of compiled loops, for what Numba does not vectorise well by itself.

Memory is taken by pointer: an array costs a locked count of references for each function that it is given to. Sums and
products are rounded one by one, so that a formula that is symmetric on paper is so in the last bit.
"""

from __future__ import annotations

import operator
from typing import Any

from llvmlite import ir
from numba import types
from numba.core.typing.templates import AbstractTemplate, infer_global, signature
from numba.extending import intrinsic, lower_builtin, models, register_model

LANES = 4
_INDEX = ir.IntType(32)
operation: Any = intrinsic  # to type checkers it would have `typing` for a first argument


class Vector(types.Type):
    """Four numbers of one type, in a register or two."""

    def __init__(self, dtype: Any) -> None:
        self.dtype = dtype
        super().__init__(name=f"Vector({dtype})")


@register_model(Vector)
class _Model(models.PrimitiveModel):
    def __init__(self, manager: Any, kind: Vector) -> None:
        super().__init__(manager, kind, ir.VectorType(manager.lookup(kind.dtype).get_value_type(), LANES))


def _define(symbol, instruction, count):
    @infer_global(symbol)
    class _Typing(AbstractTemplate):
        def generic(self, args, kws):
            if len(args) == count and isinstance(args[0], Vector) and len(set(args)) == 1:
                return signature(args[0], *args)
            return None

    def lower(context, builder, signature, arguments):
        return getattr(builder, instruction)(*arguments)

    lower_builtin(symbol, *[Vector] * count)(lower)


_define(operator.add, "fadd", 2)
_define(operator.sub, "fsub", 2)
_define(operator.mul, "fmul", 2)
_define(operator.truediv, "fdiv", 2)
_define(operator.neg, "fneg", 1)


@operation
def pointer(typing, array, start):
    """Return a pointer to an entry of a contiguous array, which its caller keeps alive."""

    def generate(context, builder, signature, arguments):
        data = context.make_array(array)(context, builder, arguments[0]).data
        return builder.gep(data, [arguments[1]])

    return types.CPointer(array.dtype)(array, types.intp), generate


@operation
def read(typing, x, j):
    """Return the number x[j]."""

    def generate(context, builder, signature, arguments):
        return builder.load(builder.gep(arguments[0], [arguments[1]]))

    return x.dtype(x, types.intp), generate


@operation
def write(typing, x, j, value):
    """Do x[j] = value."""

    def generate(context, builder, signature, arguments):
        builder.store(arguments[2], builder.gep(arguments[0], [arguments[1]]))
        return context.get_dummy_value()

    return types.void(x, types.intp, x.dtype), generate


@operation
def load(typing, x, j):
    """Return the vector x[j : j + 4]."""

    def generate(context, builder, signature, arguments):
        return builder.load(_place(builder, *arguments), align=x.dtype.bitwidth // 8)

    return Vector(x.dtype)(x, types.intp), generate


@operation
def spread(typing, x):
    """Return the vector with x in every lane."""

    def generate(context, builder, signature, arguments):
        empty = ir.Constant(context.get_value_type(signature.return_type), ir.Undefined)
        single = builder.insert_element(empty, arguments[0], ir.Constant(_INDEX, 0))
        return _shuffle(builder, single, empty, (0, 0, 0, 0))

    return Vector(x)(x), generate


def _make_shuffle(*order: int) -> Any:
    """Return the function of two vectors that takes these of their eight lanes."""

    @operation
    def shuffle(typing, a, b):
        def generate(context, builder, signature, arguments):
            return _shuffle(builder, arguments[0], arguments[1], order)

        return a(a, b), generate

    return shuffle


# From four real and four imaginary parts to two vectors of two complex numbers each, and from two such to another.
first_pairs, last_pairs = _make_shuffle(0, 4, 1, 5), _make_shuffle(2, 6, 3, 7)
heads, tails = _make_shuffle(0, 1, 4, 5), _make_shuffle(2, 3, 6, 7)


@operation
def conj(typing, a):
    """Return the conjugates of two complex numbers."""

    def generate(context, builder, signature, arguments):
        return _shuffle(builder, arguments[0], builder.fneg(arguments[0]), (0, 5, 2, 7))

    return a(a), generate


def _make_store(*, streamed: bool) -> Any:
    @operation
    def store(typing, out, j, a):
        size = out.dtype.bitwidth // 8

        def generate(context, builder, signature, arguments):
            place = _place(builder, *arguments[:2])
            done = builder.store(arguments[2], place, align=LANES * size if streamed else size)
            if streamed:
                done.set_metadata("nontemporal", builder.module.add_metadata([ir.Constant(_INDEX, 1)]))
            return context.get_dummy_value()

        return types.void(out, types.intp, a), generate

    return store


# out[j : j + 4] = a. `stream` passes by the cache, which would first read what is overwritten: to aligned places only,
# to whole cache lines for speed, and with `settle` before another thread may look.
store, stream = _make_store(streamed=False), _make_store(streamed=True)


@operation
def settle(typing):
    """Wait until all that this thread has written is in memory."""

    def generate(context, builder, signature, arguments):
        builder.fence("seq_cst")
        return context.get_dummy_value()

    return types.void(), generate


def _place(builder, x, j):
    vector = ir.VectorType(x.type.pointee, LANES)
    return builder.bitcast(builder.gep(x, [j]), vector.as_pointer())


def _shuffle(builder, a, b, order):
    return builder.shuffle_vector(a, b, ir.Constant(ir.VectorType(_INDEX, LANES), order))
