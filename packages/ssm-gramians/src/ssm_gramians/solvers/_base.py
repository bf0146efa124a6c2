"""What a solver must be."""

from __future__ import annotations

from typing import ClassVar, Protocol, runtime_checkable

from .._equations import Equation, RightSide
from .._solution import Solution
from ..backends import Backend


@runtime_checkable
class Solver(Protocol):
    """An algorithm: a frozen dataclass that holds its options and says what it can do.

    These declarations alone decide what runs; nothing is tried to see whether it works.

    ================  ==============================================================================================
    `needs`           capabilities that the backend must provide
    `equations`       names of the equations it solves: `"lyapunov"`, `"stein"`, `"sylvester"`
    `structures`      kinds of A it takes as they are: `"dense"`, `"diagonal"`, `"dplr"`, `"sparse"`, `"matrix_free"`;
                      one that takes `"dense"` gets every other kind that can be written out as a dense matrix
    `right_sides`     `"dense"`, `"gram"`; without `"gram"` it gets Q written out, and its X is factored afterwards
    `descriptor`      whether it takes E as it is; otherwise the equation is divided by a dense E first
    ================  ==============================================================================================

    A solver that can reuse its work on A has a method `factor(equation, backend)` besides, which returns a
    `Factorization`.
    """

    needs: ClassVar[frozenset[str]]
    equations: ClassVar[frozenset[str]]
    structures: ClassVar[frozenset[str]]
    right_sides: ClassVar[frozenset[str]]
    descriptor: ClassVar[bool]

    def solve(self, equation: Equation, backend: Backend) -> Solution:
        """Solve, and say in the status how it ended; never raise because the iteration or the equation is bad."""
        ...


class Factorization(Protocol):
    """An equation without its right-hand side, with all the work that depends on the matrices done."""

    def solve(self, Q: RightSide) -> Solution:
        """Solve the equation with this right-hand side."""
        ...

    def solve_adjoint(self, Q: RightSide) -> Solution:
        """Solve the adjoint equation with this right-hand side."""
        ...
