"""The matrix sign function: a Lyapunov solver of inverses and products, with E, on any array library."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from .._arrays import Array, adjoint, identity, namespace, promote
from .._equations import Equation
from .._errors import SingularEquationError
from .._gram import Gram
from .._solution import Solution, Status, judge, singular_solution
from ..backends import Backend
from ._probe import judge_by_probe
from .factored_smith import compress, revealed


@dataclass(frozen=True)
class SignIteration:
    r"""$A \leftarrow \tfrac12(A/c + c\,E A^{-1} E)$, which tends to -E for a stable pencil.

    $Q \leftarrow \tfrac12(Q/c + c\,W Q W^H)$ with $W = E A^{-1}$ tends to $2 E X E^H$; of a right-hand side
    `Gram(B)` the factor is iterated, $Z \leftarrow [Z/\sqrt{c}, \sqrt{c}\,W Z]/\sqrt2$. The scale
    $c = (\lVert A\rVert / \lVert E A^{-1} E\rVert)^{1/2}$ brings far eigenvalues near at once. A system that has
    converged is a fixed point, and waits for the rest of its batch. A must be stable.

    Parameters
    ----------
    rtol
        Stop one step after A is as near to -E as the square root of this, relative, since each step squares the
        distance; the dtype's eps if None.
    max_steps
        Steps at most; each costs an inverse and, with a dense Q, two products.
    truncate
        As in `SquaredSmith`, for factors.

    References
    ----------
    J. D. Roberts, Internat. J. Control 32 (1980) 677-687. P. Benner, E. S. Quintana-Orti, Numer. Algorithms 20 (1999)
    75-100. V. B. Larin, F. A. Aliev, Systems Control Lett. 20 (1993) 109-112 for the factor.
    """

    needs: ClassVar[frozenset[str]] = frozenset({"array"})
    equations: ClassVar[frozenset[str]] = frozenset({"lyapunov"})
    structures: ClassVar[frozenset[str]] = frozenset({"dense"})
    right_sides: ClassVar[frozenset[str]] = frozenset({"dense", "gram"})
    descriptor: ClassVar[bool] = True
    rtol: float | None = None
    max_steps: int = 50
    truncate: float | None = None

    def solve(self, equation: Equation, backend: Backend) -> Solution:
        """Iterate until every system of the batch has converged or one of them cannot."""
        Q = equation.Q
        E = equation.matrices.get("E", identity(equation.shape[0], like=equation.A))
        try:
            A, E, right = promote(equation.A, E, Q.Z if isinstance(Q, Gram) else Q)
            with np.errstate(all="ignore"):  # what overflows has diverged, and says so
                right, status, steps = self._iterate(A, E, right, isinstance(Q, Gram), backend)
            X = _recovered(E, right, isinstance(Q, Gram), backend) if "E" in equation.matrices else right
        except SingularEquationError:
            return singular_solution(equation)
        rtol = backend.eps(A) if self.rtol is None else self.rtol
        found = Gram(X / 2**0.5) if isinstance(Q, Gram) else X / 2
        if status is not Status.CONVERGED:
            return Solution(found, status, equation, steps)
        if isinstance(found, Gram) and "E" not in equation.matrices:
            return judge_by_probe(equation, found, rtol=rtol, steps=steps)
        return judge(equation, found, rtol=rtol, steps=steps)

    def _iterate(self, A: Array, E: Array, right: Array, factored: bool, backend: Backend) -> tuple[Array, Status, int]:
        xp, tolerance = namespace(A), (backend.eps(A) if self.rtol is None else self.rtol) ** 0.5
        size, near, last = backend.norm(E), False, False
        for step in range(self.max_steps):
            W = E @ backend.solve(A, identity(A.shape[-1], like=A) + xp.zeros_like(A))
            partner = W @ E
            c = xp.sqrt(backend.norm(A) / backend.norm(partner))
            c = xp.astype(xp.ones_like(c) if near else c, A.dtype)[..., None, None]
            moved = (A / c + c * partner) / 2
            right = self._advanced(right, W, c, factored, backend)
            if last:
                return right, Status.CONVERGED, step + 1
            distance, change = backend.norm(moved + E), backend.norm(moved - A)
            stuck = (change <= tolerance * backend.norm(A)) & (distance > size / 2)
            if bool(xp.any(stuck | ~xp.isfinite(distance))):
                return right, Status.DIVERGED, step + 1
            A, near, last = moved, bool(xp.all(distance <= size / 10)), bool(xp.all(distance <= tolerance * size))
        return right, Status.STEPS_EXHAUSTED, self.max_steps

    def _advanced(self, right: Array, W: Array, c: Array, factored: bool, backend: Backend) -> Array:
        """Return the next Q, or the next Z."""
        if not factored:
            return (right / c + c * (W @ right @ adjoint(W))) / 2
        root = namespace(c).sqrt(c)
        wide = compress(right / (root * 2**0.5), (root / 2**0.5) * (W @ right))
        drop = 10 * wide.shape[-2] * backend.eps(wide) if self.truncate is None else self.truncate
        return revealed(wide, drop) if 2 * wide.shape[-1] <= wide.shape[-2] else wide


def _recovered(E: Array, right: Array, factored: bool, backend: Backend) -> Array:
    """Return X from E X E^H, or Z from E Z."""
    zero = namespace(E).zeros_like(E[..., :1])
    half = backend.solve(E + namespace(E).zeros_like(right[..., :1]), right + zero)
    return half if factored else adjoint(backend.solve(E + zero, adjoint(half)))
