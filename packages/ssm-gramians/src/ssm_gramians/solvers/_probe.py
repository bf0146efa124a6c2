"""The residual of a solve, seen on one vector: O(n^2), where the solve itself is O(n^3)."""

from __future__ import annotations

import numpy as np

from .._arrays import Array, adjoint, as_double, namespace, promote, real
from .._equations import Equation, Stein, Sylvester
from .._gram import Gram
from .._solution import Solution, Status
from ._directions import directions


def judge_by_probe(equation: Equation, X: Array | Gram, *, rtol: float = 0.0, steps: int = 0) -> Solution:
    r"""Return the solution with the status that its residual R earns, by $\lVert R v\rVert$ for a fixed vector v.

    It must be of rounding size, or below rtol; what is larger does not hide from a vector without structure (Freivalds
    1979). `Solution.residual` is the exact one all the same, computed when asked for.

    Where the terms are far smaller than $\lVert A\rVert\,\lVert X\rVert$, as for a mode near the border of stability,
    no solver can do better than rounding relative to the latter: that will do as long as half of the digits are left.
    """
    with np.errstate(all="ignore"):  # what is not finite shows
        terms = _terms(equation, X)
        norms = _norms(terms[0] + terms[1] + terms[2], *terms)
    xp = namespace(norms)
    rest, size, eps = norms[..., 0], norms[..., 1] + norms[..., 2] + norms[..., 3], float(xp.finfo(X.dtype).eps)
    limit = max(100 * (X.shape[-2] + X.shape[-1]) * eps, rtol)  # as everywhere: see `judge`
    if bool(xp.all(rest < limit * size)):  # false for what is not finite, on either side
        return Solution(X, Status.CONVERGED, equation, steps)
    if not bool(xp.all(xp.isfinite(rest))):  # no entry of a probe is zero: what is not finite in X shows
        return Solution(X, Status.SINGULAR, equation, steps)
    good = (rest <= limit * size) | ((rest <= limit * _attainable(equation, X)) & (rest <= eps**0.5 * size))
    return Solution(X, Status.CONVERGED if bool(xp.all(good)) else Status.INACCURATE, equation, steps)


def _attainable(equation: Equation, X: Array | Gram) -> Array:
    r"""Return $\lVert A\rVert\,\lVert X\rVert\,\lVert F\rVert + \lVert E\rVert\,\lVert X\rVert\,\lVert B\rVert$."""
    norm = {name: namespace(M).linalg.matrix_norm(M) for name, M in equation.matrices.items()}
    A, E = norm["A"], norm.get("E", 1.0)
    if isinstance(equation, Stein):
        factor = A * A + E * E
    else:
        factor = A * norm.get("F", E if "B" not in norm else 1.0) + E * norm.get("B", A)
    size = namespace(A).linalg.matrix_norm(X.Z) ** 2 if isinstance(X, Gram) else namespace(A).linalg.matrix_norm(X)
    return as_double(factor * size)


def _terms(equation: Equation, X: Array | Gram) -> tuple[Array, ...]:
    r"""Return the terms of the equation times the probes."""
    A, E, Q, v = equation.A, equation.matrices.get("E"), equation.Q, _probe(X)
    if isinstance(equation, Sylvester):
        B, F = equation.B, equation.F
    elif isinstance(equation, Stein):
        B, F = (None if E is None else adjoint(E)), adjoint(A)
    else:
        B, F = adjoint(A), (None if E is None else adjoint(E))
    first, second, last = _times(A, X, F, v), _times(E, X, B, v), _times(Q, v)
    return first, -second if isinstance(equation, Stein) else second, last


def _norms(*columns: Array) -> Array:
    """Return the norm of each, in double precision, side by side: for small ones, one go is what counts."""
    xp = namespace(*columns)
    same = all(column.shape == columns[0].shape for column in columns)
    joined = as_double(xp.concat(columns if same else xp.broadcast_arrays(*columns), axis=-1))
    return xp.sqrt(real(xp.linalg.vecdot(joined, joined, axis=-2)))


def _times(*factors: Array | None) -> Array:
    """Return the product, from the right; None is the identity."""
    others, product = factors[:-1], factors[-1]
    assert product is not None
    for M in reversed(others):
        if isinstance(M, Gram):
            product = _times(M.Z, adjoint(M.Z), product)
        elif M is not None:
            left, product = (M, product) if M.dtype == product.dtype else promote(M, product)
            product = left @ product
    return product


def _probe(X: Array | Gram) -> Array:
    return directions(X.shape[-1], like=X.Z if isinstance(X, Gram) else X)[:, :1]
