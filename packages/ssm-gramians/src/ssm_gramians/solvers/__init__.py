"""The algorithms, one a file."""

from ._base import Factorization, Solver
from .auto import Auto
from .bartels_stewart import BartelsStewart
from .cauchy import Cauchy
from .closed_form import ClosedForm
from .extended_krylov import ExtendedKrylov
from .hammarling import Hammarling
from .kronecker import Kronecker
from .low_rank_adi import LowRankADI
from .rational_krylov import RationalKrylov
from .refined import Refined
from .shifts import FixedShifts, PenzlShifts, ProjectionShifts, Shifts, WachspressShifts
from .sign import SignIteration
from .smith import SquaredSmith
from .woodbury import Woodbury

__all__ = [
    "Auto",
    "BartelsStewart",
    "Cauchy",
    "ClosedForm",
    "ExtendedKrylov",
    "Factorization",
    "FixedShifts",
    "Hammarling",
    "Kronecker",
    "LowRankADI",
    "PenzlShifts",
    "ProjectionShifts",
    "RationalKrylov",
    "Refined",
    "Shifts",
    "SignIteration",
    "Solver",
    "SquaredSmith",
    "WachspressShifts",
    "Woodbury",
]
