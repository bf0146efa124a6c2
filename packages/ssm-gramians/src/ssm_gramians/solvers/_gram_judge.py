"""The residual of a factored solution, seen on two vectors: no product of two matrices."""

from __future__ import annotations

from .._arrays import Array, adjoint, namespace, promote
from .._equations import Equation, Stein
from .._gram import Gram
from .._solution import Solution, Status
from ._directions import directions


def judge_gram(equation: Equation, X: Gram, *, rtol: float, steps: int) -> Solution:
    r"""Return the solution with the status that its residual R earns, by $\lVert R v\rVert$ for two fixed vectors v.

    `Solution.residual` is the exact one all the same, computed when asked for.
    """
    assert isinstance(equation.Q, Gram)
    xp = namespace(X.Z)
    if not bool(xp.all(xp.isfinite(X.Z))):
        return Solution(X, Status.DIVERGED, equation, steps)
    A, Z, B = promote(equation.A, X.Z, equation.Q.Z)
    v = directions(A.shape[-1], like=A)
    terms = [_gram(Z, adjoint(A) @ v), A @ _gram(Z, v), _gram(B, v)]
    if isinstance(equation, Stein):
        terms = [A @ terms[0], -_gram(Z, v), terms[2]]
    size = sum(xp.linalg.matrix_norm(term) for term in terms)
    rest = xp.linalg.matrix_norm(terms[0] + terms[1] + terms[2])
    limit = max(200 * Z.shape[-2] * float(xp.finfo(Z.dtype).eps), rtol)  # as `judge` has it
    good = bool(xp.all(rest <= limit * size))
    return Solution(X, Status.CONVERGED if good else Status.INACCURATE, equation, steps)


def _gram(Z: Array, v: Array) -> Array:
    return Z @ (adjoint(Z) @ v)
