"""What a solver hands back."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum
from functools import cached_property
from typing import TYPE_CHECKING

from ._arrays import Array, namespace
from ._equations import Equation, dense_right_side
from ._errors import ConvergenceError, SingularEquationError
from ._gram import Gram
from ._residual import backward_error, relative_residual

if TYPE_CHECKING:
    from jaxtyping import Float, Inexact


class Status(Enum):
    """How a solve ended; the value is the message. For a batch, the worst of its systems."""

    CONVERGED = "the residual is at rounding level, or the iteration met its tolerance"
    INACCURATE = "the residual is far above rounding: the equation is nearly singular, or A far from normal"
    NOT_LOW_RANK = "the trace of what is left falls too slowly: raise max_rank or rtol, or use ClosedForm"
    STEPS_EXHAUSTED = "the step limit came before the tolerance: raise max_steps, or use a direct solver"
    DIVERGED = "the iteration grew without bound: is every mode of A stable?"
    SINGULAR = "the equation has no unique solution: two eigenvalues cancel"


@dataclass(frozen=True, eq=False)
class Solution:
    """The answer and how far to trust it.

    Parameters
    ----------
    value
        X, as the right-hand side came: dense, shape (..., n, m), or a `Gram`; NaN if the equation is singular.
    status
        How the solve ended, the worst over the batch.
    equation
        What was solved.
    steps
        Iterations taken; 0 for a direct solver.
    """

    value: Inexact[Array, "*batch n m"] | Gram
    status: Status
    equation: Equation
    steps: int = 0

    @cached_property
    def residual(self) -> Float[Array, "*batch"]:
        """Return the norm of the sum of the equation's terms over the sum of their norms, for each system."""
        return relative_residual(self.equation, self.value)

    @property
    def converged(self) -> bool:
        """Say whether the value may be used."""
        return self.status is Status.CONVERGED

    def unwrap(self) -> Inexact[Array, "*batch n m"] | Gram:
        """Return the value.

        Raises
        ------
        SingularEquationError
            If there is no unique solution, or none to working precision.
        ConvergenceError
            If an iteration ended too early or diverged.
        """
        if self.converged:
            return self.value
        kind = SingularEquationError if self.status in {Status.SINGULAR, Status.INACCURATE} else ConvergenceError
        xp = namespace(self.residual)
        worst = 0.0 if 0 in self.residual.shape else float(xp.max(self.residual))
        msg = f"{self.status.value} (worst relative residual {worst:.1e} after {self.steps} steps)"
        raise kind(msg)


def judge(equation: Equation, X: Inexact[Array, "*batch n m"] | Gram, *, rtol: float = 0.0, steps: int = 0) -> Solution:
    """Return what a solver found, with the status that its backward error earns, or its residual below rtol."""
    array = X.Z if isinstance(X, Gram) else X
    xp = namespace(array)
    if not bool(xp.all(xp.isfinite(array))):
        return Solution(X, Status.SINGULAR, equation, steps)
    # A backward-stable solve leaves a few n eps; a hundred times that tells rounding from a solution without a digit.
    limit = 100 * (X.shape[-2] + X.shape[-1]) * float(xp.finfo(array.dtype).eps)
    solution = Solution(X, Status.CONVERGED, equation, steps)
    accurate = bool(xp.all(backward_error(equation, X) <= limit)) or bool(xp.all(solution.residual <= rtol))
    return solution if accurate else replace(solution, status=Status.INACCURATE)


def singular_solution(equation: Equation) -> Solution:
    """Return NaN for an equation that a direct solver found singular."""
    if isinstance(equation.Q, Gram):
        return Solution(Gram(equation.Q.Z * float("nan")), Status.SINGULAR, equation)
    dense = dense_right_side(equation.Q)
    X = sum(term * float("nan") for term in equation.terms(dense))
    return Solution(X, Status.SINGULAR, equation)
