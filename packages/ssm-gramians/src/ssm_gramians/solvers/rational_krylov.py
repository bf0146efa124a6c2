"""Rational Krylov: Galerkin projection onto the space of ADI, with poles that adapt to what is missing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from .._arrays import Array
from .._equations import Equation
from .._gram import Gram
from .._pencil import Pencil
from .._solution import Solution, Status
from ..backends import Backend
from ._block_basis import BlockBasis
from ._low_rank import LowRankFactorization, Outcome
from ._poles import next_pole
from ._projected import ROUNDING, compressed, residual_estimate, solve_projected
from .shifts import generalized_eigenvalues, spectral_interval

if TYPE_CHECKING:
    from jaxtyping import Inexact


@dataclass(frozen=True)
class RationalKrylov:
    r"""$X = V Y V^H$ on the span of $(A - s_1 E)^{-1} B, (A - s_2 E)^{-1} E (A - s_1 E)^{-1} B, \ldots$.

    Each pole takes a factorisation, and the next is put where the rational function of all poles and Ritz values is
    largest on their convex hull. The fewest columns of all low-rank solvers: for systems of moderate size, or far from
    normal ones, where a factorisation costs no more than a dozen solves.

    Parameters
    ----------
    rtol
        Stop when $\lVert R\rVert_F \le$ rtol $\lVert B B^H\rVert_F$ for the residual R of the equation.
    max_steps
        Poles at most, a conjugate pair counted once.

    References
    ----------
    V. Druskin, V. Simoncini, Systems Control Lett. 60 (2011) 546-560.
    """

    needs: ClassVar[frozenset[str]] = frozenset({"sparse"})
    equations: ClassVar[frozenset[str]] = frozenset({"lyapunov", "stein"})
    structures: ClassVar[frozenset[str]] = frozenset({"dense", "diagonal", "matrix_free", "sparse"})
    right_sides: ClassVar[frozenset[str]] = frozenset({"gram"})
    descriptor: ClassVar[bool] = True
    rtol: float = 1e-10
    max_steps: int = 100

    def solve(self, equation: Equation, backend: Backend) -> Solution:
        """Enlarge the space until the residual is small enough; a batch is a loop."""
        assert isinstance(equation.Q, Gram)
        return self.factor(equation, backend).solve(equation.Q)

    def factor(self, equation: Equation, backend: Backend) -> LowRankFactorization:
        """Return what keeps the factorisations for more right-hand sides; they are made when first needed."""
        del backend
        return LowRankFactorization(equation.with_right_side(None), self._iterate)

    def _iterate(self, pencil: Pencil, B: Array) -> Outcome:
        pencil.check_regular()
        limit = self.rtol * float(np.linalg.norm(B.conj().T @ B))
        space = _Space(pencil, B)
        target, status = 0.8 * limit, Status.STEPS_EXHAUSTED  # the rest is for the columns that are left out
        for steps in range(1, self.max_steps + 1):
            grown = space.expand()
            if grown and steps % 2 and steps < self.max_steps:
                continue  # a check costs more than a solve
            Y, residual = space.solve()
            if residual <= target:
                outcome = space.outcome(Y, 0.2 * limit, Status.CONVERGED, steps)
                found = residual_estimate(pencil, outcome.Z, B)
                if found <= limit:
                    return outcome
                status, target = Status.INACCURATE, target * 0.3 * limit / found
            if not grown or residual <= 1e-3 * target:
                break
        if Y is None or space.ritz.real.max() > 0:
            status = Status.DIVERGED
        return space.outcome(Y, 0.2 * limit, status, steps)


class _Space:
    """The basis V, F V, G V and the projections of F and G; the last block makes the next vectors."""

    def __init__(self, pencil: Pencil, B: Inexact[Array, "n m"]) -> None:
        dtype = np.result_type(B.dtype, np.complex128 if pencil.is_complex else np.float64)
        self.pencil, self.B = pencil, B.astype(dtype, copy=False)
        self.basis = BlockBasis(pencil.order, None, None, dtype)
        self.FV = np.zeros((pencil.order, 0), dtype=dtype)
        self.GV = np.zeros((pencil.order, 0), dtype=dtype)
        self.interval = spectral_interval(pencil, 12)
        self.poles: list[complex] = []
        self.ritz = np.zeros(0, dtype=np.complex128)

    @property
    def V(self) -> Inexact[Array, "n k"]:
        """Return the basis."""
        return self.basis.rows.T

    def expand(self) -> int:
        """Add the vectors of one more pole and return how many were new."""
        pairs = self.FV.dtype == np.float64
        s = next_pole(-self.ritz.conj(), np.asarray(self.poles), self.interval, real=self.pencil.hermitian, pairs=pairs)
        self.poles += [s, s.conjugate()] if pairs and s.imag else [s]
        start = self.B if len(self.basis.ends) == 1 else self.GV[:, -self.B.shape[1] :]
        block = self.pencil.solve(-s if s.imag else -s.real, np.asfortranarray(start))
        block = np.concatenate((block.real, block.imag), axis=1) if pairs and s.imag else block
        self.basis.append(block.T, block.T[:0])
        new = self.basis.last.T
        self.FV = np.concatenate((self.FV, self.pencil.left(new)), axis=1)
        self.GV = np.concatenate((self.GV, self.pencil.right(new)), axis=1)
        self.F, self.G = self.V.conj().T @ self.FV, self.V.conj().T @ self.GV
        self.ritz = generalized_eigenvalues(self.F, self.G)
        return new.shape[1]

    def solve(self) -> tuple[Inexact[Array, "k k"] | None, float]:
        """Return the solution of the projected equation, if there is one, and the norm of the residual of X."""
        hermitian = self.pencil.hermitian and self.pencil.right_is_identity
        T, b = self.F, self.V.conj().T @ self.B
        if not hermitian:
            T, b = np.linalg.solve(self.G, T), np.linalg.solve(self.G, b)
        projected = solve_projected((T + T.conj().T) / 2 if hermitian else T, b, hermitian=hermitian)
        if projected is None:
            return None, np.inf
        Q, R = np.linalg.qr(np.concatenate((self.GV, self.B), axis=1))  # F V lies in the span, too
        f, g, b = Q.conj().T @ self.FV, R[:, : self.FV.shape[1]], R[:, self.FV.shape[1] :]
        half = f @ projected.Y @ g.conj().T
        rounding = ROUNDING * float(np.finfo(np.float64).eps * np.linalg.norm(half))
        return projected.Y, max(float(np.linalg.norm(half + half.conj().T + b @ b.conj().T)) - rounding, 0.0)

    def outcome(self, Y: Inexact[Array, "k k"] | None, budget: float, status: Status, steps: int) -> Outcome:
        """Return the factor of X, of as few columns as the budget allows."""
        if Y is None:
            return Outcome(np.full(self.B.shape, np.nan), Status.SINGULAR, steps)
        s, U = np.linalg.eigh(Y)
        if status is Status.CONVERGED and s[0] < -1e-8 * np.abs(s).max():
            status = Status.DIVERGED  # an exact solution, but no Gramian
        Z = self.V @ (U[:, s > 0] * np.sqrt(s[s > 0])) if (s > 0).any() else 0 * self.B
        return Outcome(compressed(self.pencil, Z, budget), status, steps)
