r"""Compiled elimination of modes with one input; see `solvers/_cauchy_single.py` for the formulas.

Complex numbers are split in real and imaginary parts, so that loops run in vector registers. `kind` is 0 in continuous
time, 1 in discrete time. A column is a row of Z: interleaved complex numbers, or for a pair two rows of real parts
followed by imaginary parts.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np

PIECE = 4096  # modes of a piece: its arrays fit in the fast cache of a core
_compiled: Any = numba.njit(cache=True, error_model="numpy", nogil=True)
_parallel: Any = numba.njit(cache=True, error_model="numpy", nogil=True, parallel=True)
_any_order: Any = numba.njit(cache=True, error_model="numpy", nogil=True, fastmath={"reassoc", "contract"})


@_compiled
def _advance_real(kind, x, margin, g, pivot, column):
    """Eliminate a real mode; `pivot` holds its x and margin."""
    half, p, p_margin, root = pivot.dtype.type(0.5), pivot[0], pivot[2], np.sqrt(pivot[2])
    for i in range(x.shape[0]):
        gap = x[i] - p
        meet = x[i] + p if kind == 0 else half * (margin[i] + p_margin + gap * gap)
        share = g[i] / meet
        column[i] = root * share
        g[i] = share * gap


@_compiled
def _advance_complex(kind, x, y, margin, g, h, pivot, column):
    """Eliminate a complex mode x + iy; generators are g + ih, `pivot` holds real part, imaginary part, margin."""
    half, p, q, p_margin = pivot.dtype.type(0.5), pivot[0], pivot[1], pivot[2]
    one, root = pivot.dtype.type(1.0), np.sqrt(pivot[2])
    for i in range(x.shape[0]):
        dx, dy = x[i] - p, y[i] - q
        if kind == 0:
            mx, my = x[i] + p, dy
        else:
            mx, my = half * (margin[i] + p_margin + dx * dx + dy * dy), y[i] * dx - x[i] * dy
        scale = one / (mx * mx + my * my)
        sx, sy = (g[i] * mx + h[i] * my) * scale, (h[i] * mx - g[i] * my) * scale
        column[2 * i], column[2 * i + 1] = root * sx, root * sy
        g[i], h[i] = sx * dx - sy * dy, sx * dy + sy * dx


@_compiled
def _advance_pair(kind, x, y, margin, g, h, pivot, first, first_imag, second, second_imag):
    """Eliminate a complex mode and its conjugate, or a real one alone."""
    half, p, q, p_margin = pivot.dtype.type(0.5), pivot[0], pivot[1], pivot[2]
    one, two = pivot.dtype.type(1.0), pivot.dtype.type(2.0)
    size, alone = p * p + q * q, q == 0
    if kind == 0:
        lead, rest = np.sqrt(two * p_margin * size), np.sqrt(two * p_margin)
    else:  # |1 - p^2| for the pivot p: 1 - p conj(conj p), as in the loop below
        across = half * (p_margin + p_margin + (two * q) * (two * q)), two * p * q
        lead = np.sqrt(p_margin / (one + size))
        rest = lead * np.sqrt(across[0] * across[0] + across[1] * across[1])
    root = np.sqrt(p_margin)
    for i in range(x.shape[0]):
        dx, dy, ey = x[i] - p, y[i] - q, y[i] + q  # apart from the pivot, and from its conjugate
        if kind == 0:
            mx, my, nx, ny = x[i] + p, dy, x[i] + p, ey
            fx, fy, kx, ky = lead, half - half, rest * x[i], rest * y[i]
        else:
            base = margin[i] + p_margin + dx * dx
            mx, my = half * (base + dy * dy), y[i] * dx - x[i] * dy
            nx, ny = half * (base + ey * ey), y[i] * dx - x[i] * ey
            fx, fy = lead * (dx - (p * nx + q * ny)), lead * (dy - (p * ny - q * nx))
            kx, ky = rest, half - half
        scale = one / (mx * mx + my * my)
        sx, sy = (g[i] * mx + h[i] * my) * scale, (h[i] * mx - g[i] * my) * scale
        tx, ty = sx, sy
        if alone:
            fx, fy, kx, ky = root, half - half, half - half, half - half
        else:
            scale = one / (nx * nx + ny * ny)
            tx, ty = (sx * nx + sy * ny) * scale, (sy * nx - sx * ny) * scale
        first[i], first_imag[i] = fx * tx - fy * ty, fx * ty + fy * tx
        second[i], second_imag[i] = kx * tx - ky * ty, kx * ty + ky * tx
        ux, uy = tx * dx - ty * dy, tx * dy + ty * dx
        if alone:
            g[i], h[i] = ux, uy
        else:
            g[i], h[i] = ux * dx - uy * ey, ux * ey + uy * dx


@_any_order
def trace(style, g, h, weight):
    """Return the trace of what is left."""
    total = 0.0
    if style == 0:
        for i in range(weight.shape[0]):
            a = np.float64(g[i])
            total += a * a * weight[i]
        return total
    for i in range(weight.shape[0]):
        a, b = np.float64(g[i]), np.float64(h[i])  # a square may underflow in single precision
        total += (a * a + b * b) * weight[i]
    return total


@_compiled
def _top(style, g, h, weight):
    """Return where the diagonal of what is left is largest."""
    best, where = -1.0, 0
    for i in range(weight.shape[0]):
        a = np.float64(g[i])
        b = np.float64(h[i]) if style > 0 else 0.0
        value = (a * a + b * b) * weight[i]
        if value > best:
            best, where = value, i
    return where


@_compiled
def _advance(kind, style, x, y, margin, g, h, pivot, Z, row, start, stop, n):
    """Eliminate a pivot from the modes start to stop; style 0: real, without y and h; 1: complex; 2: pairs."""
    s = slice(start, stop)
    if style == 0:
        _advance_real(kind, x[s], margin[s], g[s], pivot, Z[row, s])
    elif style == 1:
        _advance_complex(kind, x[s], y[s], margin[s], g[s], h[s], pivot, Z[row, 2 * start : 2 * stop])
    else:
        imag = slice(n + start, n + stop)
        first, second = Z[2 * row], Z[2 * row + 1]
        _advance_pair(kind, x[s], y[s], margin[s], g[s], h[s], pivot, first[s], first[imag], second[s], second[imag])


@_parallel
def greedy(kind, style, x, y, margin, weight, g, h, Z, chosen, traces, first, last, target):
    """Eliminate the largest mode of each system, steps first to last, until the trace is below its target.

    Systems that get there first go on with zero columns, and -1 as what was chosen.
    """
    n = x.shape[1]
    for k in numba.prange(x.shape[0]):
        pivot = np.empty(3, dtype=x.dtype)
        for step in range(first, last):
            traces[k, step] = trace(style, g[k], h[k], weight[k])
            if traces[k, step] <= target[k]:
                traces[k, step:last] = traces[k, step]
                Z[k, step * max(style, 1) : last * max(style, 1)] = 0
                chosen[k, step:last] = -1
                break
            p = _top(style, g[k], h[k], weight[k])
            chosen[k, step] = p
            pivot[0], pivot[1], pivot[2] = x[k, p], (y[k, p] if style > 0 else x[k, p]), margin[k, p]
            _advance(kind, style, x[k], y[k], margin[k], g[k], h[k], pivot, Z[k], step, 0, n, n)
        traces[k, last] = trace(style, g[k], h[k], weight[k])


@_parallel
def sweep(kind, style, x, y, margin, weight, g, h, pivots, Z, first, traces, tops):
    """Apply pivots to every piece of one system; leave the trace after each, and where each piece is largest."""
    n = x.shape[0]
    for piece in numba.prange(tops.shape[0]):
        start, stop = piece * PIECE, min(n, (piece + 1) * PIECE)
        for k in range(pivots.shape[0]):
            _advance(kind, style, x, y, margin, g, h, pivots[k], Z, first + k, start, stop, n)
            traces[piece, k] = trace(style, g[start:stop], h[start:stop], weight[start:stop])
        tops[piece] = start + _top(style, g[start:stop], h[start:stop], weight[start:stop])
