"""Gradients of Hankel singular values against differences of sixty digits, which use no code of ours."""

import mpmath
import numpy as np
import pytest
import torch

from ssm_balance import hankel_singular_values
from ssm_gramians import Diagonal, StateSpace

N, M, P = 4, 2, 1


def precise_values(A, B, C, dt):
    """σ of a dense system given as mpmath matrices, from the two equations as linear systems."""
    poles = A.rows
    eye = mpmath.eye(poles)

    def gramian(A, B):
        right, size = -(B * B.H), poles * poles
        operator = mpmath.matrix(size, size)
        for i in range(poles):
            for j in range(poles):
                for k in range(poles):
                    for l in range(poles):
                        a, b = A[i, k], mpmath.conj(A[j, l])
                        entry = a * b - eye[i, k] * eye[j, l] if dt else a * eye[j, l] + eye[i, k] * b
                        operator[i * poles + j, k * poles + l] = entry
        x = mpmath.lu_solve(operator, mpmath.matrix([right[i, j] for i in range(poles) for j in range(poles)]))
        return mpmath.matrix(poles, poles, [x[i] for i in range(size)]) if False else _square(x, poles)

    L = mpmath.cholesky(gramian(A, B))
    values = mpmath.eighe(L.H * gramian(A.H, C.H) * L, eigvals_only=True)
    return sorted((mpmath.sqrt(value) for value in values), reverse=True)


def _square(x, n):
    X = mpmath.matrix(n, n)
    for i in range(n):
        for j in range(n):
            X[i, j] = x[i * n + j]
    return (X + X.H) / 2


def precise_slope(arrays, directions, weights, dt, paired=False):
    """Derivative of Σ weight_i σ_i along a direction, by a central difference in sixty digits."""

    def value(t):
        A, B, C = (mpmath.matrix(X.tolist()) + t * mpmath.matrix(D.tolist()) for X, D in zip(arrays, directions))
        return mpmath.fdot(weights, precise_values(A, B, C, dt))

    with mpmath.workdps(60):
        step = mpmath.mpf(10) ** -20
        return float((value(step) - value(-step)) / (2 * step))
