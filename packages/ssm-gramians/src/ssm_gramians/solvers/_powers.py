"""The powers of A that squared Smith needs, kept for the next right-hand side."""

from __future__ import annotations

from functools import cached_property
from math import ceil, log, log2
from typing import TYPE_CHECKING

import numpy as np

from .._arrays import Array, adjoint, namespace, promote
from ..backends import Backend
from ._directions import directions
from ._doubling import CONVERGED, DIVERGED, EXHAUSTED, has_grown, square_norm

if TYPE_CHECKING:
    from jaxtyping import Inexact, Int


TERMS = 16  # from which the rate of decay may be read


def doublings(early: Array, late: Array, apart: int, rtol: float) -> int:
    """Return how many doublings the slowest system takes to rtol if its terms shrink on as they do; 0 if unknown.

    Parameters
    ----------
    early, late
        The norms of two terms of each system.
    apart
        How many terms lie between the two.
    rtol
        Where to stop.
    """
    xp = namespace(early, late)
    shrinks = (late > 0) & (late < early)
    rate = float(xp.max(xp.where(shrinks, late / xp.where(shrinks, early, xp.ones_like(early)), xp.zeros_like(late))))
    return ceil(log2(max(1.0, log(rtol) / log(rate) * apart))) if rate > 0 else 0


class Powers:
    r"""$A, A^2, A^4, \dots$ of a flat batch, squared when first asked for.

    Parameters
    ----------
    A
        The matrices.
    rtol
        Powers are needed until $\lVert A^{2^k}\rVert_F^4$ is below it.
    max_steps
        Number of powers at most.
    """

    def __init__(self, A: Inexact[Array, "batch n n"], *, rtol: float, max_steps: int) -> None:
        self._found, self.rtol, self.max_steps = [A], rtol, max_steps

    @cached_property
    def _alive(self) -> list[Array]:
        with np.errstate(all="ignore"):  # what overflows has diverged, and says so
            return [~has_grown(square_norm(self._found[0]))]

    def __getitem__(self, k: int) -> Inexact[Array, "batch n n"]:
        """Return the power 2^k; zero where a lower one has grown beyond hope, so that sums stay finite."""
        xp = namespace(self._found[0])
        with np.errstate(all="ignore"):
            while len(self._found) <= k:
                M = xp.where(self._alive[-1][:, None, None], self._found[-1], xp.zeros_like(self._found[-1]))
                self._found.append(M @ M)
                self._alive.append(self._alive[-1] & ~has_grown(square_norm(self._found[-1])))
        return self._found[k]

    def is_last(self, k: int) -> bool:
        """Say whether no system needs a power beyond this one."""
        with np.errstate(all="ignore"):
            return bool(namespace(self[k]).all((square_norm(self[k]) ** 2 <= self.rtol) | ~self.alive(k)))

    def alive(self, k: int) -> Array:
        """Say for each system whether its powers up to 2^k have not grown beyond hope."""
        self[k]
        return self._alive[k]

    def foreseen(self, backend: Backend) -> int:
        r"""Return how many steps the slowest system will take, by the decay of $A^j v$ over 16 terms; 0 if unknown."""
        A = self._found[0]
        if A.shape[0] == 0:
            return 0
        terms = [directions(A.shape[-1], like=A)[:, :1]]
        with np.errstate(all="ignore"):
            for _ in range(TERMS):
                terms.append(A @ terms[-1])
            early, late = backend.norm(terms[TERMS // 2]), backend.norm(terms[TERMS])
        return doublings(early, late, TERMS // 2, self.rtol**0.5)

    def sum(self, Q: Inexact[Array, "batch n n"], *, dual: bool) -> tuple[Array, Int[Array, " batch"], int]:
        r"""Return $\sum_k A^k Q (A^k)^H$, or that of the adjoint, the outcome of each system, and the steps."""
        X, steps, last, xp = Q, 0, False, namespace(Q)
        while steps < self.max_steps and not last:
            M = adjoint(self[steps]) if dual else self[steps]
            last, steps = self.is_last(steps), steps + 1
            with np.errstate(all="ignore"):
                M, X = promote(M, X)
                X = X + M @ X @ adjoint(M)
        alive = self.alive(max(0, steps - 1))
        good = xp.full_like(alive, CONVERGED if last else EXHAUSTED, dtype=xp.int64)
        return X, xp.where(alive, good, xp.full_like(good, DIVERGED)), steps
