"""The one dispatcher."""

from __future__ import annotations

from ._arrays import check_finite
from ._equations import Equation, RightSide
from ._errors import UnsupportedError
from ._solution import Solution
from ._untraced import untraced
from .backends import Backend, get_backend
from .solvers import Auto, Factorization, Solver
from .solvers._adapt import refusal


@untraced
def solve(equation: Equation, solver: Solver | None = None, backend: str | Backend | None = None) -> Solution:
    """Solve an equation; the status says how it ended, and nothing is raised because it ended badly.

    Parameters
    ----------
    equation
        `Lyapunov`, `Stein` or `Sylvester`.
    solver
        The algorithm with its options; `Auto()` if None.
    backend
        A name or a `Backend`; by the type of the arrays if None.

    Returns
    -------
    Solution
        Value, status, residual and steps. The value has the library, device and precision of the equation, and the
        form of its right-hand side: dense, or a `Gram`.

    Raises
    ------
    UnsupportedError
        If the solver does not fit the equation, or needs what the backend does not provide.
    NonFiniteError
        If an input has NaN or infinite entries.
    """
    if equation.Q is None:
        msg = "the equation has no right-hand side; want one, or factor(equation) to solve for many"
        raise UnsupportedError(msg)
    solver, chosen = _plan(equation, solver, backend)
    return chosen.run(equation, solver)


@untraced
def factor(equation: Equation, solver: Solver | None = None, backend: str | Backend | None = None) -> Factorization:
    """Do the work that depends on the matrices alone, for many right-hand sides of the equation and of its adjoint.

    The controllability and the observability Gramian of a system are one `solve` and one `solve_adjoint` of the same
    factorisation; so is the gradient of either.

    Parameters
    ----------
    equation
        `Lyapunov`, `Stein` or `Sylvester`; its right-hand side, if it has one, is not looked at.
    solver
        The algorithm with its options; `Auto()` if None. One without work to reuse solves anew each time.
    backend
        A name or a `Backend`; by the type of the arrays if None.

    Returns
    -------
    Factorization
        With the methods `solve(Q)` and `solve_adjoint(Q)`, each of which returns a `Solution`.

    Raises
    ------
    UnsupportedError
        If the solver does not fit the equation, or needs what the backend does not provide.
    NonFiniteError
        If a matrix has NaN or infinite entries.
    """
    equation = equation.with_right_side(None)
    solver, chosen = _plan(equation, solver, backend)
    return _Checked(equation, chosen.factorize(equation, solver))


def explain(equation: Equation, solver: Solver | None = None, backend: str | Backend | None = None) -> str:
    """Return which solvers would be tried on this equation, in order, and why not the others.

    Parameters
    ----------
    equation
        `Lyapunov`, `Stein` or `Sylvester`.
    solver
        An algorithm to ask about; `Auto()` if None.
    backend
        A name or a `Backend`; by the type of the arrays if None.
    """
    from .solvers.auto import explanation

    solver, chosen = _plan(equation, solver, backend)
    return explanation(equation, solver, chosen)


def why_not(equation: Equation, solver: Solver, backend: Backend) -> str | None:
    """Return why the solver cannot serve here, from the declarations alone; None if it can."""
    return refusal(equation, solver, backend)


class _Checked:
    """A factorisation that looks at each right-hand side before it works."""

    def __init__(self, equation: Equation, inner: Factorization) -> None:
        self._equation, self._inner = equation, inner

    def solve(self, Q: RightSide) -> Solution:
        """Solve the equation with this right-hand side."""
        check_finite(Q=self._equation.with_right_side(Q).arrays["Q"])
        return self._inner.solve(Q)

    def solve_adjoint(self, Q: RightSide) -> Solution:
        """Solve the adjoint equation with this right-hand side."""
        check_finite(Q=self._equation.with_right_side(Q).arrays["Q"])
        return self._inner.solve_adjoint(Q)


def _plan(equation: Equation, solver: Solver | None, backend: str | Backend | None) -> tuple[Solver, Backend]:
    """Return the solver and the backend, after every check that needs no work."""
    solver = Auto() if solver is None else solver
    array = next(reversed(equation.arrays.values()))
    chosen = get_backend(array if backend is None else backend)
    if not chosen.owns(array):
        msg = f"backend {chosen.name!r} does not compute on {type(array)}; want backend=None or arrays of its kind"
        raise UnsupportedError(msg)
    chosen = chosen.on(array)
    reason = refusal(equation, solver, chosen)
    if reason is not None:
        msg = f"{reason}; choose another solver, or solver=None to have one chosen"
        raise UnsupportedError(msg)
    check_finite(**equation.arrays)
    return solver, chosen
