"""The one dispatcher."""

from __future__ import annotations

from ._arrays import Array, check_finite
from ._equations import Equation, Sylvester
from ._errors import UnsupportedError
from ._solution import Solution
from ._structure import Diagonal
from .backends import Backend, get_backend
from .solvers import Auto, Solver


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
        Value, status, residual and steps. The value has the library, device and precision of the equation.

    Raises
    ------
    UnsupportedError
        If the solver does not fit the equation, or needs what the backend does not provide.
    NonFiniteError
        If an input has NaN or infinite entries.
    """
    solver = Auto() if solver is None else solver
    chosen = get_backend(equation.Q if backend is None else backend)
    if not chosen.owns(equation.Q):
        msg = f"backend {chosen.name!r} does not compute on {type(equation.Q)}; want backend=None or arrays of its kind"
        raise UnsupportedError(msg)
    _check_fit(equation, solver, chosen)
    check_finite(**_arrays_of(equation))
    return solver.solve(equation if structure_of(equation) in solver.structures else equation.to_dense(), chosen)


def structure_of(equation: Equation) -> str:
    """Return the word for the structure of A in `Solver.structures`."""
    return "diagonal" if isinstance(equation.A, Diagonal) else "dense"


def why_not(equation: Equation, solver: Solver, backend: Backend) -> str | None:
    """Return why the solver cannot serve here, from the declarations alone; None if it can."""
    name = type(solver).__name__
    if equation.name not in solver.equations:
        return f"{name} solves {', '.join(sorted(solver.equations))}, not {equation.name}"
    if not {"dense", structure_of(equation)} & solver.structures:
        return f"{name} needs A to be {' or '.join(sorted(solver.structures))}, not {structure_of(equation)}"
    missing = solver.needs - backend.provides
    if missing:
        return f"{name} needs {', '.join(sorted(missing))}, which backend {backend.name!r} does not provide"
    return None


def _check_fit(equation: Equation, solver: Solver, backend: Backend) -> None:
    reason = why_not(equation, solver, backend)
    if reason is not None:
        msg = f"{reason}; choose another solver, or solver=None to have one chosen"
        raise UnsupportedError(msg)


def _arrays_of(equation: Equation) -> dict[str, Array]:
    arrays = {"A": equation.A, "Q": equation.Q}
    if isinstance(equation, Sylvester):
        arrays["B"] = equation.B
    return {name: M.eigenvalues if isinstance(M, Diagonal) else M for name, M in arrays.items()}
