"""The Gramian of diagonal systems, computed in registers and written once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numba
import numpy as np

from .._errors import DtypeError, ShapeError
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
    from .._arrays import Array

_LINE = 64  # bytes of a cache line
_BEYOND_CACHE = 1 << 23  # bytes: a smaller result is better left in the cache for whoever reads it


def gramian(discrete: bool, a: Array, margin: Array, B: Array, out: Array | None) -> Array:
    r"""Return $(B B^H)_{ij} / (1 - a_i \bar a_j)$, or $-(B B^H)_{ij} / (a_i + \bar a_j)$: complex, exactly Hermitian.

    a and `margin`, which is $1 - |a|^2$ or in continuous time nothing, have the batch of B. All are complex but for
    `margin`, contiguous and writable; `out` need not be contiguous.
    """
    (*batch, n, m), precision = B.shape, margin.dtype
    if out is None:
        out = _aligned((*batch, n, n), B.dtype)
    if out.shape != (*batch, n, n):
        msg = f"out has shape {out.shape}; want {(*batch, n, n)}: give an array of that shape, or none"
        raise ShapeError(msg)
    if out.dtype != B.dtype:
        msg = f"out has dtype {out.dtype}; want {B.dtype}: give an array of that type, or none"
        raise DtypeError(msg)
    if not out.flags.c_contiguous:
        out[...] = gramian(discrete, a, margin, B, None)
        return out
    if m == 0:
        out[...] = 0
        return out
    parts = [v.view(precision).reshape(-1) for v in (a, B, out)]
    work = np.empty(2 * (a.size + B.size), dtype=precision)
    kernel: Any = _kernel
    kernel(discrete, _first_tile(out, m), int(np.prod(batch)), n, m, *parts[:2], margin.reshape(-1), work, parts[2])
    return out


def _aligned(shape: tuple[int, ...], dtype: np.dtype) -> Array:
    """Return fresh memory that begins with a cache line, as that of NumPy does not."""
    size = int(np.prod(shape)) * dtype.itemsize
    memory = np.empty(size + _LINE, dtype=np.uint8)
    start = -memory.ctypes.data % _LINE
    return memory[start : start + size].view(dtype).reshape(shape)


def _first_tile(out: Array, inputs: int) -> int:
    """Return the first row and column from where tiles of four by four are whole cache lines, -1 if they do not pay.

    They do not where the matrix is a few lines, or the rows of a tile lie 2 KiB apart and share a place in the cache.
    """
    n, (skipped, rest) = out.shape[-1], divmod(-out.ctypes.data % _LINE, out.itemsize)
    fits = n % LANES == 0 and out.itemsize * LANES == _LINE and rest == 0
    return skipped if fits and inputs == 1 and n >= 16 and n % 128 > 0 and out.nbytes >= _BEYOND_CACHE else -1


# Without wrappers for Python, which nobody calls, they compile faster.
_INNER = {"error_model": "numpy", "no_cpython_wrapper": True, "no_cfunc_wrapper": True}
inner: Any = numba.njit(**_INNER)  # type: ignore[call-overload]  # the stubs lack the options
inline: Any = numba.njit(**_INNER, forceinline=True)  # type: ignore[call-overload]


@numba.njit(parallel=True, cache=True, error_model="numpy")
def _kernel(discrete, tile, batch, n, inputs, a, B, margin, work, out):
    top = work.dtype.type(2.0 if discrete else 1.0)
    for k in numba.prange(batch):
        start = k * 2 * (inputs + 1) * n  # planes of its own: to write again into the same ones holds up the streams
        x, p = pointer(work, start), pointer(work, start + 2 * n)
        y, q = pointer(work, start + n), pointer(work, start + (inputs + 2) * n)
        _split(pointer(a, k * 2 * n), 1, n, x, y)
        _split(pointer(B, k * 2 * n * inputs), inputs, n, p, q)
        modes = (x, y, pointer(margin, k * n)) if discrete else (x, y, x)  # there is none in continuous time
        right, target = (p, q), pointer(out, k * n * 2 * n)
        if tile >= 0:
            _write_tiles(discrete, top, modes, right, tile, n, target)
            continue
        for i in range(n):
            _write_row(discrete, top, modes, right, inputs, i, n, target)


@inline
def _split(M, columns, n, re, im):
    """Copy a complex matrix into its transposed real and imaginary parts."""
    for r in range(columns):
        for j in range(n):
            write(re, r * n + j, read(M, 2 * (j * columns + r)))
            write(im, r * n + j, read(M, 2 * (j * columns + r) + 1))


@inner
def _write_row(discrete, top, modes, right, inputs, i, n, out):
    if inputs == 1:  # said twice, since the loop over inputs would cost a third of the time
        _fill_row(discrete, top, modes, right, 1, i, n, out)
    else:
        _fill_row(discrete, top, modes, right, inputs, i, n, out)


@inline
def _fill_row(discrete, top, modes, right, inputs, i, n, out):
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
def _write_tiles(discrete, top, modes, right, first, n, out):
    stop = n - LANES + first if first else n
    for i in range(first, stop, LANES):
        for j in range(i, stop, LANES):
            _write_tile(discrete, spread(top), modes, right, i, j, n, out)
    for edge in range(stop, n + first):
        i = edge % n
        _write_row(discrete, top, modes, right, 1, i, n, out)
        for j in range(first, stop):
            write(out, 2 * (n * j + i), read(out, 2 * (n * i + j)))
            write(out, 2 * (n * j + i) + 1, -read(out, 2 * (n * i + j) + 1))
    settle()


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
