"""The transfer function where H2 optimality looks at it: at the mirror images of poles."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy import sparse
from scipy.linalg import schur
from scipy.sparse.linalg import splu

from ssm_gramians import Diagonal, Sparse, StateSpace

from ._descriptor import without_descriptor
from ._host import on_host

if TYPE_CHECKING:
    from jaxtyping import Complex, Inexact

    Samples = tuple[Complex[np.ndarray, "k p m"], ...]


def kernel(
    x: Complex[np.ndarray, "*#shape"], y: Complex[np.ndarray, "*#shape"], discrete: bool
) -> Complex[np.ndarray, "*shape"]:
    """∫ e^{xt} e^{yt} dt = −1/(x + y), or Σ xᵏ yᵏ = 1/(1 − x y): the inner product of two modes."""
    return 1 / (1 - x * y) if discrete else -1 / (x + y)


def kernel_slopes(x, y, discrete):
    """Return ∂k/∂x, ∂²k/∂x² and ∂²k/∂x∂y."""
    k = kernel(x, y, discrete)
    if not discrete:
        return k**2, 2 * k**3, 2 * k**3
    return y * k**2, 2 * y**2 * k**3, (1 + x * y) * k**3


class MirroredResponse:
    """F(w) = ∫ h(t) e^{wt} dt = G(−w), or Σ_k h_{k+1} wᵏ = (G(1/w) − D)/w in discrete time, with two derivatives.

    For a stable mode λ it is ⟨e^{λ̄t}, h⟩ at w = λ, finite also where λ = 0. A dense system is brought to Schur form
    once; a diagonal one is summed over its modes; of a sparse one each point is a factorisation.

    Parameters
    ----------
    system
        One stable system, not a batch.
    """

    def __init__(self, system: StateSpace):
        is_sparse = isinstance(system.A, Sparse) or isinstance(system.E, Sparse)
        self.system = on_host(system if is_sparse else without_descriptor(system))
        self.discrete = self.system.is_discrete
        if is_sparse:
            self._sample = self._sparse
        elif isinstance(self.system.A, Diagonal):
            self._sample = self._diagonal
        else:
            dense = self.system.to_dense()
            self._triangular, basis = schur(dense.A, output="complex")
            self._B, self._C = basis.conj().T @ dense.B, dense.C @ basis
            self._sample = self._dense

    def __call__(self, points: Inexact[np.ndarray, " k"], derivatives: int = 0) -> Samples:
        """Return F, F′, … up to the derivative that is asked for, at most the second, each of shape (k, p, m)."""
        return self._sample(np.asarray(points, dtype=complex), derivatives)

    def _dense(self, points, derivatives):
        T, C = self._triangular, self._C
        ones = np.ones_like(points)
        first, second = (ones, -points) if self.discrete else (-points, -ones)
        X = np.broadcast_to(self._B[:, None, :], (T.shape[0], points.size, self._B.shape[1]))
        samples = []
        for k in range(derivatives + 1):
            X = _solve_pencil(T, first[:, None], second[:, None], X)  # (n, k, m)
            samples.append(max(k, 1) * (C @ X.transpose(1, 0, 2)))
            if self.discrete and k < derivatives:
                X = np.tensordot(T, X, 1)
        return tuple(samples)

    def _diagonal(self, points, derivatives):
        A, B, C = self.system.A, self.system.B, self.system.C
        samples = np.stack([self._modes(w, A.eigenvalues, B, C, derivatives) for w in points], axis=1)
        if A.paired:
            samples += np.stack(
                [self._modes(w, A.eigenvalues.conj(), B.conj(), C.conj(), derivatives) for w in points], 1
            )
        return tuple(samples)

    def _modes(self, w, poles, B, C, derivatives):
        weights = (kernel(w, poles, self.discrete), *kernel_slopes(w, poles, self.discrete)[:2])
        return np.stack([(C * weight) @ B for weight in weights[: derivatives + 1]])

    def _sparse(self, points, derivatives):
        A = sparse.csc_array(getattr(self.system.A, "matrix", self.system.A))
        E = self.system.E
        E = sparse.eye_array(A.shape[0], format="csc") if E is None else sparse.csc_array(getattr(E, "matrix", E))
        return tuple(np.stack([self._factorised(w, A, E, derivatives) for w in points], axis=1))

    def _factorised(self, w, A, E, derivatives):
        pencil, turn = (E - w * A, A) if self.discrete else (-w * E - A, E)
        solver = splu(sparse.csc_matrix(pencil, dtype=complex))
        X, samples = self.system.B.astype(complex), []
        for k in range(derivatives + 1):
            X = solver.solve(X if k == 0 else turn @ X)
            samples.append(max(k, 1) * (self.system.C @ X))
        return np.stack(samples)


def _solve_pencil(T, first, second, right):
    """(α I + β T) X = R for all (α, β) at once: above the diagonal T is the same for all."""
    n = T.shape[0]
    if n == 1:
        return right / (first + second * T[0, 0])
    h = n // 2
    lower = _solve_pencil(T[h:, h:], first, second, right[h:])
    moved = np.tensordot(T[:h, h:], lower, 1)
    upper = _solve_pencil(T[:h, :h], first, second, right[:h] - second * moved)
    return np.concatenate([upper, lower])
