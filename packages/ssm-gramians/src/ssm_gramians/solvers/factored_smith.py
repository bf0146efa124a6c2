"""Squared Smith on factors: Gramians that are never squared keep the digits of their small singular values."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .._arrays import Array, adjoint, namespace
from ..backends import Backend

if TYPE_CHECKING:
    from jaxtyping import Inexact


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
