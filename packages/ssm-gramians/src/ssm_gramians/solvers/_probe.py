"""The residual of a direct solve, seen on one vector: O(n^2), where the solve itself is O(n^3)."""

from __future__ import annotations

from .._arrays import Array, adjoint, namespace, promote, real_dtype
from .._equations import Equation, Stein, Sylvester
from .._gram import Gram
from .._solution import Solution, Status


def judge_by_probe(equation: Equation, X: Array | Gram) -> Solution:
    r"""Return the solution with the status that its residual R earns, by $\lVert R v\rVert$ for a fixed vector v.

    A direct solver leaves a residual of rounding size or none of its digits is right, and hides neither from a vector
    without structure (Freivalds 1979). `Solution.residual` is the exact one all the same, computed when asked for.
    """
    terms = _terms(equation, X)
    xp = namespace(*terms)
    rest, *sizes = (xp.linalg.vector_norm(term, axis=(-2, -1)) for term in (terms[0] + terms[1] + terms[2], *terms))
    size = sizes[0] + sizes[1] + sizes[2]
    if not bool(xp.all(xp.isfinite(rest))):  # no entry of a probe is zero: what is not finite in X shows
        return Solution(X, Status.SINGULAR, equation)
    limit = 100 * (X.shape[-2] + X.shape[-1]) * float(xp.finfo(X.dtype).eps)  # as everywhere: see `judge`
    return Solution(X, Status.CONVERGED if bool(xp.all(rest <= limit * size)) else Status.INACCURATE, equation)


def _terms(equation: Equation, X: Array | Gram) -> tuple[Array, ...]:
    r"""Return the terms of the equation times the probes."""
    A, E, Q, v = equation.A, equation.matrices.get("E"), equation.Q, _probes(X)
    if isinstance(equation, Sylvester):
        B, F = equation.B, equation.F
    elif isinstance(equation, Stein):
        B, F = (None if E is None else adjoint(E)), adjoint(A)
    else:
        B, F = adjoint(A), (None if E is None else adjoint(E))
    first, second, last = _times(A, X, F, v), _times(E, X, B, v), _times(Q, v)
    return first, -second if isinstance(equation, Stein) else second, last


def _times(*factors: Array | None) -> Array:
    """Return the product, from the right; None is the identity."""
    *others, product = factors
    for M in reversed(others):
        if isinstance(M, Gram):
            product = _times(M.Z, adjoint(M.Z), product)
        elif M is not None:
            product = (M if M.dtype == product.dtype else promote(M, product)[0]) @ product
    return product


def _probes(X: Array | Gram) -> Array:
    """Return a vector of entries in (-1, 1) that follow no pattern and are not zero: cosines of squares."""
    like = X.Z if isinstance(X, Gram) else X
    xp = namespace(like)
    k = xp.arange(1, X.shape[-1] + 1, dtype=real_dtype(like), device=like.device)[:, None]
    return xp.astype(xp.cos(k * k), like.dtype, copy=False)
