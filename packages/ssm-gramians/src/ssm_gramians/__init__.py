"""Lyapunov, Stein and Sylvester solvers for state-space models: batched, structured, on any array library."""

from ._diagonal import Diagonal
from ._equations import Equation, Lyapunov, Stein, Sylvester
from ._errors import (
    BackendNotAvailableError,
    ConvergenceError,
    DtypeError,
    GramiansError,
    InstabilityError,
    NonFiniteError,
    ShapeError,
    SingularEquationError,
    UnsupportedError,
)
from ._friendly import solve_continuous_lyapunov, solve_discrete_lyapunov, solve_sylvester
from ._gram import Gram
from ._gramians import controllability_gramian, gramian_factors, observability_gramian
from ._solution import Solution, Status
from ._solve import explain, factor, solve
from ._sparse import Sparse
from ._structure import Structure
from ._system import StateSpace
from .backends import Backend, available_backends, get_backend, register_backend
from .solvers import Auto, BartelsStewart, ClosedForm, Factorization, Kronecker, Solver, SquaredSmith

__version__ = "0.1.0.dev0"

__all__ = [
    "Auto",
    "Backend",
    "BackendNotAvailableError",
    "BartelsStewart",
    "ClosedForm",
    "ConvergenceError",
    "Diagonal",
    "DtypeError",
    "Equation",
    "Factorization",
    "Gram",
    "GramiansError",
    "InstabilityError",
    "Kronecker",
    "Lyapunov",
    "NonFiniteError",
    "ShapeError",
    "SingularEquationError",
    "Solution",
    "Solver",
    "Sparse",
    "SquaredSmith",
    "StateSpace",
    "Status",
    "Stein",
    "Structure",
    "Sylvester",
    "UnsupportedError",
    "available_backends",
    "controllability_gramian",
    "explain",
    "factor",
    "get_backend",
    "gramian_factors",
    "observability_gramian",
    "register_backend",
    "solve",
    "solve_continuous_lyapunov",
    "solve_discrete_lyapunov",
    "solve_sylvester",
]
