r"""Compiled elimination of modes with several inputs, in twice the precision; see `solvers/_cauchy_tangential.py`.

A number is four: high and low part of its real part, high and low part of its imaginary part. They are the first axis
of every array, the modes the last one, so that loops over modes run in vector registers.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np

_compiled: Any = numba.njit(
    cache=True, error_model="numpy", nogil=True
)  # never fast math: it would cancel the low parts
_parallel: Any = numba.njit(cache=True, error_model="numpy", nogil=True, parallel=True)


@_compiled
def _add(a, b, c, d):
    """Return (a + b) + (c + d) as two parts."""
    s = a + c
    t = s - a
    e = (a - (s - t)) + (c - t)
    u = b + d
    t = u - b
    f = (b - (u - t)) + (d - t)
    e += u
    v = s + e
    e = e - (v - s) + f
    w = v + e
    return w, e - (w - v)


@_compiled
def _multiply(a, b, c, d, splitter):
    """Return (a + b)(c + d) as two parts."""
    p = a * c
    t = splitter * a
    x = t - (t - a)
    y = a - x
    t = splitter * c
    z = t - (t - c)
    w = c - z
    e = ((x * z - p) + x * w + y * z) + y * w + (a * d + b * c)
    s = p + e
    return s, e - (s - p)


@_compiled
def _divide(a, b, c, d, splitter):
    """Return (a + b)/(c + d) as two parts."""
    q = a / c
    p, e = _multiply(q, q * 0, c, d, splitter)
    r, s = _add(a, b, -p, -e)
    f = r / c
    p, e = _multiply(f, f * 0, c, d, splitter)
    r, s = _add(r, s, -p, -e)
    t = q + f
    return _add(t, f - (t - q), r / c, q * 0)


@_compiled
def _times(a, b, c, d, e, f, g, h, splitter):
    """Return the product of two complex numbers, four parts each."""
    p, q = _multiply(a, b, e, f, splitter)
    r, s = _multiply(c, d, g, h, splitter)
    u, v = _add(p, q, -r, -s)
    p, q = _multiply(a, b, g, h, splitter)
    r, s = _multiply(c, d, e, f, splitter)
    w, x = _add(p, q, r, s)
    return u, v, w, x


@_compiled
def _meets(kind, x, p, meet, loss, splitter):
    """Fill in the meets of all modes with a pivot, and 1 - b(x) for its Blaschke factor b."""
    one, none = x.dtype.type(1.0), x.dtype.type(0.0)
    pa, pb, pc, pd = p[0], p[1], p[2], p[3]
    if kind == 0:
        margin, margin_low = 2 * pa, 2 * pb
        ea, eb, ec, ed = one, none, none, none
    else:
        s, t = _multiply(pa, pb, pa, pb, splitter)
        u, v = _multiply(pc, pd, pc, pd, splitter)
        s, t = _add(s, t, u, v)
        margin, margin_low = _add(one, none, -s, -t)
        ea, eb = _add(one, none, -pa, -pb)  # 1 - p
        ec, ed = -pc, -pd
    for i in range(x.shape[1]):
        a, b, c, d = x[0, i], x[1, i], x[2, i], x[3, i]
        if kind == 0:
            ma, mb = _add(a, b, pa, pb)
            mc, md = _add(c, d, -pc, -pd)
            na, nb, nc, nd = margin, margin_low, none, none
            da, db, dc, dd = ma, mb, mc, md
        else:
            ua, ub, uc, ud = _times(a, b, c, d, pa, pb, -pc, -pd, splitter)
            ma, mb = _add(one, none, -ua, -ub)
            mc, md = -uc, -ud
            va, vb = _add(one, none, -a, -b)
            na, nb = _multiply(va, vb, margin, margin_low, splitter)
            nc, nd = _multiply(-c, -d, margin, margin_low, splitter)
            da, db, dc, dd = _times(ma, mb, mc, md, ea, eb, ec, ed, splitter)
        meet[0, i], meet[1, i] = ma, mc
        sa, sb = _multiply(da, db, da, db, splitter)
        ta, tb = _multiply(dc, dd, dc, dd, splitter)
        sa, sb = _add(sa, sb, ta, tb)
        ua, ub, uc, ud = _times(na, nb, nc, nd, da, db, -dc, -dd, splitter)
        loss[0, i], loss[1, i] = _divide(ua, ub, sa, sb, splitter)
        loss[2, i], loss[3, i] = _divide(uc, ud, sa, sb, splitter)


@_compiled
def _along(G, row, along, splitter):
    r"""Fill in the component of every generator row along the pivot's, $g g_p^H / |g_p|^2$; return the last norm."""
    none = G.dtype.type(0.0)
    size, size_low = none, none
    for j in range(row.shape[1]):
        for k in (0, 2):
            s, t = _multiply(row[k, j], row[k + 1, j], row[k, j], row[k + 1, j], splitter)
            size, size_low = _add(size, size_low, s, t)
    along[:] = 0
    if size == 0:
        return size
    for j in range(row.shape[1]):
        ra, rb = _divide(row[0, j], row[1, j], size, size_low, splitter)
        rc, rd = _divide(-row[2, j], -row[3, j], size, size_low, splitter)
        for i in range(G.shape[2]):
            a, b, c, d = _times(G[0, j, i], G[1, j, i], G[2, j, i], G[3, j, i], ra, rb, rc, rd, splitter)
            along[0, i], along[1, i] = _add(along[0, i], along[1, i], a, b)
            along[2, i], along[3, i] = _add(along[2, i], along[3, i], c, d)
    return size


