"""The Cayley transform: a continuous-time equation as a discrete-time one with the same solution."""

from __future__ import annotations

from typing import TYPE_CHECKING

import array_api_compat

from .._arrays import Array, identity, namespace, real_dtype
from ..backends import Backend

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
    eye = identity(A.shape[-1], like=A)
    p = namespace(A).astype(shift(A, backend), A.dtype)[..., None, None]
    inverse = backend.solve(p * eye - A, eye + namespace(A).zeros_like(A))
    return 2 * p * inverse - eye, inverse, 2 * p


def shift(A: Inexact[Array, "*batch n n"], backend: Backend) -> Float[Array, "*batch"]:
    r"""Return $(\lVert A\rVert / \lVert A^{-1}\rVert)^{1/2}$, the norms seen on two vectors: one LU decomposition.

    Raises
    ------
    SingularEquationError
        If A is singular.
    """
    xp = namespace(A)
    V = directions(A)
    return xp.sqrt(backend.norm(A @ V) / backend.norm(backend.solve(A, V + xp.zeros_like(A[..., :1]))))


def directions(A: Inexact[Array, "*batch n n"]) -> Inexact[Array, "n 2"]:
    """Return two vectors of entries in (-1, 1) that follow no pattern: cosines of squares."""
    xp = namespace(A)
    k = xp.arange(1, A.shape[-1] + 1, dtype=real_dtype(A), device=array_api_compat.device(A))
    return xp.astype(xp.stack((xp.cos(k * k), xp.cos(k * k + k)), axis=-1), A.dtype)
