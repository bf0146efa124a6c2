"""Public conformance suites: what a backend and a solver must be, as pytest classes to inherit from. Needs pytest.

A third-party backend proves itself in four lines::

    class TestMyBackend(BackendConformance):
        backend = "mine"

        def asarray(self, array):
            return mylibrary.asarray(array)
"""

from .asserts import as_numpy, assert_close, assert_same_kind, assert_untouched
from .backend import BackendConformance
from .problems import Problem, convert, dense_of, problems
from .solver import SolverConformance
from .support import support_table

__all__ = [
    "BackendConformance",
    "Problem",
    "SolverConformance",
    "as_numpy",
    "assert_close",
    "assert_same_kind",
    "assert_untouched",
    "convert",
    "dense_of",
    "problems",
    "support_table",
]
