"""Lyapunov, Stein and Sylvester solvers for state-space models: batched, structured, on any array library."""

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
from ._gramians import controllability_gramian, gramian_factors, observability_gramian
from ._structure import Diagonal
from ._system import StateSpace
from .backends import Backend, available_backends, get_backend, register_backend

__version__ = "0.1.0.dev0"

__all__ = [
    "Backend",
    "BackendNotAvailableError",
    "ConvergenceError",
    "Diagonal",
    "DtypeError",
    "GramiansError",
    "InstabilityError",
    "NonFiniteError",
    "ShapeError",
    "SingularEquationError",
    "StateSpace",
    "UnsupportedError",
    "available_backends",
    "controllability_gramian",
    "get_backend",
    "gramian_factors",
    "observability_gramian",
    "register_backend",
]
