r"""The small matrices of one chunk of T steps: what makes `H` recurrences out of matrix products.

Within a chunk, $y = K u + R x$ and $x^+ = \lambda^T x + W u$, where x is the state before the chunk,
$K_{ij} = \mathrm{Re}\sum c \lambda^{i-j}$ (lower triangular), $R_i = c \lambda^{i+1}$ and $W_j = \lambda^{T-1-j}$.
"""

from __future__ import annotations

import numpy as np

from ssm_zoo.scan.simd import loops


@loops
def fill(eigenvalues, C, D, toeplitz, drive, read, jump):
    """Fill the tables of some channels; powers are taken in double precision, so that they do not add their errors.

    Shapes: eigenvalues, C (g, 2n) in planes [re | im]; D (g,); toeplitz (g, T, T) from step to step; drive and read
    (g, T, 2n); jump (g, 2n), the T-th power.
    """
    channels, steps, width = drive.shape
    n = width // 2
    w_re, w_im = np.empty(n), np.empty(n)
    taps = np.empty(steps)
    for h in range(channels):
        w_re[:], w_im[:] = 1.0, 0.0
        for j in range(steps):
            tap = D[h] * 1.0 if j == 0 else 0.0
            for k in range(n):
                tap += C[h, k] * w_re[k] - C[h, n + k] * w_im[k]
                drive[h, steps - 1 - j, k], drive[h, steps - 1 - j, n + k] = w_re[k], w_im[k]
            taps[j] = tap
            _times(w_re, w_im, eigenvalues[h], n)
            for k in range(n):  # y = Re(v x) is [re v, -im v] in planes
                read[h, j, k] = C[h, k] * w_re[k] - C[h, n + k] * w_im[k]
                read[h, j, n + k] = -(C[h, k] * w_im[k] + C[h, n + k] * w_re[k])
        jump[h, :n], jump[h, n:] = w_re, w_im
        for i in range(steps):
            toeplitz[h, i, :i] = 0
            for j in range(i, steps):
                toeplitz[h, i, j] = taps[j - i]


@loops
def _times(w_re, w_im, eigenvalues, n):
    for k in range(n):
        a, b = w_re[k], w_im[k]
        w_re[k] = a * eigenvalues[k] - b * eigenvalues[n + k]
        w_im[k] = a * eigenvalues[n + k] + b * eigenvalues[k]


@loops
def gradients(eigenvalues, C, d_toeplitz, d_drive, d_read, d_jump, d_eigenvalues, d_C, d_D):
    r"""Add the gradients of eigenvalues, C and D, given those of the tables.

    With $\bar z = \partial\ell/\partial \mathrm{Re} z + i\,\partial\ell/\partial \mathrm{Im} z$ a product $v = cw$
    gives $\bar c = \bar v w^*$ and $\bar w = \bar v c^*$.
    """
    channels, steps, width = d_drive.shape
    n = width // 2
    w_re, w_im, p_re, p_im = np.empty(n), np.empty(n), np.empty(n), np.empty(n)
    sums = np.empty((4, n))
    taps = np.empty(steps)
    for h in range(channels):
        taps[:] = 0.0
        for i in range(steps):
            for j in range(i, steps):
                taps[j - i] += d_toeplitz[h, i, j]
        d_D[h] += taps[0]
        w_re[:], w_im[:], p_re[:], p_im[:] = 1.0, 0.0, 0.0, 0.0  # the power j, and j times the power j - 1
        sums[:] = 0.0
        for j in range(steps + 1):
            for k in range(n):
                v_re = taps[j] if j < steps else 0.0
                v_im = 0.0
                if j > 0:
                    v_re += d_read[h, j - 1, k]
                    v_im -= d_read[h, j - 1, n + k]
                sums[0, k] += v_re * w_re[k] + v_im * w_im[k]
                sums[1, k] += v_im * w_re[k] - v_re * w_im[k]
                g_re = v_re * C[h, k] + v_im * C[h, n + k]
                g_im = v_im * C[h, k] - v_re * C[h, n + k]
                if j < steps:
                    g_re += d_drive[h, steps - 1 - j, k]
                    g_im += d_drive[h, steps - 1 - j, n + k]
                else:
                    g_re += d_jump[h, k]
                    g_im += d_jump[h, n + k]
                sums[2, k] += g_re * p_re[k] + g_im * p_im[k]
                sums[3, k] += g_im * p_re[k] - g_re * p_im[k]
            _times(p_re, p_im, eigenvalues[h], n)
            p_re += w_re
            p_im += w_im
            _times(w_re, w_im, eigenvalues[h], n)
        for k in range(n):
            d_C[h, k] += sums[0, k]
            d_C[h, n + k] += sums[1, k]
            d_eigenvalues[h, k] += sums[2, k]
            d_eigenvalues[h, n + k] += sums[3, k]
