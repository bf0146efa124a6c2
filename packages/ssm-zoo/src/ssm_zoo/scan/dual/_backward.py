"""The gradients of one sequence of one group of heads, from the last chunk to the first; glossary in `_forward.py`.

Λ is the gradient of the state after the chunk, (P, N). With d for "gradient of" and u = dt x:

    du = (G ⊙ E)ᵀ dy + 2**(s_q - s_j) B Λᵀ            dB = 2**(s_q - s_j) u Λ + (dG)ᵀ C
    dG = Σ E ⊙ (dy uᵀ), over the heads                dC = 2**s_i dy H + dG B

The gradient of the log of a step's decay is the sum of what crosses the step k: pairs i >= k > j inside the chunk, the
state before on its way to i >= k, j < k on its way to the state after, and the one state on its way to the other.
"""

from __future__ import annotations

import numpy as np

from ssm_zoo.scan.products import (
    BELOW,
    FULL,
    LOWER,
    START,
    UNIT,
    UPPER,
    add_product,
    clear,
    deliver,
    dot,
    fetch,
    peek,
    poke,
    scale,
    set_product,
    transpose,
)
from ssm_zoo.scan.simd import LINE_BYTES, fill, fma, kernel, load, number, store, total

from ._forward import CHUNK, decays, factors, fading, rows_of, triangle, wide


@kernel
def backward(
    heads, lengths, sizes, x, x_of, dt, dt_of, A, B, B_of, C, C_of, D, checkpoints, dy, dy_of, adjoints, kept,
    dx, ddt, dA, dB, dC, dD, b, g, part, keep,
):  # fmt: skip
    """Fill in the gradients; `adjoints` is the last state's gradient and becomes the first one's."""
    P, N, n_heads, batch, groups = sizes
    length, padded = lengths
    P_w, N_w = wide(P, x), wide(N, x)
    first, end = heads
    mask, strict = triangle(x, 0), triangle(x, -1)
    B_c, C_c = np.empty(CHUNK * N_w, x.dtype), np.empty(CHUNK * N_w, x.dtype)
    dB_c, dC_c, T = np.empty(CHUNK * N_w, x.dtype), np.empty(CHUNK * N_w, x.dtype), np.empty(CHUNK * N_w, x.dtype)
    B_t, X_t = np.zeros(N * CHUNK, x.dtype), np.zeros(P * CHUNK, x.dtype)
    G, dG = np.zeros(CHUNK * CHUNK, x.dtype), np.zeros(CHUNK * CHUNK, x.dtype)
    K, pairs = np.zeros(CHUNK * CHUNK, x.dtype), np.zeros(CHUNK * CHUNK, x.dtype)
    X, Y = np.empty(CHUNK * P_w, x.dtype), np.empty(CHUNK * P_w, x.dtype)
    U = np.empty(CHUNK * P_w, x.dtype)
    adjoint, adjoint_t = np.zeros((end - first) * P * N_w, x.dtype), np.zeros(N * P_w, x.dtype)
    high, low, steps = np.empty(CHUNK, x.dtype), np.empty(CHUNK, x.dtype), np.empty(CHUNK, x.dtype)
    since, until = np.empty(CHUNK, x.dtype), np.empty(CHUNK, x.dtype)
    later, across = np.empty(CHUNK, x.dtype), np.empty(CHUNK, x.dtype)
    arriving, leaving = np.empty(CHUNK, x.dtype), np.empty(CHUNK, x.dtype)
    for row in range((end - first) * P):
        fetch(adjoint, row * N_w, adjoints, ((b * n_heads + first) * P + row) * N, N)
    chunks = (padded + CHUNK - 1) // CHUNK
    for c in range(chunks - 1, -1, -1):
        t0 = c * CHUNK
        rows = max(0, min(CHUNK, length - t0))
        if keep:
            for row in range((end - first) * P):
                deliver(kept, (((b * chunks + c) * n_heads + first) * P + row) * N, adjoint, row * N_w, N)
        if rows == 0:
            continue
        rows_of(B, b * B_of[0] + t0 * B_of[1] + g * B_of[2], B_of[1], rows, N, B_c, N_w)
        rows_of(C, b * C_of[0] + t0 * C_of[1] + g * C_of[2], C_of[1], rows, N, C_c, N_w)
        transpose(B_t, START, CHUNK, B_c, START, N_w, CHUNK, N)
        set_product(G, START, CHUNK, C_c, START, N_w, UNIT, B_t, START, CHUNK, rows, CHUNK, N, BELOW)
        clear(dG, START, CHUNK, CHUNK, CHUNK)
        clear(dB_c, START, N_w, CHUNK, N_w)
        clear(dC_c, START, N_w, CHUNK, N_w)
        for h in range(first, end):
            here, before = (h - first) * P * N_w, ((b * chunks + c) * n_heads + h) * P * N_w
            decays(dt, b * dt_of[0] + t0 * dt_of[1] + h * dt_of[2], dt_of[1], A[h], rows, high, low, steps)
            factors(high, low, steps, since, until)
            rows_of(x, b * x_of[0] + t0 * x_of[1] + h * x_of[2], x_of[1], rows, P, X, P_w)
            rows_of(dy, b * dy_of[0] + t0 * dy_of[1] + h * dy_of[2], dy_of[1], rows, P, Y, P_w)
            transpose(X_t, START, CHUNK, X, START, P_w, CHUNK, P)
            set_product(pairs, START, CHUNK, Y, START, P_w, UNIT, X_t, START, CHUNK, rows, CHUNK, P, BELOW)
            _through_pairs(G, pairs, high, low, steps, mask, strict, K, dG, later, across, rows)
            # B Λᵀ, and then all of du
            transpose(adjoint_t, START, P_w, adjoint, here, N_w, P, N)
            set_product(U, START, P_w, B_c, START, N_w, UNIT, adjoint_t, START, P_w, rows, P_w, N, FULL)
            for t in range(rows):
                scale(U, t * P_w, P_w, until[t])
                leaving[t] = steps[t] * dot(X, t * P_w, U, t * P_w, P_w)
            add_product(U, START, P_w, K, START, UNIT, CHUNK, Y, START, P_w, rows, P_w, rows, UPPER)
            at_ddt, at_dD = (b * padded + t0) * n_heads + h, (b * n_heads + h) * P_w
            for t in range(rows):
                poke(ddt, at_ddt + t * n_heads, dot(X, t * P_w, U, t * P_w, P_w))
                _row(U, X, Y, t * P_w, steps[t], until[t], since[t], D, h * P_w, dD, at_dD, P_w)
                deliver(dx, ((b * padded + t0 + t) * n_heads + h) * P, U, t * P_w, P)
            add_product(dB_c, START, N_w, X, START, P_w, UNIT, adjoint, here, N_w, rows, N_w, P, FULL)
            set_product(T, START, N_w, Y, START, P_w, UNIT, checkpoints, before, N_w, rows, N_w, P, FULL)
            for t in range(rows):
                arriving[t] = dot(T, t * N_w, C_c, t * N_w, N_w)
                _add(dC_c, t * N_w, T, t * N_w, N_w)
            passing = since[CHUNK - 1] * dot(adjoint, here, checkpoints, before, P * N_w)
            for p in range(P):
                scale(adjoint, here + p * N_w, N_w, since[CHUNK - 1])
            add_product(adjoint, here, N_w, Y, START, UNIT, P_w, C_c, START, N_w, P, N_w, rows, FULL)
            dA[b * n_heads + h] += _through_decays(
                ddt, at_ddt, n_heads, A[h], steps, across, arriving, leaving, passing, rows
            )
        add_product(dC_c, START, N_w, dG, START, CHUNK, UNIT, B_c, START, N_w, rows, N_w, rows, LOWER)
        add_product(dB_c, START, N_w, dG, START, UNIT, CHUNK, C_c, START, N_w, rows, N_w, rows, UPPER)
        for t in range(rows):
            at = (((part * batch + b) * padded + t0 + t) * groups + g) * N
            deliver(dB, at, dB_c, t * N_w, N)
            deliver(dC, at, dC_c, t * N_w, N)
    for row in range((end - first) * P):
        deliver(adjoints, ((b * n_heads + first) * P + row) * N, adjoint, row * N_w, N)


