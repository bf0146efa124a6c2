"""One step of a layer in one call: x⁺ = λ x + b B u, y = g Re(C x⁺) + D u, from the parameters as they lie in memory.

B and C are stored in one of two ways: `planes`, a matrix for the real parts and one for the imaginary parts, or
interleaved, both parts of an entry side by side. States are interleaved, as complex numbers are.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
from numba import carray, types
from numba.extending import intrinsic

from ..simd import loops


def _cast(typing_context, address):
    """Return an integer as a pointer: an array's address is handed over in a fifth of the time that the array takes."""

    def generate(context, builder, signature, arguments):
        return builder.inttoptr(arguments[0], context.get_value_type(types.voidptr))

    return types.voidptr(types.intp), generate


_pointer: Any = intrinsic(_cast)


@loops
def _floats(address, rows, columns):
    return carray(_pointer(address), (rows, columns), np.float32)


@loops
def _drive_planes(re, im, u, drive):
    for i in range(re.shape[0]):
        row_re, row_im = re[i], im[i]
        d_re = d_im = np.float32(0)
        for k in range(len(u)):
            d_re += row_re[k] * u[k]
            d_im += row_im[k] * u[k]
        drive[2 * i], drive[2 * i + 1] = d_re, d_im


@loops
def _drive_interleaved(B, u, drive):
    for i in range(B.shape[0]):
        row = B[i]
        d_re = d_im = np.float32(0)
        for k in range(len(u)):
            d_re += row[2 * k] * u[k]
            d_im += row[2 * k + 1] * u[k]
        drive[2 * i], drive[2 * i + 1] = d_re, d_im


@loops
def _read_planes(re, im, x_re, x_im, y):
    for h in range(re.shape[0]):
        row_re, row_im = re[h], im[h]
        total = np.float32(0)
        for j in range(len(x_re)):
            total += row_re[j] * x_re[j] - row_im[j] * x_im[j]
        y[h] = total


@loops
def _read_interleaved(C, conjugate, y):
    for h in range(C.shape[0]):
        row = C[h]
        total = np.float32(0)
        for j in range(len(conjugate)):
            total += row[j] * conjugate[j]
        y[h] = total


@loops
def step_arrays(inputs, states, outputs, news, recurrence, seen, poles, matrices, gain, planes):
    """Do the step, `news` may be `states`; return False, and do nothing, if the poles are not those seen before.

    Parameters
    ----------
    recurrence
        Rows Re λ, Im λ, Re b, Im b.
    seen
        The bits of the parameters of the poles from which these were worked out, (k, n).
    poles
        The addresses of these parameters now, (k,).
    matrices
        The addresses of D, B and C; of D, Re B, Im B, Re C, Im C if `planes`.
    """
    n, H = recurrence.shape[1], inputs.shape[1]
    for k in range(len(poles)):
        now, before = carray(_pointer(poles[k]), (n,), np.int32), seen[k]
        for j in range(n):
            if now[j] != before[j]:
                return False
    re, im, b_re, b_im = recurrence[0], recurrence[1], recurrence[2], recurrence[3]
    D = _floats(matrices[0], 1, H)[0]
    scratch, g = np.empty(4 * n, np.float32), np.float32(gain)
    drive, z = scratch[: 2 * n], scratch[2 * n :]
    for b in range(inputs.shape[0]):
        u, x, new, y = inputs[b], states[b], news[b], outputs[b]
        if planes:
            _drive_planes(_floats(matrices[1], n, H), _floats(matrices[2], n, H), u, drive)
        else:
            _drive_interleaved(_floats(matrices[1], n, 2 * H), u, drive)
        for j in range(n):
            x_re, x_im, d_re, d_im = x[2 * j], x[2 * j + 1], drive[2 * j], drive[2 * j + 1]
            new_re = re[j] * x_re - im[j] * x_im + b_re[j] * d_re - b_im[j] * d_im
            new_im = re[j] * x_im + im[j] * x_re + b_re[j] * d_im + b_im[j] * d_re
            new[2 * j], new[2 * j + 1] = new_re, new_im
            if planes:
                z[j], z[n + j] = new_re, new_im
            else:
                z[2 * j], z[2 * j + 1] = new_re, -new_im
        if planes:
            _read_planes(_floats(matrices[3], H, n), _floats(matrices[4], H, n), z[:n], z[n:], y)
        else:
            _read_interleaved(_floats(matrices[2], H, 2 * n), z, y)
        for h in range(H):
            y[h] = g * y[h] + D[h] * u[h]
    return True


@numba.njit(nogil=True, cache=True)
def step_at(batch, x, state, y, new, recurrence, seen, poles, matrices, H, gain, planes):
    """Do the step for tensors at these addresses."""
    n = recurrence.shape[1]
    inputs, outputs = _floats(x, batch, H), _floats(y, batch, H)
    states, news = _floats(state, batch, 2 * n), _floats(new, batch, 2 * n)
    return step_arrays(inputs, states, outputs, news, recurrence, seen, poles, matrices, gain, planes)
