"""Glover's embedding: a system that differs from the given one by σ times a part of an all-pass function."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from jaxtyping import Float, Inexact

_FLOOR = 1e3 * np.finfo(float).eps  # M = −C₂B₂ is the square of C₂: what is less is rounding


@dataclass(frozen=True, eq=False)
class Balanced:
    """A continuous system, both of whose Gramians are diag(sigma).

    Parameters
    ----------
    A, B, C, D
        In NumPy arrays.
    sigma
        Descending, none zero.
    """

    A: Inexact[np.ndarray, "n n"]
    B: Inexact[np.ndarray, "n m"]
    C: Inexact[np.ndarray, "p n"]
    D: Inexact[np.ndarray, "p m"]
    sigma: Float[np.ndarray, " n"]

    def group(self, k: int, rtol: float) -> slice:
        """Return the values that count as equal to the one at k, in a row without gaps.

        Apart from rtol relative, two values are equal if rounding, eps · n · σ₁, may have parted them.
        """
        width = rtol * self.sigma[k] + np.finfo(float).eps * self.sigma.size * self.sigma[0]
        near = np.flatnonzero(np.abs(self.sigma - self.sigma[k]) <= width)
        return slice(int(near[0]), int(near[-1]) + 1)


def embedding(system: Balanced, group: slice, *, complete: bool = False) -> Balanced:
    r"""‖G − Q‖_∞ = σ, where Q has as many stable poles as there are values above σ.

    Glover's formulas with their factor Γ⁻¹ = (Σ² − σ²)⁻¹ shared out as |Γ|^{-1/2} on both sides. They leave a choice
    if there are more inputs and outputs than values equal to σ: B₂ = −C₂ᴴ U determines U on the range of B₂ᴴ only. The
    least U is taken, which does not depend on coordinates.

    Parameters
    ----------
    system
        The balanced system G.
    group
        The values equal to σ: they disappear from Q.
    complete
        Make U unitary, if there are as many inputs as outputs: (G − Q)/σ is then all-pass, and the Gramians of Q are
        ±diag(sigma) again, minus for the antistable poles.

    References
    ----------
    K. Glover, Int. J. Control 39 (1984) 1115-1193, theorem 6.3.
    """
    kept = np.r_[: group.start, group.stop : system.sigma.size]
    S, sigma = system.sigma[kept], float(np.mean(system.sigma[group]))
    A, B, C = system.A[np.ix_(kept, kept)], system.B[kept], system.C[:, kept]
    U = _isometry(-system.C[:, group] @ system.B[group], complete)
    gamma = (S - sigma) * (S + sigma)
    column = 1 / np.sqrt(np.abs(gamma))
    row = (np.sign(gamma) * column)[:, None]
    outer = C.conj().T @ U
    A_Q = sigma**2 * A.conj().T + S[:, None] * A * S - sigma * outer @ B.conj().T
    return Balanced(
        row * A_Q * column,
        row * (S[:, None] * B + sigma * outer),
        (C * S + sigma * U @ B.conj().T) * column,
        system.D - sigma * U,
        S,
    )


def nearest_constant(system: Balanced, rtol: float) -> Inexact[np.ndarray, "p m"]:
    r"""Return K with ‖G − K‖_∞ ≤ Σ σ_i, equal values counted once.

    One value after another is taken off from the small end, each at an all-pass error of its size: what is left is
    stable and balanced, so that a step is O(n²). Zero inputs or outputs make the system square.

    Parameters
    ----------
    system
        Stable.
    rtol
        Values as near as this, relative, are equal.

    References
    ----------
    K. Glover, Int. J. Control 39 (1984) 1115-1193, section 9.
    """
    p, m = system.D.shape
    rows, columns = (0, max(m - p, 0)), (0, max(p - m, 0))
    B, C = np.pad(system.B, ((0, 0), columns)), np.pad(system.C, (rows, (0, 0)))
    square = Balanced(system.A, B, C, np.pad(system.D, (rows, columns)), system.sigma)
    while square.sigma.size:
        square = embedding(square, square.group(square.sigma.size - 1, rtol), complete=True)
    return square.D[:p, :m]


def _isometry(M: Inexact[np.ndarray, "p m"], complete: bool) -> Inexact[np.ndarray, "p m"]:
    """Return the polar factor of M, zero where M is; or completed by the nearest one to the identity there."""
    X, Y, _ = _singular_directions(M)
    if not complete:
        return X @ Y.conj().T
    rest = np.eye(M.shape[0]) - X @ X.conj().T, np.eye(M.shape[1]) - Y @ Y.conj().T
    X_rest, Y_rest, k = _singular_directions(rest[0] @ rest[1])
    U = X @ Y.conj().T + X_rest @ Y_rest.conj().T
    if X.shape[1] + k == M.shape[0]:
        return U
    X, _, Yh = np.linalg.svd(U)  # where the two complements are orthogonal every choice is as near
    return X @ Yh


def _singular_directions(M):
    X, sizes, Yh = np.linalg.svd(M, full_matrices=False)
    k = int(np.sum(sizes > _FLOOR * sizes.max(initial=0.0)))
    return X[:, :k], Yh[:k].conj().T, k
