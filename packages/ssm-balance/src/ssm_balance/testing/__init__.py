"""Public conformance suite: what a reduction method must be, as a pytest class to inherit from. Needs pytest.

A method of your own proves itself in a few lines::

    class TestMine(MethodConformance):
        name = "mine"
        reduce = staticmethod(mine)
        bound = "2 Σ_{i>r} σ_i"
        keeps = frozenset({"stability"})
"""

from .method import MethodConformance
from .promises import Promises
from .suites import built_in
from .systems import like, points, relative, stable_system, transformed
from .table import method_table

__all__ = [
    "MethodConformance",
    "Promises",
    "built_in",
    "like",
    "method_table",
    "points",
    "relative",
    "stable_system",
    "transformed",
]
