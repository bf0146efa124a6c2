"""How near an equation is to one without a unique solution."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ._arrays import Array, namespace, real
from ._equations import Equation
from ._structure import arrays_of

if TYPE_CHECKING:
    from jaxtyping import Float

    from .solvers import Factorization


def separation(equation: Equation, factorization: Factorization, *, steps: int = 5) -> Float[Array, "*batch"]:
    r"""Return an estimate, never too small, of $\mathrm{sep} = 1 / \lVert\mathcal{L}^{-1}\rVert$ in the Frobenius norm.

    Powers of $\mathcal{L}^{-1}\mathcal{L}^{-H}$: each step is a solve and an adjoint solve. For a stable A the operator
    maps positive matrices to positive ones, so its largest singular vector is positive too (Krein and Rutman), and the
    identity is never orthogonal to it.

    Parameters
    ----------
    equation
        Its right-hand side is not looked at.
    factorization
        Of the equation.
    steps
        From the second on the estimate is seldom off by more than a factor of 2.

    Returns
    -------
    Array
        Shape (...); 0 where the equation is singular to working precision.

    References
    ----------
    R. Byers, S. Nash, SIAM J. Alg. Disc. Meth. 8 (1987) 59-66. N. J. Higham, Accuracy and Stability of Numerical
    Algorithms, 2nd ed., SIAM, 2002, chapter 16.
    """
    start = _unit(_start(equation))
    xp = namespace(start)
    X, size = start, xp.zeros_like(real(start[..., 0, 0]))
    for _ in range(steps):
        Y = factorization.solve(X).value
        size = xp.maximum(size, xp.linalg.matrix_norm(Y))
        X = _unit(factorization.solve_adjoint(_finite_or(start, _unit(Y))).value)
        X = _finite_or(start, X)
    known = xp.isfinite(size) & (size > 0)
    return xp.where(known, 1 / xp.where(known, size, xp.ones_like(size)), xp.zeros_like(size))


def _finite_or(start: Array, X: Array) -> Array:
    """Return X, or the start for systems of the batch that have no solution."""
    xp = namespace(X)
    return xp.where(xp.isfinite(xp.linalg.matrix_norm(X))[..., None, None], X, xp.astype(start, X.dtype))


def _unit(X: Array) -> Array:
    xp = namespace(X)
    size = xp.linalg.matrix_norm(X)
    return X / xp.astype(xp.where(size > 0, size, xp.ones_like(size)), X.dtype)[..., None, None]


def _start(equation: Equation) -> Array:
    """Return the identity and a little of everything, so that Sylvester equations have a start as well."""
    arrays = [array for M in equation.matrices.values() for array in arrays_of(M)]
    xp = namespace(*arrays)
    dtype = xp.result_type(*(array.dtype for array in arrays))
    n, m = equation.shape
    like = real(xp.zeros((), dtype=dtype))
    k = xp.arange(1, n + 1, dtype=like.dtype, device=arrays[0].device)[:, None]
    j = xp.arange(1, m + 1, dtype=like.dtype, device=arrays[0].device)[None, :]
    start = xp.where(k == j, xp.ones_like(k * j), 0.1 * xp.cos(k * j) / max(n, m) ** 0.5)
    batch = max((tuple(M.shape[:-2]) for M in equation.matrices.values()), key=len)
    return xp.astype(start, dtype) + xp.zeros((*batch, n, m), dtype=dtype, device=arrays[0].device)
