"""Squared Smith: the sum that defines the Gramian, doubled at each step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from .._arrays import Array, adjoint, identity, namespace, promote
from .._equations import Equation, Lyapunov
from .._errors import SingularEquationError
from .._solution import Solution, Status, judge, singular_solution
from ..backends import Backend

if TYPE_CHECKING:
    from jaxtyping import Float, Inexact


@dataclass(frozen=True)
class SquaredSmith:
    r"""$X = \sum_k A^k Q (A^k)^H$ with $X \leftarrow X + M X M^H,\; M \leftarrow M^2$.

    Needs matrix products only, so a batch is one call and every backend runs it; systems that have converged, or
    diverge, stand still while the others go on. Lyapunov equations become Stein equations by a Cayley transform first.
    A must be stable.

    Parameters
    ----------
    rtol
        Stop when a step changes X by less than this, relative; the dtype's eps if None.
    max_steps
        Doublings at most. An eigenvalue at distance d from the unit circle needs about log2(18 / d).

    References
    ----------
    R. A. Smith, SIAM J. Appl. Math. 16 (1968) 198-201.
    """

    needs: ClassVar[frozenset[str]] = frozenset({"array"})
    equations: ClassVar[frozenset[str]] = frozenset({"lyapunov", "stein"})
    structures: ClassVar[frozenset[str]] = frozenset({"dense"})
    right_sides: ClassVar[frozenset[str]] = frozenset({"dense"})
    descriptor: ClassVar[bool] = False
    rtol: float | None = None
    max_steps: int = 50

    def solve(self, equation: Equation, backend: Backend) -> Solution:
        """Sum until every system of the batch has converged or cannot."""
        A, Q = promote(equation.A, equation.Q)
        if isinstance(equation, Lyapunov):
            try:
                A, shifted, scale = cayley(A, backend)
            except SingularEquationError:
                return singular_solution(equation)
            Q = scale * (shifted @ Q @ adjoint(shifted))
        X, status, steps = self._sum(A, Q, backend)
        if status is Status.CONVERGED:
            return judge(equation, X, rtol=self.rtol or 0.0, steps=steps)
        return Solution(X, status, equation, steps)

    def _sum(self, A: Array, Q: Array, backend: Backend) -> tuple[Array, Status, int]:
        xp = namespace(A)
        rtol = backend.eps(Q) if self.rtol is None else self.rtol
        limit = 1 / backend.eps(Q)  # growth beyond it leaves no digit of X right
        X, power = Q + xp.zeros_like(A), A
        active = xp.ones(X.shape[:-2], dtype=xp.bool, device=X.device)
        diverged = ~active
        steps = 0
        while steps < self.max_steps and bool(xp.any(active)):
            grow = xp.where(active[..., None, None], power, xp.zeros_like(power))
            step = grow @ X @ adjoint(grow)
            X, power, steps = X + step, grow @ grow, steps + 1
            size, change, gain = backend.norm(X), backend.norm(step), backend.norm(power)
            diverged = diverged | ~((gain < limit) & (size <= limit * backend.norm(Q)))
            active = ~diverged & ~((change <= rtol * size) & (gain < 1)) & active
        if bool(xp.any(diverged)):
            return X, Status.DIVERGED, steps
        return X, Status.STEPS_EXHAUSTED if bool(xp.any(active)) else Status.CONVERGED, steps


def cayley(
    A: Inexact[Array, "*batch n n"], backend: Backend
) -> tuple[Inexact[Array, "*batch n n"], Inexact[Array, "*batch n n"], Float[Array, "*batch 1 1"]]:
    r"""Return $M = (pI + A)(pI - A)^{-1}$, $(pI - A)^{-1}$ and 2p: a Lyapunov equation as a Stein equation.

    $A X + X A^H + Q = 0$ becomes $M X M^H - X + 2p\,(pI - A)^{-1} Q (pI - A)^{-H} = 0$. The shift
    $p = (\lVert A\rVert / \lVert A^{-1}\rVert)^{1/2}$ treats the slowest and the fastest mode alike.

    Raises
    ------
    SingularEquationError
        If A is singular.
    """
    xp = namespace(A)
    eye = identity(A.shape[-1], like=A) + xp.zeros_like(A)
    p = xp.sqrt(backend.norm(A) / backend.norm(backend.solve(A, eye)))[..., None, None]
    shift = xp.astype(p, A.dtype) * eye
    inverse = backend.solve(shift - A, eye)
    return (shift + A) @ inverse, inverse, 2 * xp.astype(p, A.dtype)
