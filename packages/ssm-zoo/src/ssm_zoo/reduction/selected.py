r"""Which states of a selective layer stay, where only a selection keeps its form, and what those that go leave behind.

With $P = E[h h^T]$ and $Q$ what an error of the states costs, states $K$ can stand for the others by
$h \approx P_{:K} P_{KK}^{-1} h_K$, at the cost $\mathrm{tr}\,Q (P - P_{:K} P_{KK}^{-1} P_{K:})$. The states are picked
one by one, each time the one that lowers the cost most: a pivoted Cholesky factorisation of P with pivots weighed by Q.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from jaxtyping import Float, Int

_SPENT = 1e-12  # of the first pivot's cost: what is left is rounding


@dataclass(frozen=True)
class Selected:
    """The order in which states are picked, what each is worth, and the moment that folds the others into them.

    Parameters
    ----------
    values
        One for each state, descending.
    ranking
        The indices of the states, best first.
    P
        The second moment to fold by; None leaves the dropped states without a trace.
    """

    values: Float[np.ndarray, " n"]
    ranking: Int[np.ndarray, " n"]
    P: Float[np.ndarray, "n n"] | None = None

    @classmethod
    def by_moments(cls, P: Float[np.ndarray, "n n"], Q: Float[np.ndarray, "n n"]) -> Selected:
        """Pick by cost; the value of a state is the root of what picking it saves."""
        left = P.copy()
        free = np.ones(len(P), dtype=bool)
        ranking, gains = [], []
        for _ in range(len(P)):
            pivots = left.diagonal()
            resolved = free & (pivots > _SPENT * P.diagonal().max())
            saved = np.where(resolved, np.einsum("ij,jk,ki->i", left, Q, left) / np.where(resolved, pivots, 1), -1.0)
            saved[free & ~resolved] = 0.0
            j = int(saved.argmax())
            ranking.append(j)
            gains.append(max(saved[j], 0.0))
            free[j] = False
            if resolved[j]:
                left = left - np.outer(left[:, j], left[j]) / pivots[j]
        values = np.minimum.accumulate(np.sqrt(gains))  # a later pick may save more than an earlier one did
        return cls(values, np.array(ranking), P)

    @classmethod
    def by_scores(cls, scores: Float[np.ndarray, " n"]) -> Selected:
        """Pick the highest scores, and fold nothing."""
        ranking = np.argsort(-scores, kind="stable")
        return cls(scores[ranking], ranking)

    def kept(self, count: int) -> Int[np.ndarray, " s"]:
        """Return the indices of the best states, ascending."""
        return np.sort(self.ranking[:count])

    def moment(self, count: int) -> Float[np.ndarray, "s s"]:
        """Return the second moment of the kept states."""
        kept = self.kept(count)
        return np.eye(count) if self.P is None else self.P[np.ix_(kept, kept)]

    def fold(self, count: int) -> Float[np.ndarray, "n s"]:
        r"""Return the matrix M with $h \approx M h_K$: the rows of the kept states are those of the identity."""
        kept = self.kept(count)
        M = np.zeros((len(self.ranking), count))
        M[kept, np.arange(count)] = 1
        if self.P is not None:
            dropped = np.setdiff1d(np.arange(len(self.ranking)), kept)
            M[dropped] = self.P[np.ix_(dropped, kept)] @ np.linalg.pinv(
                self.P[np.ix_(kept, kept)], rcond=_SPENT, hermitian=True
            )
        return M
