"""The Cayley transform: a continuous-time equation as a discrete-time one with the same solution."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .._arrays import Array, identity, namespace
from ..backends import Backend
from ._directions import directions

if TYPE_CHECKING:
    from jaxtyping import Float, Inexact


def cayley(
    A: Inexact[Array, "*batch n n"], backend: Backend
) -> tuple[Inexact[Array, "*batch n n"], Inexact[Array, "*batch n n"], Float[Array, "*batch 1 1"]]:
    r"""Return $M = (pI + A)(pI - A)^{-1}$, $(pI - A)^{-1}$ and 2p: a Lyapunov equation as a Stein equation.

    $A X + X A^H + Q = 0$ becomes $M X M^H - X + 2p\,(pI - A)^{-1} Q (pI - A)^{-H} = 0$. The shift
    $p = (\lVert A\rVert / \lVert A^{-1}\rVert)^{1/2}$ treats the slowest and the fastest mode alike; of all the
    estimates of the best p that were tried it costs least, and one doubling more than the best one at most.

    Raises
    ------
    SingularEquationError
        If A is singular.
    """
    xp, eye = namespace(A), identity(A.shape[-1], like=A)
    p = xp.astype(shift(A, backend), A.dtype, copy=False)[..., None, None]
    inverse = backend.solve(p * eye - A, xp.broadcast_to(eye, A.shape))
    return (2 * p) * inverse - eye, inverse, 2 * p


def shift(A: Inexact[Array, "*batch n n"], backend: Backend) -> Float[Array, "*batch"]:
    r"""Return $(\lVert A\rVert / \lVert A^{-1}\rVert)^{1/2}$, the norms seen on two vectors: one LU decomposition.

    Raises
    ------
    SingularEquationError
        If A is singular.
    """
    xp = namespace(A)
    V = xp.broadcast_to(directions(A.shape[-1], like=A), (*A.shape[:-1], 2))
    return xp.sqrt(backend.norm(A @ V) / backend.norm(backend.solve(A, V)))
