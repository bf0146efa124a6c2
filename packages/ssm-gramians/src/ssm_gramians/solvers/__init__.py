"""The algorithms, one a file."""

from ._base import Factorization, Solver
from .auto import Auto
from .bartels_stewart import BartelsStewart
from .cauchy import Cauchy
from .closed_form import ClosedForm
from .kronecker import Kronecker
from .smith import SquaredSmith
from .woodbury import Woodbury

__all__ = [
    "Auto",
    "BartelsStewart",
    "Cauchy",
    "ClosedForm",
    "Factorization",
    "Kronecker",
    "Solver",
    "SquaredSmith",
    "Woodbury",
]
