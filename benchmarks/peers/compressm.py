"""The recipe of CompreSSM as its authors published it, re-stated in NumPy and SciPy for comparison.

It differs from ours on purpose, step by step as their code does: float32 parameters, the complex half of the system
(the real part in y = Re(C x) is forgotten), Hankel singular values as square roots of eig(P Q) with NaN set to zero,
a full matrix square root, a full SVD, a full inverse, and nothing checked afterwards. arXiv 2510.02823.
"""

from __future__ import annotations

import numpy as np
import scipy.linalg


def gramians(lam, B, C):
    """P = B Bᴴ ∘ 1/(1 − λ λᴴ), Q = Cᴴ C ∘ 1/(1 − λ̄ λᵀ)."""
    pairs = np.kron(lam, np.conj(lam)).reshape(len(lam), -1)
    return (B @ B.conj().T) / (1 - pairs), (C.conj().T @ C) / (1 - pairs.conj())


def hankel_singular_values(lam, B, C):
    """√eig(P Q), descending, complex64 arithmetic; what is NaN counts as zero."""
    P, Q = gramians(lam, B, C)
    with np.errstate(invalid="ignore"):
        values = np.sqrt(np.linalg.eigvals(P @ Q).real)
    return np.sort(np.nan_to_num(values))[::-1]


def reduce(lam, B, C, order):
    """T = P^½ U S^{-¼} from U S Vᴴ = P^½ Q P^½; leading states of (T⁻¹ Λ T, T⁻¹ B, C T), made diagonal again."""
    P, Q = gramians(lam, B, C)
    root = scipy.linalg.sqrtm(P + 1e-9 * np.eye(len(lam)))
    U, S, _ = np.linalg.svd(root @ Q @ root)
    T = root @ U @ np.diag(S**-0.25)
    T_inverse = np.linalg.inv(T)
    A = (T_inverse @ np.diag(lam) @ T)[:order, :order]
    poles, X = scipy.linalg.eig(A)
    return poles, np.linalg.inv(X) @ (T_inverse @ B)[:order], (C @ T)[:, :order] @ X


def order_for(values, tau):
    """Return the smallest order whose values sum to (1 − τ) of all."""
    return int(np.argmax(np.cumsum(values) / values.sum() >= 1 - tau)) + 1
