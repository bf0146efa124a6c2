"""How well an equation is met."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ._arrays import Array, adjoint, namespace, promote
from ._equations import Equation, Lyapunov, Stein
from ._gram import Gram

if TYPE_CHECKING:
    from jaxtyping import Float, Inexact


def relative_residual(equation: Equation, X: Inexact[Array, "*batch n m"] | Gram) -> Float[Array, "*batch"]:
    r"""$\lVert\sum_i T_i\rVert_F / \sum_i \lVert T_i\rVert_F$ over the terms; 0 where all vanish.

    For a `Gram` nothing of size n x n is formed if X and Q have few columns.
    """
    if isinstance(X, Gram):
        if isinstance(equation.Q, Gram) and isinstance(equation, Lyapunov | Stein):
            return _thin_residual(equation, X)
        X = X.to_dense()
    terms = promote(*equation.terms(X))
    xp = namespace(*terms)
    size = sum(xp.linalg.matrix_norm(term) for term in terms)
    return _quotient(xp.linalg.matrix_norm(sum(terms[1:], start=terms[0])), size)


def _thin_residual(equation: Lyapunov | Stein, X: Gram) -> Float[Array, "*batch"]:
    """Return the relative residual by a QR decomposition of all the columns in the terms."""
    pairs = equation.thin_terms(X.Z)
    columns = {id(half): half for pair in pairs for half in pair}  # most halves occur twice
    halves = dict(zip(columns, promote(*columns.values()), strict=True))
    xp = namespace(*halves.values())
    batch = max((tuple(half.shape[:-2]) for half in halves.values()), key=len)
    halves = {key: xp.broadcast_to(half, (*batch, *half.shape[-2:])) for key, half in halves.items()}
    R = xp.linalg.qr(xp.concat(tuple(halves.values()), axis=-1), mode="reduced")[1]
    small, start = {}, 0
    for key, half in halves.items():
        small[key] = R[..., start : start + half.shape[-1]]
        start += half.shape[-1]
    terms = [small[id(left)] @ adjoint(small[id(right)]) for left, right in pairs]
    size = sum(xp.linalg.matrix_norm(term) for term in terms)
    return _quotient(xp.linalg.matrix_norm(sum(terms[1:], start=terms[0])), size)


def _quotient(rest: Array, size: Array) -> Array:
    xp = namespace(rest)
    return xp.where(size == 0, xp.zeros_like(rest), rest / xp.where(size == 0, xp.ones_like(size), size))
