"""A stable operator with the powers of its matrix: what squared Smith can use again."""

from __future__ import annotations

from math import prod

from .._arrays import Array, adjoint, namespace, promote
from .._equations import Equation, Lyapunov, RightSide
from .._errors import SingularEquationError
from .._gram import Gram
from .._solution import Solution, Status, judge, singular_solution
from ..backends import Backend
from ._doubling import CONVERGED, DIVERGED, doubled_sums
from ._powers import Powers
from ._probe import judge_by_probe
from .cayley import cayley
from .factored_smith import summed_factor

_KERNEL_ORDER = 96  # up to it, the four matrices of a system fit a core's cache, and a compiled loop beats BLAS


class SmithFactorization:
    """A Stein equation, or a Lyapunov equation as one, with the powers of its matrix.

    Parameters
    ----------
    equation
        With a dense A, without E.
    backend
        What computes.
    rtol, max_steps, truncate
        As in `SquaredSmith`.
    """

    def __init__(
        self, equation: Equation, backend: Backend, *, rtol: float | None, max_steps: int, truncate: float | None
    ) -> None:
        self.equation, self._backend, self._max_steps, self._truncate = equation, backend, max_steps, truncate
        self.rtol = backend.eps(equation.A) if rtol is None else rtol
        A, self._inverse, self._scale = flat(equation.A), None, None
        self._singular = False
        if isinstance(equation, Lyapunov):
            try:
                A, self._inverse, self._scale = cayley(A, backend)
            except SingularEquationError:
                self._singular = True
        self._powers = Powers(A, rtol=self.rtol, max_steps=max_steps)

    def solve(self, Q: RightSide) -> Solution:
        """Solve the equation with this right-hand side."""
        return self._solve(self.equation.with_right_side(Q), dual=False)

    def solve_adjoint(self, Q: RightSide) -> Solution:
        """Solve the adjoint equation with this right-hand side."""
        return self._solve(self.equation.adjoint().with_right_side(Q), dual=True)

    def solve_once(self, Q: Array) -> Solution:
        """Solve for one dense Q of each A and keep no powers, which a batch would push out of the cache."""
        equation = self.equation.with_right_side(Q)
        if self._singular:
            return singular_solution(equation)
        compiled = "smith_kernel" in self._backend.provides and self._powers[0].shape[-1] <= _KERNEL_ORDER
        if not compiled and self._is_hopeless():  # a compiled loop is over before a forecast is made
            return self._given_up(equation)
        A, right = promote(self._powers[0], self._in_discrete_time(Q, dual=False))
        if compiled:
            X, residual, steps, outcome = self._backend.smith_sums(A, right, rtol=self.rtol, max_steps=self._max_steps)
        else:
            residual = None
            X, steps, outcome = doubled_sums(A, right, rtol=self.rtol, max_steps=self._max_steps)
        known = None if isinstance(equation, Lyapunov) else residual
        return self._judged(equation, X, outcome, int(namespace(steps).max(steps)) if steps.shape[0] else 0, known)

    def _solve(self, equation: Equation, *, dual: bool) -> Solution:
        if self._singular:
            return singular_solution(equation)
        right = self._in_discrete_time(equation.Q, dual=dual)
        if isinstance(equation.Q, Gram):
            Z, status, steps = summed_factor(self._powers, right, self._backend, dual=dual, truncate=self._truncate)
            Z = namespace(Z).reshape(Z, (*_batch(equation), *Z.shape[-2:]))
            if status is not Status.CONVERGED:
                return Solution(Gram(Z), status, equation, steps)
            return judge_by_probe(equation, Gram(Z), rtol=self.rtol, steps=steps)
        if self._is_hopeless():
            return self._given_up(equation)
        X, outcome, steps = self._powers.sum(right, dual=dual)
        return self._judged(equation, X, outcome, steps)

    def _is_hopeless(self) -> bool:
        """Say whether the terms shrink too slowly for the steps that are allowed: seen before anything is squared."""
        return self._powers.foreseen(self._backend) > self._max_steps

    def _given_up(self, equation: Equation) -> Solution:
        A, Q = promote(self._powers[0], flat(equation.Q))
        X = Q + namespace(A).zeros_like(A)
        return Solution(namespace(X).reshape(X, (*_batch(equation), *X.shape[-2:])), Status.STEPS_EXHAUSTED, equation)

    def _in_discrete_time(self, Q: RightSide, *, dual: bool) -> Array:
        """Return the right-hand side of the Stein equation, flat; of a `Gram` its factor."""
        right = flat(Q.Z if isinstance(Q, Gram) else Q)
        if self._inverse is None:
            return promote(self._powers[0], right)[1]
        S, scale, right = promote(adjoint(self._inverse) if dual else self._inverse, self._scale, right)
        if isinstance(Q, Gram):
            return namespace(S).sqrt(scale) * (S @ right)
        return scale * (S @ right @ adjoint(S))

    def _judged(
        self, equation: Equation, X: Array, outcome: Array, steps: int, residual: Array | None = None
    ) -> Solution:
        xp = namespace(X)
        X = xp.reshape(X, (*_batch(equation), *X.shape[-2:]))
        worst = int(xp.max(outcome)) if outcome.shape[0] else CONVERGED
        if worst != CONVERGED:
            status = Status.DIVERGED if worst == DIVERGED else Status.STEPS_EXHAUSTED
            return Solution(X, status, equation, steps)
        if residual is None:
            seen = judge_by_probe(equation, X, steps=steps)
            return seen if seen.converged else judge(equation, X, rtol=self.rtol, steps=steps)
        limit = max(200 * X.shape[-1] * self._backend.eps(X), self.rtol)  # as `judge` has it
        good = bool(xp.all(residual <= limit))
        solution = Solution(X, Status.CONVERGED if good else Status.INACCURATE, equation, steps)
        vars(solution)["residual"] = xp.reshape(residual, _batch(equation))  # the kernel had it at hand
        return solution


def flat(M: Array) -> Array:
    """Return the matrices with one leading axis."""
    return namespace(M).reshape(M, (prod(M.shape[:-2]), *M.shape[-2:]))


def _batch(equation: Equation) -> tuple[int, ...]:
    return max((tuple(M.shape[:-2]) for M in (equation.A, equation.Q) if M is not None), key=len)
