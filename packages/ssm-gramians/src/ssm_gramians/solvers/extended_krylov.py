"""Extended Krylov: projection onto powers of A and of its inverse, with one factorisation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from .._arrays import Array
from .._equations import Equation
from .._gram import Gram
from .._pencil import Pencil
from .._solution import Solution, Status
from ..backends import Backend
from ._block_basis import NotPositiveError
from ._extended_space import ExtendedSpace, GeneralSpace, HermitianSpace
from ._low_rank import LowRankFactorization, Outcome
from ._projected import Projected, residual_estimate, solve_projected, thin_factor


@dataclass(frozen=True)
class ExtendedKrylov:
    r"""$X = V Y V^H$ on the space of $A^{-j} B, \ldots, A^{j-1} B$, as a factor of few columns.

    One sparse factorisation, of A; a second one of E if there is one. A Stein equation takes two, of A - E and A + E,
    whose space is that of its Cayley transform. Each step costs a solve and a product for each column of B. Hermitian
    matrices get short recurrences. The method of choice where a factorisation is dear against a solve; A should be
    dissipative, or nearly: else rational Krylov spaces or ADI are safer.

    Parameters
    ----------
    rtol
        Stop when $\lVert R\rVert_F \le$ rtol $\lVert B B^H\rVert_F$ for the residual R of the equation.
        What the rounding of its terms explains is taken off first: solutions far larger than $B B^H$ reach no less.
    max_steps
        Blocks of the space at most; each has two vectors for every column of B.

    References
    ----------
    V. Simoncini, SIAM J. Sci. Comput. 29 (2007) 1268-1288. V. Druskin, L. Knizhnerman, SIAM J. Matrix Anal. Appl. 19
    (1998) 755-771.
    """

    needs: ClassVar[frozenset[str]] = frozenset({"sparse"})
    equations: ClassVar[frozenset[str]] = frozenset({"lyapunov", "stein"})
    structures: ClassVar[frozenset[str]] = frozenset({"dense", "diagonal", "matrix_free", "sparse"})
    right_sides: ClassVar[frozenset[str]] = frozenset({"gram"})
    descriptor: ClassVar[bool] = True
    rtol: float = 1e-10
    max_steps: int = 150

    def solve(self, equation: Equation, backend: Backend) -> Solution:
        """Enlarge the space until the residual is small enough; a batch is a loop."""
        assert isinstance(equation.Q, Gram)
        return self.factor(equation, backend).solve(equation.Q)

    def factor(self, equation: Equation, backend: Backend) -> LowRankFactorization:
        """Return what keeps the factorisations for more right-hand sides; they are made when first needed."""
        del backend
        return LowRankFactorization(equation.with_right_side(None), self._iterate)

    def _iterate(self, pencil: Pencil, B: Array) -> Outcome:
        if pencil.hermitian:
            try:
                return self._project(HermitianSpace(pencil, B), B)
            except NotPositiveError:
                pass
        return self._project(GeneralSpace(pencil, B), B)

    def _project(self, space: ExtendedSpace, B: Array) -> Outcome:
        limit = self.rtol * float(np.linalg.norm(B.conj().T @ B))
        target, check, seen = 0.8 * limit, 2, (0, np.inf)  # the rest is for the columns that are left out
        status = Status.STEPS_EXHAUSTED
        for steps in range(1, self.max_steps + 1):
            grown = space.expand()
            if grown and steps < min(check, self.max_steps):
                continue
            projected = solve_projected(space.T, space.b, hermitian=space.hermitian)
            residual = np.inf if projected is None else space.residual_norm(projected.Y)
            if residual <= target:
                outcome, found = self._verified(space, projected, B, limit, steps)
                if found <= limit:
                    return outcome
                status, target = Status.INACCURATE, target * 0.3 * limit / found
            if not grown or residual <= 1e-3 * target or _hopeless(space, projected):
                break
            check, seen = _next_check(steps, residual / target, seen), (steps, residual / target)
        if projected is None or projected.rightmost > 0:
            status = Status.DIVERGED
        return _outcome(space, projected, self.rtol, status, steps)

    def _verified(
        self, space: ExtendedSpace, projected: Projected | None, B: Array, limit: float, steps: int
    ) -> tuple[Outcome, float]:
        """Return the outcome and its residual, after a second projection where the first one has lost too much."""
        outcome = _outcome(space, projected, self.rtol, Status.CONVERGED, steps)
        found = residual_estimate(space.pencil, outcome.Z, B)
        if found <= limit or not isinstance(space, GeneralSpace):
            return outcome, found
        space.refresh()
        projected = solve_projected(space.T, space.b, hermitian=False)
        outcome = _outcome(space, projected, self.rtol, Status.CONVERGED, steps)
        return outcome, residual_estimate(space.pencil, outcome.Z, B)


def _hopeless(space: ExtendedSpace, projected: Projected | None) -> bool:
    """Say whether there is an unstable mode: a Hermitian matrix has an eigenvalue to the right of each Ritz value."""
    if projected is None or not space.hermitian:
        return False
    return projected.rightmost > 1e4 * float(np.finfo(np.float64).eps * np.abs(space.T).max())


def _next_check(steps: int, excess: float, seen: tuple[int, float]) -> int:
    """Return the step at which the residual may be small enough, by the decay since the last check."""
    if not excess < seen[1] < np.inf:
        return steps + 3
    rate = np.log(seen[1] / excess) / (steps - seen[0])
    return steps + min(max(int(0.8 * np.log(max(excess, 1.0)) / rate), 1), 10)


def _outcome(space: ExtendedSpace, projected: Projected | None, rtol: float, status: Status, steps: int) -> Outcome:
    """Return the factor of the projected solution, of as few columns as the tolerance allows."""
    if projected is None:
        return Outcome(np.full((space.V.shape[1], 1), np.nan), Status.SINGULAR, steps)
    # In the inner product of G lengths differ from Euclidean ones: leave room for it.
    budget = (0.2 if space.pencil.right_is_identity else 0.02) * rtol
    image = np.concatenate((space.T, _coupling_row(space)))
    W, positive = thin_factor(projected.Y, image, budget * float(np.linalg.norm(space.start.conj().T @ space.start)))
    if status is Status.CONVERGED and not positive:
        status = Status.DIVERGED  # a solution of the equation, but no Gramian
    return Outcome(space.V.T @ W, status, steps)


def _coupling_row(space: ExtendedSpace) -> Array:
    row = np.zeros((len(space.coupling), space.size), dtype=space.dtype)
    if space.coupling.size:
        row[:, -space.coupling.shape[1] :] = space.coupling
    return row
