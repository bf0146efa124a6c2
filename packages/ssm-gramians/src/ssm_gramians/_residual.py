"""How well an equation is met."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ._arrays import Array, adjoint, namespace, promote
from ._equations import Equation, Lyapunov, Stein
from ._gram import Gram
from ._structure import Matrix, arrays_of, kind_of

if TYPE_CHECKING:
    from jaxtyping import Float, Inexact


def relative_residual(equation: Equation, X: Inexact[Array, "*batch n m"] | Gram) -> Float[Array, "*batch"]:
    r"""$\lVert\sum_i T_i\rVert_F / \sum_i \lVert T_i\rVert_F$ over the terms; 0 where all vanish.

    For a `Gram` nothing of size n x n is formed if X and Q have few columns.
    """
    return _quotient(*_rest_and_size(equation, X))


def backward_error(equation: Equation, X: Inexact[Array, "*batch n m"] | Gram) -> Float[Array, "*batch"]:
    r"""Return the residual over the norms of the matrices and of X, multiplied: about eps for a stable solve.

    The relative residual is larger where a product $A X$ cancels within itself, as it does for the slow modes of a
    matrix that is not diagonal: that is no fault of X.
    """
    rest, size = _rest_and_size(equation, X)
    if not all(kind_of(M) in {"dense", "diagonal", "sparse"} for M in equation.matrices.values()):
        return _quotient(rest, size)
    norms = {name: _norm(M) for name, M in equation.matrices.items()}
    a, b, e, f = (norms.get(name, default) for name, default in (("A", 0), ("B", 0), ("E", 1), ("F", 1)))
    pairs = {"lyapunov": 2 * a * e, "stein": a * a + e * e, "sylvester": a * f + e * b}
    xp = namespace(rest)
    length = xp.linalg.matrix_norm(X.Z) ** 2 if isinstance(X, Gram) else xp.linalg.matrix_norm(X)
    scale = pairs[equation.name] * length
    return _quotient(rest, xp.where(scale > size, scale, size))


def _norm(M: Matrix) -> Array:
    """Return the Frobenius norm of a dense, diagonal or sparse matrix, up to a factor of sqrt(2)."""
    array = arrays_of(M)[0]
    xp = namespace(array)
    return xp.linalg.matrix_norm(array) if kind_of(M) == "dense" else xp.linalg.vector_norm(array, axis=-1)


def _rest_and_size(equation: Equation, X: Inexact[Array, "*batch n m"] | Gram) -> tuple[Array, Array]:
    """Return the norm of the sum of the terms, and the sum of their norms."""
    if isinstance(X, Gram):
        if isinstance(equation.Q, Gram) and isinstance(equation, Lyapunov | Stein):
            return _thin_rest_and_size(equation, X)
        X = X.to_dense()
    terms = promote(*equation.terms(X))
    xp = namespace(*terms)
    size = sum(xp.linalg.matrix_norm(term) for term in terms)
    return xp.linalg.matrix_norm(sum(terms[1:], start=terms[0])), size


def _thin_rest_and_size(equation: Lyapunov | Stein, X: Gram) -> tuple[Array, Array]:
    """Return both by a QR decomposition of all the columns in the terms."""
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
    return xp.linalg.matrix_norm(sum(terms[1:], start=terms[0])), size


def _quotient(rest: Array, size: Array) -> Array:
    xp = namespace(rest)
    return xp.where(size == 0, xp.zeros_like(rest), rest / xp.where(size == 0, xp.ones_like(size), size))
