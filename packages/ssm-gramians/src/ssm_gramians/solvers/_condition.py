"""How near an equation is to a singular one."""

from __future__ import annotations

from .._arrays import Array, namespace
from .._errors import SingularEquationError
from ._dense_operator import DenseOperator

_STEPS = 4  # each costs two solves; from the second on the estimate is seldom off by more than a factor of 2


def inverse_norm(operator: DenseOperator) -> float:
    r"""Return a lower estimate of $\lVert\mathcal{L}^{-1}\rVert_F = 1 / \mathrm{sep}$.

    It comes from powers of $\mathcal{L}^{-1}\mathcal{L}^{-H}$. The largest singular vector of a Lyapunov or Stein
    operator is Hermitian for all that is known, and positive for a stable A, so the powers start from a matrix near I.

    References
    ----------
    R. Byers, S. Nash, *On the singular vectors of the Lyapunov operator*, SIAM J. Alg. Disc. Meth. 8 (1987) 59-66.
    """
    X, size = _start(operator), 0.0
    xp = namespace(X)
    try:
        for _ in range(_STEPS):
            Y = operator.solve(X / xp.linalg.matrix_norm(X))
            X = operator.adjoint.solve(Y)
            size = max(size, float(xp.linalg.matrix_norm(Y)))
    except SingularEquationError:
        return float("inf")
    return size


def _start(operator: DenseOperator) -> Array:
    """Return the identity and a little of everything."""
    n, m = (sum(part.order for part in parts) for parts in (operator.left, operator.right))
    part = operator.left[0]
    like = part.eigenvalues if part.S is None else part.S
    assert like is not None
    xp = namespace(like)
    k, j = xp.arange(1, n + 1, dtype=like.dtype)[:, None], xp.arange(1, m + 1, dtype=like.dtype)[None, :]
    return xp.where(k == j, xp.ones_like(k * j), 0.1 * xp.cos(k * j) / max(n, m) ** 0.5)
