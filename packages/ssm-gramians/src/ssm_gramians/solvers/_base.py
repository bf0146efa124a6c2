"""What a solver must be."""

from __future__ import annotations

from typing import ClassVar, Protocol, runtime_checkable

from .._equations import Equation
from .._solution import Solution
from ..backends import Backend


@runtime_checkable
class Solver(Protocol):
    """An algorithm: a frozen dataclass that holds its options and says what it can do.

    `needs` are capabilities that the backend must provide, `equations` the names of the equations it solves, and
    `structures` the kinds of A it accepts as they are: `"dense"`, `"diagonal"`. A solver for dense matrices gets every
    structure as a dense matrix. These three alone decide what runs; nothing is tried to see whether it works.
    """

    needs: ClassVar[frozenset[str]]
    equations: ClassVar[frozenset[str]]
    structures: ClassVar[frozenset[str]]

    def solve(self, equation: Equation, backend: Backend) -> Solution:
        """Solve, and say in the status how it ended; never raise because the iteration or the equation is bad."""
        ...
