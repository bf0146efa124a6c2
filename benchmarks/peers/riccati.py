"""Balancing from first principles, to judge by where others disagree: SciPy, refined in extended precision.

X = Xᴴ solves AᵀX + XA + Q − (XB + S) R⁻¹ (BᵀX + Sᵀ) = 0, with R⁻¹ = 0 for plain truncation. SciPy's solution is
corrected by Newton's method with the residual in `longdouble`, and factored in it, so that small values of the product
are not lost in a square root.
"""

from __future__ import annotations

import numpy as np
from peers.truncation import plain
from scipy import linalg

from ssm_gramians import StateSpace


def refined(system, order, kind, gain=1.0):
    """Return the reduction, kind being "truncation", "lqg", "bounded-real" or "positive-real"; continuous time."""
    if system.is_discrete:
        msg = "this reference is one of continuous time"
        raise NotImplementedError(msg)  # as pyMOR does: the table leaves out what a peer has not got
    A, B, C, D = plain(system)
    Z_P = factor(*(M.T for M in (A, C, B, D)), kind, gain)
    Z_Q = factor(A, B, C, D, kind, gain)
    U, sigma, Vh = linalg.svd((Z_Q.T @ Z_P).astype(float))
    root = np.sqrt(sigma[:order])
    left, right = (Z_Q @ U[:, :order] / root).astype(float), (Z_P @ Vh[:order].T / root).astype(float)
    return StateSpace(left.T @ A @ right, left.T @ B, C @ right, D)


def factor(A, B, C, D, kind, gain):
    """Return Z with X = Z Zᵀ, in extended precision."""
    eye = np.eye(B.shape[1])
    if kind == "truncation":
        parts = (A, B, C.T @ C, np.zeros_like(eye), np.zeros_like(B))
        return cholesky(_corrected(linalg.solve_continuous_lyapunov(A.T, -C.T @ C), parts))
    Q = np.zeros_like(A) if kind == "positive-real" else C.T @ C
    R = {"lqg": eye + D.T @ D, "bounded-real": D.T @ D - gain**2 * eye, "positive-real": -(D + D.T)}[kind]
    S = -C.T if kind == "positive-real" else C.T @ D
    X = linalg.solve_continuous_are(A, B, Q, R, s=S)
    return cholesky(_corrected(X, (A, B, Q, np.linalg.inv(R), S)))


def _corrected(X, parts):
    """Repeat Newton's step."""
    wide = [M.astype(np.longdouble) for M in parts]
    X = X.astype(np.longdouble)
    for _ in range(8):
        step = _newton(X, *wide)
        X = X + step
        if np.abs(step).max() <= 1e-18 * np.abs(X).max():
            break
    return X


def _newton(X, A, B, Q, R, S):
    gained = X @ B + S
    residual = A.T @ X + X @ A + Q - gained @ R @ gained.T
    closed = (A - B @ R @ gained.T).astype(float)
    size = np.abs(residual).max() or np.longdouble(1)
    step = linalg.solve_continuous_lyapunov(closed.T, -(residual / size).astype(float))
    return (step + step.T) / 2 * size


def cholesky(X):
    """Return Z with X ≈ Z Zᵀ by diagonal pivoting, until what is left is rounding."""
    X, columns = X.copy(), []
    floor = np.finfo(X.dtype).eps * len(X) * np.diag(X).max()
    for _ in range(len(X)):
        pivot = int(np.argmax(np.diag(X)))
        if X[pivot, pivot] <= floor:
            break
        columns.append(X[:, pivot] / np.sqrt(X[pivot, pivot]))
        X = X - np.outer(columns[-1], columns[-1])
    return np.array(columns).T