@_compiled
def _eliminate(kind, x, G, noise, p, margin, along, meet, loss, norms, column, splitter):
    """Eliminate one mode: write its column, update generators and the squares of their norms."""
    row, pivot = G[:, :, p].copy(), x[:, p].copy()
    _meets(kind, x, pivot, meet, loss, splitter)
    size = _along(G, row, along, splitter)
    scale = np.sqrt(size * margin)
    norms[:] = 0
    for i in range(x.shape[1]):
        a, c, m, k = along[0, i] * scale, along[2, i] * scale, meet[0, i], meet[1, i]
        square = m * m + k * k
        column[2 * i], column[2 * i + 1] = (a * m + c * k) / square, (c * m - a * k) / square
        a, b, c, d = along[0, i], along[1, i], along[2, i], along[3, i]
        a, b, c, d = _times(a, b, c, d, loss[0, i], loss[1, i], loss[2, i], loss[3, i], splitter)
        along[0, i], along[1, i], along[2, i], along[3, i] = -a, -b, -c, -d
    for j in range(row.shape[1]):
        ra, rb, rc, rd = row[0, j], row[1, j], row[2, j], row[3, j]
        for i in range(x.shape[1]):
            a, b, c, d = along[0, i], along[1, i], along[2, i], along[3, i]
            a, b, c, d = _times(a, b, c, d, ra, rb, rc, rd, splitter)
            G[0, j, i], G[1, j, i] = _add(G[0, j, i], G[1, j, i], a, b)
            G[2, j, i], G[3, j, i] = _add(G[2, j, i], G[3, j, i], c, d)
            norms[i] += np.float64(G[0, j, i]) ** 2 + np.float64(G[2, j, i]) ** 2
    for i in range(x.shape[1]):
        if norms[i] <= np.float64(noise[i]) ** 2:
            G[:, :, i] = 0
            norms[i] = 0


@_parallel
def twofold_greedy(kind, pairs, x, G, margin, noise, Z, chosen):
    """Eliminate all modes of each system, the largest first; with `pairs` the last half are conjugates of the first.

    Columns are interleaved complex numbers over all modes; `chosen` says which mode each belongs to.
    """
    n, splitter = x.shape[2], x.dtype.type(134217729.0 if x.itemsize == 8 else 4097.0)
    half = n // 2 if pairs else n
    for k in numba.prange(x.shape[0]):
        along, loss = np.empty((4, n), dtype=x.dtype), np.empty((4, n), dtype=x.dtype)
        meet, norms = np.empty((2, n), dtype=x.dtype), np.zeros(n)
        for j in range(G.shape[2]):
            for i in range(n):
                norms[i] += np.float64(G[k, 0, j, i]) ** 2 + np.float64(G[k, 2, j, i]) ** 2
        for step in range(chosen.shape[1]):
            p, best = 0, -1.0
            for i in range(half):
                if norms[i] / margin[k, i] > best:
                    p, best = i, norms[i] / margin[k, i]
            chosen[k, step] = p
            first = 2 * step if pairs else step
            _eliminate(kind, x[k], G[k], noise[k], p, margin[k, p], along, meet, loss, norms, Z[k, first], splitter)
            if pairs:
                q, last = p + half, Z[k, first + 1]
                _eliminate(kind, x[k], G[k], noise[k], q, margin[k, q], along, meet, loss, norms, last, splitter)
                for j in range(G.shape[2]):  # conjugates to the last digit
                    for i in range(half):
                        G[k, 0, j, half + i], G[k, 1, j, half + i] = G[k, 0, j, i], G[k, 1, j, i]
                        G[k, 2, j, half + i], G[k, 3, j, half + i] = -G[k, 2, j, i], -G[k, 3, j, i]
