"""The small equation of a projection method, and the thin factor that it gives."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from .._arrays import Array
from .._equations import Lyapunov
from .._pencil import Pencil
from .._solution import Status
from ..backends import get_backend
from .bartels_stewart import BartelsStewart

if TYPE_CHECKING:
    from jaxtyping import Inexact


# Terms that cancel leave this many units of rounding: solutions far larger than B B^H reach no smaller residual.
ROUNDING = 1e3


class Projected(NamedTuple):
    """The solution of a projected equation and the eigenvalue of the projection that is farthest to the right."""

    Y: Inexact[Array, "k k"]
    rightmost: float


def solve_projected(T: Inexact[Array, "k k"], b: Inexact[Array, "k m"], *, hermitian: bool) -> Projected | None:
    """Return Y with $T Y + Y T^H + b b^H = 0$; None if two eigenvalues cancel."""
    if hermitian:
        values, W = np.linalg.eigh(T)
        c = W.conj().T @ b
        sums = values[:, None] + values[None, :]
        if not sums.all():
            return None
        return Projected(W @ (-(c @ c.conj().T) / sums) @ W.conj().T, float(values[-1]))
    solution = BartelsStewart().solve(Lyapunov(T, b @ b.conj().T), get_backend("scipy"))
    if solution.status is Status.SINGULAR:
        return None
    X: Any = solution.value
    Y = (X + X.conj().T) / 2
    return Projected(Y, float(np.linalg.eigvals(T).real.max()))


def thin_factor(
    Y: Inexact[Array, "k k"], image: Inexact[Array, "l k"], budget: float
) -> tuple[Inexact[Array, "k r"], bool]:
    r"""Return W with $W W^H \approx Y$ and whether Y is positive semidefinite.

    Eigenvectors $u_i$ are left out from the smallest on as long as the residual that they leave,
    $2\lVert T D\rVert_F$ with $D = \sum s_i u_i u_i^H$ and the projected operator T in `image`, is below the budget.
    """
    s, U = np.linalg.eigh(Y)
    s, U = s[::-1], U[:, ::-1]
    lost = 2 * np.sqrt(np.cumsum((s * np.linalg.norm(image @ U, axis=0))[::-1] ** 2))[::-1]
    needed = lost > budget
    indefinite = bool((needed & (s < -1e-8 * abs(s).max())).any())  # eigenvalues of half the digits are no rounding
    kept = max(int(np.count_nonzero(needed & (s > 0))), 1)
    return U[:, :kept] * np.sqrt(np.maximum(s[:kept], 0)), not indefinite


def compressed(pencil: Pencil, Z: Inexact[Array, "n k"], budget: float) -> Inexact[Array, "n r"]:
    r"""Return $Z U$, U unitary, less as many last columns as $\sum 2\lVert F z_i\rVert\lVert G z_i\rVert$ allows.

    U makes the columns orthogonal to half precision; that they are exactly those of Z U is what counts.
    """
    if not np.isfinite(Z).all():
        return Z
    _, U = np.linalg.eigh(Z.conj().T @ Z)
    Z = np.asfortranarray(Z @ U[:, ::-1])
    sizes = 2 * np.linalg.norm(pencil.left(Z), axis=0) * np.linalg.norm(pencil.right(Z), axis=0)
    lost = np.cumsum(sizes[::-1])[::-1]
    return Z[:, : max(int(np.count_nonzero(lost > budget)), 1)]


def residual_estimate(pencil: Pencil, Z: Inexact[Array, "n k"], B: Inexact[Array, "n m"], probes: int = 10) -> float:
    r"""Return $\lVert F Z (G Z)^H + G Z (F Z)^H + B B^H\rVert_F$ to about a quarter, from products with random vectors.

    What the rounding of its terms explains is taken off.
    It trusts nothing that the iteration believes: what rounding took from its recurrences shows here.
    """
    x = np.random.default_rng(1).standard_normal((probes, Z.shape[0])).T
    if pencil.hermitian:  # F and G meet the few vectors x instead of the many columns of Z
        first, second = pencil.left(Z @ _moments(Z, pencil.right(x))), pencil.right(Z @ _moments(Z, pencil.left(x)))
    else:
        FZ, GZ = pencil.left(Z), pencil.right(Z)
        first, second = FZ @ _moments(GZ, x), GZ @ _moments(FZ, x)
    found = float(np.linalg.norm(first + second + B @ _moments(B, x)))
    rounding = ROUNDING * float(np.finfo(np.float64).eps * np.linalg.norm(first))
    return max(found - rounding, 0.0) / probes**0.5


def _moments(Z: Array, X: Array) -> Array:
    return (X.conj().T @ Z).conj().T  # conj(Z) would be a copy of the larger one
