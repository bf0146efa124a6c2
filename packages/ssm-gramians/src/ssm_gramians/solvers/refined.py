"""Mixed precision: most of the work in single, the digits of double."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from .._arrays import Array, is_complex, namespace, promote
from .._equations import Equation, Lyapunov, RightSide, Stein
from .._solution import Solution, Status, judge
from ..backends import Backend
from ._base import Factorization
from .smith import SquaredSmith


@dataclass(frozen=True)
class Refined:
    r"""$X \leftarrow X + \mathcal{L}^{-1}_{32}(\mathcal{L} X + Q)$: residuals in double, solves in single precision.

    Pays where single precision is much the faster, as on consumer GPUs. Each correction shrinks the error by the
    condition of the equation times 1e-7. Where that is no shrinking, as with modes within about 1e-5 of the unit
    circle, the equation is solved in double precision after all. An equation in single precision is solved as it is.

    Parameters
    ----------
    solver
        What solves in single precision, and in double where corrections do not help.
    corrections
        At most; two are enough for a spectral radius up to 0.9999.

    References
    ----------
    P. Benner, X. Liu, arXiv 2510.02126 (2025).
    """

    needs: ClassVar[frozenset[str]] = frozenset({"array"})
    equations: ClassVar[frozenset[str]] = frozenset({"lyapunov", "stein"})
    structures: ClassVar[frozenset[str]] = frozenset({"dense"})
    right_sides: ClassVar[frozenset[str]] = frozenset({"dense"})
    descriptor: ClassVar[bool] = False
    solver: SquaredSmith = field(default_factory=SquaredSmith)
    corrections: int = 6

    def solve(self, equation: Equation, backend: Backend) -> Solution:
        """Solve in single precision, then correct."""
        return self.factor(equation, backend).solve(equation.Q)

    def factor(self, equation: Equation, backend: Backend) -> Factorization:
        """Do the work on A in single precision."""
        if namespace(equation.A).finfo(equation.A.dtype).bits == 32:
            return self.solver.factor(equation, backend)
        return RefinedFactorization(equation, self, backend)


class RefinedFactorization:
    """An equation in double precision with the factorisation of its operator in single.

    Parameters
    ----------
    equation
        With dense A, without E.
    refined
        The solver and the number of corrections.
    backend
        What computes.
    """

    def __init__(self, equation: Equation, refined: Refined, backend: Backend) -> None:
        self.equation, self._refined, self._backend = equation.with_right_side(None), refined, backend
        single = (Stein if isinstance(equation, Stein) else Lyapunov)(_single(equation.A))
        finite = bool(namespace(single.A).all(namespace(single.A).isfinite(single.A)))
        self._single = refined.solver.factor(single, backend) if finite else None

    def solve(self, Q: RightSide) -> Solution:
        """Solve the equation with this right-hand side."""
        return self._solve(self.equation.with_right_side(Q), dual=False)

    def solve_adjoint(self, Q: RightSide) -> Solution:
        """Solve the adjoint equation with this right-hand side."""
        return self._solve(self.equation.adjoint().with_right_side(Q), dual=True)

    def _solve(self, equation: Equation, *, dual: bool) -> Solution:
        X, last = self._correction(equation.Q, dual=dual), float("inf")
        for step in range(self._refined.corrections + 1):
            if X is None:
                break
            terms = promote(*equation.terms(X))
            rest, xp = sum(terms[1:], start=terms[0]), namespace(X)
            size = sum(self._backend.norm(term) for term in terms)
            share = self._backend.norm(rest) / xp.where(size > 0, size, xp.ones_like(size))
            worst = float(xp.max(share)) if 0 not in share.shape else 0.0
            if worst <= 4 * self._backend.eps(X) or not worst < last / 2:
                solution = judge(equation, X, steps=step)
                if solution.converged:
                    return solution
                break
            change = self._correction(rest, dual=dual)
            X, last = None if change is None else X + change, worst
        return self._refined.solver.solve(equation, self._backend)

    def _correction(self, R: Array, *, dual: bool) -> Array | None:
        """Return the single-precision solution for R, scaled to entries up to 1, in double; None if there is none."""
        if self._single is None:
            return None
        xp = namespace(R)
        size = xp.max(xp.abs(R), axis=(-2, -1))  # its square may be out of range
        size = xp.astype(xp.where(size > 0, size, xp.ones_like(size)), R.dtype)[..., None, None]
        solve = self._single.solve_adjoint if dual else self._single.solve
        solution = solve(_single(R / size))
        if solution.status in {Status.DIVERGED, Status.STEPS_EXHAUSTED, Status.SINGULAR}:
            return None
        return size * xp.astype(solution.value, xp.complex128 if is_complex(solution.value) else xp.float64)


def _single(M: Array) -> Array:
    xp = namespace(M)
    with np.errstate(over="ignore"):  # too large for single precision: seen by whoever asks whether it is finite
        return xp.astype(M, xp.complex64 if is_complex(M) else xp.float32)
