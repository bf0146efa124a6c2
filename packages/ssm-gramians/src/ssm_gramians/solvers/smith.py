"""Squared Smith: the sum that defines the Gramian, doubled at each step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from .._equations import Equation
from .._gram import Gram
from .._solution import Solution
from ..backends import Backend
from ._smith_factorization import SmithFactorization


@dataclass(frozen=True)
class SquaredSmith:
    r"""$X = \sum_k A^k Q (A^k)^H$ with $X \leftarrow X + M X M^H,\; M \leftarrow M^2$.

    Needs matrix products only, so a batch is one call and every backend runs it; systems that have converged, or
    diverge, leave the batch. Lyapunov equations become Stein equations by a Cayley transform first. A must be stable.

    A right-hand side `Gram(B)` is summed as a factor, $Z = [B, AB, A^2 B, \dots]$: term by term while that is cheaper
    than squaring A, then doubled. Nothing is ever squared, so small singular values keep their digits.

    Parameters
    ----------
    rtol
        Stop when what is left of the series is smaller than this part of X, or of Z; the dtype's eps if None.
    max_steps
        Doublings at most. An eigenvalue at distance d from the unit circle needs about log2(18 / d), a factor one more.
        Where the first sixteen terms shrink too slowly for that, nothing is squared.
    truncate
        Singular values of Z, its rows scaled to norm one, are dropped below this part of the largest; 10 n eps, the
        level of rounding, if None. With 0 nothing is dropped.

    References
    ----------
    R. A. Smith, SIAM J. Appl. Math. 16 (1968) 198-201. T. Penzl, SIAM J. Sci. Comput. 21 (2000) 1401-1418.
    """

    needs: ClassVar[frozenset[str]] = frozenset({"array"})
    equations: ClassVar[frozenset[str]] = frozenset({"lyapunov", "stein"})
    structures: ClassVar[frozenset[str]] = frozenset({"dense"})
    right_sides: ClassVar[frozenset[str]] = frozenset({"dense", "gram"})
    descriptor: ClassVar[bool] = False
    rtol: float | None = None
    max_steps: int = 50
    truncate: float | None = None

    def solve(self, equation: Equation, backend: Backend) -> Solution:
        """Sum until every system of the batch has converged or cannot."""
        work = self.factor(equation, backend)
        assert equation.Q is not None
        one_each = not isinstance(equation.Q, Gram) and equation.A.shape[:-2] == equation.Q.shape[:-2]
        return work.solve_once(equation.Q) if one_each else work.solve(equation.Q)

    def factor(self, equation: Equation, backend: Backend) -> SmithFactorization:
        """Keep the powers of A, as they come up, for P, Q and gradients to share."""
        return SmithFactorization(equation, backend, rtol=self.rtol, max_steps=self.max_steps, truncate=self.truncate)
