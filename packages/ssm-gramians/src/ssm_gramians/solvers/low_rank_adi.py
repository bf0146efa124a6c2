"""Low-rank ADI: the residual is a factor as thin as B, and known at each step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from .._arrays import Array
from .._equations import Equation
from .._gram import Gram
from .._pencil import Pencil
from .._solution import Solution, Status
from ..backends import Backend
from ._low_rank import LowRankFactorization, Outcome
from ._projected import compressed
from .shifts import ProjectionShifts, Shifts, WachspressShifts

if TYPE_CHECKING:
    from collections.abc import Iterator

    from jaxtyping import Inexact

# A residual that has grown by half of the digits will not come back.
HOPELESS = 1e8


@dataclass(frozen=True)
class LowRankADI:
    r"""$Z \leftarrow [Z, \sqrt{-2\Re p}\,V]$ with $V = (A + pE)^{-1} W$ and $W \leftarrow W - 2\Re(p)\,E V$.

    The residual is $W W^H$ exactly, so nothing has to be trusted. Every shift p takes a factorisation, which is kept.
    Real systems stay in real arithmetic: a conjugate pair is one complex solve. A Stein equation is solved as the
    Lyapunov equation of A - E and A + E, without an inverse.

    Parameters
    ----------
    shifts
        `ProjectionShifts()`, `WachspressShifts()`, `PenzlShifts()`, `FixedShifts(...)`; by symmetry if None:
        Wachspress for Hermitian A and E, projection otherwise.
    rtol
        Stop when $\lVert R\rVert_F \le$ rtol $\lVert B B^H\rVert_F$ for the residual factor of the iteration. It knows
        nothing of the rounding of a solution far larger than $B B^H$; `Solution.residual` does.
    max_steps
        Shifts at most, a conjugate pair counted once.

    References
    ----------
    P. Benner, P. Kurschner, J. Saak, Numer. Algorithms 62 (2013) 225-251; Electron. Trans. Numer. Anal. 43 (2014)
    142-162. J.-R. Li, J. White, SIAM J. Matrix Anal. Appl. 24 (2002) 260-280.
    """

    needs: ClassVar[frozenset[str]] = frozenset({"sparse"})
    equations: ClassVar[frozenset[str]] = frozenset({"lyapunov", "stein"})
    structures: ClassVar[frozenset[str]] = frozenset({"dense", "diagonal", "matrix_free", "sparse"})
    right_sides: ClassVar[frozenset[str]] = frozenset({"gram"})
    descriptor: ClassVar[bool] = True
    shifts: Shifts | None = None
    rtol: float = 1e-10
    max_steps: int = 300

    def solve(self, equation: Equation, backend: Backend) -> Solution:
        """Iterate until the residual is small enough; a batch is a loop."""
        assert isinstance(equation.Q, Gram)
        return self.factor(equation, backend).solve(equation.Q)

    def factor(self, equation: Equation, backend: Backend) -> LowRankFactorization:
        """Return what keeps the factorisations for more right-hand sides; they are made when first needed."""
        del backend
        return LowRankFactorization(equation.with_right_side(None), self._iterate)

    def _iterate(self, pencil: Pencil, B: Array) -> Outcome:
        pencil.check_regular()
        begin = float(np.linalg.norm(B.conj().T @ B))
        best, blocks, steps, status = np.inf, [], 0, Status.STEPS_EXHAUSTED
        shifts = self.shifts or (WachspressShifts() if pencil.hermitian else ProjectionShifts())
        for steps, (W, block) in enumerate(adi_steps(pencil, B, shifts, self.rtol), start=1):
            blocks.append(block)
            residual = float(np.linalg.norm(W.conj().T @ W))
            best = min(best, residual)
            if residual <= 0.8 * self.rtol * begin:  # the rest is for the columns that are left out
                status = Status.CONVERGED
            elif not residual <= HOPELESS * best:
                status = Status.DIVERGED
            if status is not Status.STEPS_EXHAUSTED or steps == self.max_steps:
                break
        if status is Status.STEPS_EXHAUSTED and not residual < begin:
            status = Status.DIVERGED
        return Outcome(compressed(pencil, np.concatenate(blocks, axis=1), 0.2 * self.rtol * begin), status, steps)


def adi_steps(
    pencil: Pencil, B: Inexact[Array, "n m"], shifts: Shifts, rtol: float
) -> Iterator[tuple[Inexact[Array, "n m"], Inexact[Array, "n k"]]]:
    """Yield the residual factor and the new columns of Z, one shift after the other, without end."""
    W, recent = B, [B]
    values = shifts.first(pencil, B, rtol)
    while True:
        for p in _both(values, pencil, B):
            W, block = adi_step(pencil, W, p)
            recent = [*recent, block][-getattr(shifts, "blocks", 1) :]
            yield W, block
        values = shifts.following(pencil, np.concatenate(recent, axis=1), values)


def adi_step(
    pencil: Pencil, W: Inexact[Array, "n m"], p: complex
) -> tuple[Inexact[Array, "n m"], Inexact[Array, "n k"]]:
    """Return the residual factor after a shift, or a pair of shifts in real arithmetic, and the new columns of Z."""
    p = complex(p)
    V = pencil.solve(p if p.imag else p.real, W)
    if np.iscomplexobj(W) or pencil.is_complex or not p.imag:
        return W - 2 * p.real * pencil.right(V), np.sqrt(-2 * p.real) * V
    gamma, delta = 2 * np.sqrt(-p.real), p.real / p.imag
    mixed = V.real + delta * V.imag
    block = np.concatenate((gamma * mixed, gamma * np.sqrt(delta**2 + 1) * V.imag), axis=1)
    return W + gamma**2 * pencil.right(np.asfortranarray(mixed)), block


def _both(values: Array, pencil: Pencil, B: Array) -> Array:
    """Return the shifts with the conjugates that real arithmetic would imply, if B is complex and the pencil real."""
    if pencil.is_complex or not np.iscomplexobj(B):
        return values
    return np.concatenate([[p, np.conj(p)] if p.imag else [p] for p in values])
