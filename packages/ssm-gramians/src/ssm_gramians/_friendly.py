"""SciPy's functions, with SciPy's names and signs: batched, on any array library, and honest about failure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ._arrays import Array
from ._equations import Lyapunov, Stein, Sylvester
from ._solve import solve
from ._structure import Matrix
from ._untraced import untraced
from .backends import Backend
from .solvers import Solver

if TYPE_CHECKING:
    from jaxtyping import Inexact


@untraced
def solve_continuous_lyapunov(
    a: Matrix, q: Inexact[Array, "*batch n n"], *, solver: Solver | None = None, backend: str | Backend | None = None
) -> Inexact[Array, "*batch n n"]:
    r"""Return X with $A X + X A^H = Q$ (SciPy's sign: the Gramian is the solution for $Q = -B B^H$).

    Every equation with a unique solution is solved, whether A is stable or not; use `controllability_gramian` to have
    stability checked.

    Parameters
    ----------
    a
        Dense, shape (..., n, n), or `Diagonal`.
    q
        Right-hand side, shape (..., n, n); Hermitian or not.
    solver
        The algorithm with its options; `Auto()` if None.
    backend
        A name or a `Backend`; by the type of the arrays if None.

    Returns
    -------
    Array
        X, of the same library, device and precision.

    Raises
    ------
    SingularEquationError
        If two eigenvalues add up to zero.
    ConvergenceError
        If an iterative solver fails, as it must for an unstable A.
    """
    return solve(Lyapunov(a, -q), solver, backend).unwrap()


@untraced
def solve_discrete_lyapunov(
    a: Matrix, q: Inexact[Array, "*batch n n"], *, solver: Solver | None = None, backend: str | Backend | None = None
) -> Inexact[Array, "*batch n n"]:
    r"""Return X with $A X A^H - X + Q = 0$.

    Every equation with a unique solution is solved, whether A is stable or not; use `controllability_gramian` to have
    stability checked.

    Parameters
    ----------
    a
        Dense, shape (..., n, n), or `Diagonal`.
    q
        Right-hand side, shape (..., n, n); Hermitian or not, complex or not.
    solver
        The algorithm with its options; `Auto()` if None.
    backend
        A name or a `Backend`; by the type of the arrays if None.

    Returns
    -------
    Array
        X, of the same library, device and precision.

    Raises
    ------
    SingularEquationError
        If the product of two eigenvalues is 1.
    ConvergenceError
        If an iterative solver fails, as it must for an unstable A.
    """
    return solve(Stein(a, q), solver, backend).unwrap()


@untraced
def solve_sylvester(
    a: Inexact[Array, "*batch n n"],
    b: Inexact[Array, "*batch m m"],
    q: Inexact[Array, "*batch n m"],
    *,
    solver: Solver | None = None,
    backend: str | Backend | None = None,
) -> Inexact[Array, "*batch n m"]:
    r"""Return X with $A X + X B = Q$.

    Parameters
    ----------
    a
        Shape (..., n, n).
    b
        Shape (..., m, m).
    q
        Right-hand side, shape (..., n, m).
    solver
        The algorithm with its options; `Auto()` if None.
    backend
        A name or a `Backend`; by the type of the arrays if None.

    Returns
    -------
    Array
        X, of the same library, device and precision.

    Raises
    ------
    SingularEquationError
        If an eigenvalue of A and one of B add up to zero.
    """
    return solve(Sylvester(a, b, -q), solver, backend).unwrap()
