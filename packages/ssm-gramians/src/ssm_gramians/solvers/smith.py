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


def stein_factor(
    A: Inexact[Array, "*batch n n"], B: Inexact[Array, "*batch n m"], backend: Backend, *, max_steps: int = 50
) -> Inexact[Array, "*batch n k"] | None:
    r"""Return Z with $A Z Z^H A^H - Z Z^H + B B^H = 0$, without ever forming $Z Z^H$; None if it does not converge.

    $Z \leftarrow [Z, M Z]$, compressed to n columns by a QR decomposition of $Z^H$, which keeps the digits of each row.
    """
    eps = backend.eps(A)
    Z, power = B, A
    for _ in range(max_steps):
        step = power @ Z
        Z, power = compress(step, Z), power @ power
        size, change, gain = backend.norm(Z), backend.norm(step), backend.norm(power)
        if bool(namespace(A).all((change <= eps * size) & (gain < 1))):
            return Z
        if not bool(namespace(A).all(gain < 1 / eps)):
            return None
    return None


def horizon_factor(
    A: Inexact[Array, "*batch n n"], B: Inexact[Array, "*batch n m"], horizon: int, *, average: bool
) -> Inexact[Array, "*batch n k"]:
    r"""Return Z with $Z Z^H = \sum_{k<L} w_k A^k B (A^k B)^H$, $w_k = 1$, or $1 - k/L$ for the average over 1..L.

    The sum is doubled along the bits of L, on factors; A need not be stable.
    """
    total, mean, power, length = B, B, A, 1  # squares: sum over k < length; sum of those sums up to length
    for bit in bin(horizon)[3:]:
        mean = compress(mean, length**0.5 * total, power @ mean)
        total, power, length = compress(total, power @ total), power @ power, 2 * length
        if bit == "1":
            total, power, length = compress(B, A @ total), A @ power, length + 1
            mean = compress(mean, total)
    return mean / horizon**0.5 if average else total


def compress(*factors: Inexact[Array, "*batch n k"]) -> Inexact[Array, "*batch n r"]:
    r"""Return Z with at most n columns and $Z Z^H = \sum_i Z_i Z_i^H$."""
    xp = namespace(*factors)
    Z = xp.concat(factors, axis=-1)
    return Z if Z.shape[-1] <= Z.shape[-2] else adjoint(xp.linalg.qr(adjoint(Z), mode="reduced")[1])
