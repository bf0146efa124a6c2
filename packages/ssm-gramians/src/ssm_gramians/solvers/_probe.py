"""The residual of a direct solve, seen on two vectors: O(n^2), where the solve itself is O(n^3)."""

from __future__ import annotations

from .._arrays import Array, adjoint, namespace, promote, real_dtype
from .._equations import Equation, Stein, Sylvester
from .._solution import Solution, Status


def judge_by_probe(equation: Equation, X: Array) -> Solution:
    r"""Return the solution with the status that its residual R earns, by $\lVert R v\rVert$ for two fixed vectors v.

    A direct solver leaves a residual of rounding size or none of its digits is right, and hides neither from a vector
    without structure (Freivalds 1979). `Solution.residual` is the exact one all the same, computed when asked for.
    """
    xp = namespace(X)
    if not bool(xp.all(xp.isfinite(X))):
        return Solution(X, Status.SINGULAR, equation)
    terms = _terms(equation, X)
    rest = xp.linalg.matrix_norm(sum(terms[1:], start=terms[0]))
    size = sum(xp.linalg.matrix_norm(term) for term in terms)
    limit = 100 * (X.shape[-2] + X.shape[-1]) * float(xp.finfo(X.dtype).eps)  # as everywhere: see `judge`
    return Solution(X, Status.CONVERGED if bool(xp.all(rest <= limit * size)) else Status.INACCURATE, equation)


def _terms(equation: Equation, X: Array) -> tuple[Array, ...]:
    r"""Return the terms of the equation times the probes."""
    A, E, Q = equation.A, getattr(equation, "E", None), equation.Q
    if isinstance(equation, Sylvester):
        B, F = equation.B, equation.F
    elif isinstance(equation, Stein):
        B, F = (None if E is None else adjoint(E)), adjoint(A)
    else:
        B, F = adjoint(A), (None if E is None else adjoint(E))
    first, second, last = _times(A, X, F, _probes(X)), _times(E, X, B, _probes(X)), _times(Q, _probes(X))
    return promote(first, -second if isinstance(equation, Stein) else second, last)


def _times(*factors: Array | None) -> Array:
    """Return the product, from the right; None is the identity."""
    *others, product = factors
    for M in reversed(others):
        if M is not None:
            left, right = promote(M, product)
            product = left @ right
    return product


def _probes(X: Array) -> Array:
    """Return two vectors of entries in (-1, 1) that follow no pattern: cosines of squares."""
    xp = namespace(X)
    k = xp.arange(1, X.shape[-1] + 1, dtype=real_dtype(X), device=X.device)
    return xp.astype(xp.stack((xp.cos(k * k), xp.cos(k * k + k)), axis=-1), X.dtype)
