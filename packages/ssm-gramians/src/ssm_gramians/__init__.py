"""Lyapunov, Stein and Sylvester solvers for state-space models: batched, structured, on any array library."""

from ._cross_gramian import cross_gramian
from ._diagnostics import Diagnosis, diagnose
from ._diagonal import Diagonal
from ._diagonal_plus_low_rank import DiagonalPlusLowRank
from ._empirical import EmpiricalGramian, empirical_factor
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
from ._factors import gramian_factors
from ._friendly import solve_continuous_lyapunov, solve_discrete_lyapunov, solve_sylvester
from ._gram import Gram
from ._gramians import controllability_gramian, observability_gramian
from ._hankel_floor import hankel_floor
from ._matrix_free import MatrixFree
from ._solution import Solution, Status
from ._solve import explain, factor, solve
from ._sparse import Sparse
from ._structure import Structure
from ._system import StateSpace
from ._weights import weighted
from .backends import Backend, available_backends, get_backend, register_backend
from .solvers import (
    Auto,
    BartelsStewart,
    Cauchy,
    ClosedForm,
    ExtendedKrylov,
    Factorization,
    FixedShifts,
    Hammarling,
    Kronecker,
    LowRankADI,
    PenzlShifts,
    ProjectionShifts,
    RationalKrylov,
    Refined,
    Shifts,
    SignIteration,
    Solver,
    SquaredSmith,
    WachspressShifts,
    Woodbury,
)

__version__ = "0.1.0.dev0"

__all__ = [
    "Auto",
    "Backend",
    "BackendNotAvailableError",
    "BartelsStewart",
    "Cauchy",
    "ClosedForm",
    "ConvergenceError",
    "Diagnosis",
    "Diagonal",
    "DiagonalPlusLowRank",
    "DtypeError",
    "EmpiricalGramian",
    "Equation",
    "ExtendedKrylov",
    "Factorization",
    "FixedShifts",
    "Gram",
    "GramiansError",
    "Hammarling",
    "InstabilityError",
    "Kronecker",
    "LowRankADI",
    "Lyapunov",
    "MatrixFree",
    "NonFiniteError",
    "PenzlShifts",
    "ProjectionShifts",
    "RationalKrylov",
    "Refined",
    "ShapeError",
    "Shifts",
    "SignIteration",
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
    "WachspressShifts",
    "Woodbury",
    "available_backends",
    "controllability_gramian",
    "cross_gramian",
    "diagnose",
    "empirical_factor",
    "explain",
    "factor",
    "get_backend",
    "gramian_factors",
    "hankel_floor",
    "observability_gramian",
    "register_backend",
    "solve",
    "solve_continuous_lyapunov",
    "solve_discrete_lyapunov",
    "solve_sylvester",
    "weighted",
]
