"""The Gramian of diagonal systems, computed in registers and written once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numba
import numpy as np

from ._vectors import (
    LANES,
    conj,
    first_pairs,
    heads,
    last_pairs,
    load,
    pointer,
    read,
    settle,
    spread,
    store,
    stream,
    tails,
    write,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .._arrays import Array

_LINE = 64  # bytes of a cache line
_BEYOND_CACHE = 1 << 23  # bytes: a smaller result is better left in the cache for whoever reads it


def gramian(discrete: bool, modes: Sequence[Array], rows: Sequence[Array], out: Array | None) -> Array:
    r"""Return $(B B^H)_{ij} / (1 - a_i \bar a_j)$, or $-(B B^H)_{ij} / (a_i + \bar a_j)$: complex, exactly Hermitian.

    `modes` are real and imaginary parts and, if discrete, $1 - |a|^2$, of shape (..., n); `rows` are the parts of the
    rows of $B^T$, of shape (..., m, n). All are contiguous, as `out` need not be.
    """
    (*batch, m, n), precision = rows[0].shape, rows[0].dtype
    count, dtype = int(np.prod(batch)), np.result_type(precision, np.complex64)
    if out is None:
        out = _aligned((*batch, n, n), dtype)
    elif not out.flags.c_contiguous:
        out[...] = gramian(discrete, modes, rows, None)
        return out
    if m == 0:
        out[...] = 0
        return out
    flat = [v.reshape(count, n) for v in modes] + [v.reshape(count, m, n) for v in rows]
    kernel: Any = _kernel
    kernel(discrete, _is_tiled(out, m), *flat, out.view(precision).reshape(count, n, 2 * n))
    return out


def _aligned(shape: tuple[int, ...], dtype: np.dtype) -> Array:
    """Return fresh memory that begins with a cache line, as that of NumPy does not."""
    size = int(np.prod(shape)) * dtype.itemsize
    memory = np.empty(size + _LINE, dtype=np.uint8)
    start = -memory.ctypes.data % _LINE
    return memory[start : start + size].view(dtype).reshape(shape)


def _is_tiled(out: Array, inputs: int) -> bool:
    """Return whether tiles of four by four fit, in whole cache lines, and pay.

    They do not where the matrix is a few lines, or the rows of a tile lie 2 KiB apart and share a place in the cache.
    """
    n = out.shape[-1]
    fits = n % LANES == 0 and out.itemsize * LANES == _LINE and out.ctypes.data % _LINE == 0
    return fits and inputs == 1 and n >= 16 and n % 128 > 0 and out.nbytes >= _BEYOND_CACHE


inline: Any = numba.njit(error_model="numpy", forceinline=True)


@numba.njit(parallel=True, cache=True, error_model="numpy")
def _kernel(discrete, tiled, x, y, margin, br, bi, out):
    n, inputs = br.shape[2], br.shape[1]
    top = x.dtype.type(2.0 if discrete else 1.0)
    for k in numba.prange(x.shape[0]):
        modes = pointer(x, k * n), pointer(y, k * n), pointer(margin, k * n)
        right = pointer(br, k * n * inputs), pointer(bi, k * n * inputs)
        target = pointer(out, k * n * 2 * n)
        if tiled:
            for i in range(0, n, LANES):
                for j in range(i, n, LANES):
                    _write_tile(discrete, spread(top), modes, right, i, j, n, target)
            settle()
            continue
        for i in range(n):
            if inputs == 1:  # said twice, since the loop over inputs would cost a third of the time
                _write_row(discrete, top, modes, right, 1, i, n, target)
            else:
                _write_row(discrete, top, modes, right, inputs, i, n, target)


@inline
def _write_row(discrete, top, modes, right, inputs, i, n, out):
    (x, y, margin), (p, q) = modes, right
    start, whole = 2 * n * i, n - n % LANES
    for j in range(0, whole, LANES):
        first, last = _four(discrete, spread(top), modes, right, inputs, i, j, n)
        store(out, start + 2 * j, first)
        store(out, start + 2 * j + LANES, last)
    for j in range(whole, n):
        a, b = (read(x, i), read(y, i), read(margin, i)), (read(x, j), read(y, j), read(margin, j))
        u, v = _product(read(p, i), read(q, i), read(p, j), read(q, j))
        for row in range(n, n * inputs, n):
            re, im = _product(read(p, row + i), read(q, row + i), read(p, row + j), read(q, row + j))
            u, v = u + re, v + im
        re, im = _quotient(discrete, top, a, b, u, v)
        write(out, start + 2 * j, re)
        write(out, start + 2 * j + 1, im)


@inline
def _write_tile(discrete, top, modes, right, i, j, n, out):
    """Write entries of four rows and four columns, and their mirror image."""
    a, e = _four(discrete, top, modes, right, 1, i, j, n)
    b, f = _four(discrete, top, modes, right, 1, i + 1, j, n)
    c, g = _four(discrete, top, modes, right, 1, i + 2, j, n)
    d, h = _four(discrete, top, modes, right, 1, i + 3, j, n)
    _stream_rows(out, 2 * (n * i + j), 2 * n, (a, b, c, d), (e, f, g, h))
    if i < j:
        a, b, c, d, e, f, g, h = conj(a), conj(b), conj(c), conj(d), conj(e), conj(f), conj(g), conj(h)
        mirrored = heads(a, b), tails(a, b), heads(e, f), tails(e, f)
        _stream_rows(out, 2 * (n * j + i), 2 * n, mirrored, (heads(c, d), tails(c, d), heads(g, h), tails(g, h)))


@inline
def _stream_rows(out, start, step, left, right):
    for r in range(LANES):
        stream(out, start + r * step, left[r])
        stream(out, start + r * step + LANES, right[r])


@inline
def _four(discrete, top, modes, right, inputs, i, j, n):
    """Return the entries of row i in columns j to j + 3, as two vectors of two."""
    x, y, margin = modes
    a = spread(read(x, i)), spread(read(y, i)), spread(read(margin, i))
    b = load(x, j), load(y, j), load(margin, j)
    p, q = right
    u, v = _product(spread(read(p, i)), spread(read(q, i)), load(p, j), load(q, j))
    for row in range(n, n * inputs, n):
        re, im = _product(spread(read(p, row + i)), spread(read(q, row + i)), load(p, row + j), load(q, row + j))
        u, v = u + re, v + im
    re, im = _quotient(discrete, top, a, b, u, v)
    return first_pairs(re, im), last_pairs(re, im)


@inline
def _product(p, q, r, s):
    """Return (p + i q) conj(r + i s)."""
    return p * r + q * s, q * r - p * s


@inline
def _quotient(discrete, top, a, b, u, v):
    """Return (u + i v) / (1 - a conj b), or -(u + i v) / (a + conj b); swapping a and b only turns the sign of im."""
    dx, dy = a[0] - b[0], a[1] - b[1]
    re, im = -(a[0] + b[0]), -dy
    if discrete:  # twice the divisor, which `top` makes up for
        re, im = a[2] + b[2] + dx * dx + dy * dy, (a[1] + b[1]) * dx - (a[0] + b[0]) * dy
    scale = top / (re * re + im * im)
    return (u * re + v * im) * scale, (v * re - u * im) * scale