@kernel
def _through_pairs(G, pairs, high, low, steps, mask, strict, K, dG, later, across, rows):
    """K = G ⊙ E, dG += E ⊙ pairs ⊙ dt, and what of G ⊙ dG crosses each step, from i >= k to j < k.

    `later` holds what comes to each j from the rows so far: differences of sums over rows and columns, the usual way,
    would lose digits.
    """
    width = LINE_BYTES // G.itemsize
    for j in range(0, CHUNK, width):
        store(later, j, number(load(G, 0), 0.0))
    for i in range(rows - 1, -1, -1):
        found = number(load(G, 0), 0.0)
        for j in range(0, i + 1, width):
            at = i * CHUNK + j
            E = fading(high, low, i, j)
            before = number(E, 1.0)
            if j + width > i:
                E, before = E * load(mask, (i - j) * width), load(strict, (i - j) * width)
            through = load(pairs, at) * E * load(steps, j)
            so_far = load(later, j) + through * load(G, at) * before
            found = fma(so_far, before, found)
            store(later, j, so_far)
            store(dG, at, load(dG, at) + through)
            store(K, at, load(G, at) * E)
        across[i] = total(found)


@kernel
def _row(U, X, Y, at, step, until, since, D, d, dD, to, columns):
    """U becomes dx = dt du + D dy, X what dB takes, Y what dC takes; dD gets its share."""
    for k in range(0, columns, LINE_BYTES // U.itemsize):
        dy, x = load(Y, at + k), load(X, at + k)
        store(dD, to + k, fma(dy, x, load(dD, to + k)))
        store(U, at + k, fma(fill(step), load(U, at + k), load(D, d + k) * dy))
        store(X, at + k, fill(step * until) * x)
        store(Y, at + k, fill(since) * dy)


@kernel
def _add(out, o, a, a0, columns):
    for k in range(0, columns, LINE_BYTES // out.itemsize):
        store(out, o + k, load(out, o + k) + load(a, a0 + k))


@kernel
def _through_decays(ddt, at, step_of, A, steps, across, arriving, leaving, passing, rows):
    """Add A times the gradient of the log decays to ddt, and return what A gains."""
    left = 0.0
    for t in range(rows):  # what has left the steps before t
        own = leaving[t]
        leaving[t] = left
        left += own
    arrived, dA = np.float64(passing), 0.0
    for t in range(rows - 1, -1, -1):
        arrived += arriving[t]
        gradient = arrived + across[t] + leaving[t]
        poke(ddt, at + t * step_of, peek(ddt, at + t * step_of) + A * gradient)
        dA += gradient * steps[t]
    return dA
