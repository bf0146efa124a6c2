"""The three equations: the only place that knows their signs.

Each is written with everything on one side, `terms + Q = 0`, so that a positive Q gives a positive X for a stable A.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, TypeAlias

from ._arrays import Array, adjoint, check_floating, namespace, promote
from ._errors import ShapeError
from ._structure import Diagonal, Matrix, adjoint_of, times, to_dense

if TYPE_CHECKING:
    from jaxtyping import Float, Inexact


@dataclass(frozen=True, eq=False)
class Lyapunov:
    r"""$A X + X A^H + Q = 0$, in continuous time.

    Parameters
    ----------
    A
        Dense, shape (..., n, n), or `Diagonal`.
    Q
        Right-hand side, shape (..., n, n); Hermitian or not.
    """

    name: ClassVar[str] = "lyapunov"
    A: Matrix
    Q: Inexact[Array, "*batch n n"]

    def __post_init__(self) -> None:
        _check(self.Q, A=self.A)

    def terms(self, X: Inexact[Array, "*batch n n"]) -> tuple[Inexact[Array, "*batch n n"], ...]:
        """Return the matrices that add up to zero at the solution."""
        return times(self.A, X), adjoint(times(self.A, adjoint(X))), self.Q

    def adjoint(self) -> Lyapunov:
        r"""Return $A^H X + X A + Q = 0$: its operator is the adjoint of this one's."""
        return Lyapunov(adjoint_of(self.A), self.Q)

    def to_dense(self) -> Lyapunov:
        """Return the same equation with A dense."""
        return Lyapunov(to_dense(self.A), self.Q)


@dataclass(frozen=True, eq=False)
class Stein:
    r"""$A X A^H - X + Q = 0$, in discrete time.

    Parameters
    ----------
    A
        Dense, shape (..., n, n), or `Diagonal`.
    Q
        Right-hand side, shape (..., n, n); Hermitian or not.
    """

    name: ClassVar[str] = "stein"
    A: Matrix
    Q: Inexact[Array, "*batch n n"]

    def __post_init__(self) -> None:
        _check(self.Q, A=self.A)

    def terms(self, X: Inexact[Array, "*batch n n"]) -> tuple[Inexact[Array, "*batch n n"], ...]:
        """Return the matrices that add up to zero at the solution."""
        return adjoint(times(self.A, adjoint(times(self.A, X)))), -X, self.Q

    def adjoint(self) -> Stein:
        r"""Return $A^H X A - X + Q = 0$: its operator is the adjoint of this one's."""
        return Stein(adjoint_of(self.A), self.Q)

    def to_dense(self) -> Stein:
        """Return the same equation with A dense."""
        return Stein(to_dense(self.A), self.Q)


@dataclass(frozen=True, eq=False)
class Sylvester:
    r"""$A X + X B + Q = 0$.

    Parameters
    ----------
    A
        Dense, shape (..., n, n).
    B
        Dense, shape (..., m, m).
    Q
        Right-hand side, shape (..., n, m).
    """

    name: ClassVar[str] = "sylvester"
    A: Matrix
    B: Matrix
    Q: Inexact[Array, "*batch n m"]

    def __post_init__(self) -> None:
        _check(self.Q, A=self.A, B=self.B)

    def terms(self, X: Inexact[Array, "*batch n m"]) -> tuple[Inexact[Array, "*batch n m"], ...]:
        """Return the matrices that add up to zero at the solution."""
        return times(self.A, X), adjoint(times(adjoint_of(self.B), adjoint(X))), self.Q

    def adjoint(self) -> Sylvester:
        r"""Return $A^H X + X B^H + Q = 0$: its operator is the adjoint of this one's."""
        return Sylvester(adjoint_of(self.A), adjoint_of(self.B), self.Q)

    def to_dense(self) -> Sylvester:
        """Return the same equation with A and B dense."""
        return Sylvester(to_dense(self.A), to_dense(self.B), self.Q)


Equation: TypeAlias = Lyapunov | Stein | Sylvester


def relative_residual(equation: Equation, X: Inexact[Array, "*batch n m"]) -> Float[Array, "*batch"]:
    r"""$\lVert\sum_i T_i\rVert_F / \sum_i \lVert T_i\rVert_F$ over the terms; 0 where all vanish."""
    terms = promote(*equation.terms(X))
    xp = namespace(X)
    size = sum(xp.linalg.matrix_norm(term) for term in terms)
    rest = xp.linalg.matrix_norm(sum(terms[1:], start=terms[0]))
    return xp.where(size == 0, xp.zeros_like(rest), rest / xp.where(size == 0, xp.ones_like(size), size))


def _check(Q: Array, **matrices: Matrix) -> None:
    dense = {name: M.eigenvalues if isinstance(M, Diagonal) else M for name, M in matrices.items()}
    check_floating(**dense, Q=Q)
    got = ", ".join(f"{name} {tuple(M.shape)}" for name, M in {**matrices, "Q": Q}.items())
    if any(len(M.shape) < 2 or M.shape[-1] != M.shape[-2] for M in matrices.values()):
        msg = f"got {got}; want square matrices (..., n, n)"
        raise ShapeError(msg)
    orders = tuple(M.shape[-1] for M in matrices.values())
    if Q.ndim < 2 or tuple(Q.shape[-2:]) != (orders[0], orders[-1]):
        msg = f"got {got}; want Q (..., {orders[0]}, {orders[-1]})"
        raise ShapeError(msg)
    batches = {tuple(M.shape[:-2]) for M in (*matrices.values(), Q)} - {()}
    if len(batches) > 1:
        msg = f"got {got}; want one leading batch shape (or none) in all of them"
        raise ShapeError(msg)
