r"""Plans for states that come in groups, each with a space of its own, where every group keeps equally many.

A plan is asked for $r$ states and answers with $h' = L h$ and $h \approx R h'$ for every group.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

import ssm_balance as sb

from .idle import awake
from .selected import Selected

if TYPE_CHECKING:
    from jaxtyping import Float, Int


class GroupedPlan(Protocol):
    """A plan for a layer whose states come in groups."""

    @property
    def values(self) -> np.ndarray:
        """Return the mean over the groups of what the k-th best state of each is worth."""
        ...

    def maps(self, slots: int) -> tuple[Float[np.ndarray, "g r N"], Float[np.ndarray, "g N r"]]:
        """Return L and R for at most so many states of each group."""
        ...


@dataclass(frozen=True)
class Picked:
    """A selection of the states of every group.

    Parameters
    ----------
    groups
        The selection of each.
    """

    groups: tuple[Selected, ...]

    @property
    def values(self) -> Float[np.ndarray, " N"]:
        """Return the mean over the groups of what the k-th best state of each is worth."""
        return np.mean([group.values for group in self.groups], axis=0)

    def kept(self, slots: int) -> Int[np.ndarray, "g r"]:
        """Return the indices of the states that stay."""
        return np.stack([group.kept(slots) for group in self.groups])

    def maps(self, slots: int) -> tuple[Float[np.ndarray, "g r N"], Float[np.ndarray, "g N r"]]:
        """Return rows of the identity, and what folds the other states into those that stay."""
        identity = np.eye(len(self.groups[0].ranking))
        return identity[self.kept(slots)], np.stack([group.fold(slots) for group in self.groups])


@dataclass(frozen=True)
class Rotated:
    """The leading states of every group in balanced coordinates.

    Parameters
    ----------
    Z_P, Z_Q
        The factors of the moments of each.
    values
        The mean over the groups of their Hankel singular values, zeros where the factors have no more.
    """

    Z_P: Float[np.ndarray, "g N k"]
    Z_Q: Float[np.ndarray, "g N l"]
    values: Float[np.ndarray, " N"]

    @classmethod
    def of(cls, Z_P: np.ndarray, Z_Q: np.ndarray) -> Rotated:
        """Balance two factors of each group."""
        hsv = np.linalg.svd(np.swapaxes(Z_Q, -1, -2) @ Z_P, compute_uv=False)
        values = hsv.mean(0)
        return cls(Z_P, Z_Q, np.pad(values, (0, Z_P.shape[1] - values.size)))

    def maps(self, slots: int) -> tuple[Float[np.ndarray, "g r N"], Float[np.ndarray, "g N r"]]:
        """Return balanced coordinates, scaled so that L and R are equally large; a group with less has rows of zeros.

        Zero rows of L and columns of R make states that stay at rest and are not read.
        """
        pairs = [awake(*pair)[1:] for pair in zip(self.Z_P, self.Z_Q, strict=True)]
        found = [sb.balance(*pair, sb.Order(slots)) for pair in pairs]
        r = max(one.order for one in found)
        L, R = np.zeros((len(found), r, self.Z_P.shape[1])), np.zeros((len(found), self.Z_P.shape[1], r))
        for g, one in enumerate(found):
            scale = np.sqrt(np.linalg.norm(one.right, axis=0) / np.linalg.norm(one.left, axis=0))
            L[g, : one.order], R[g, :, : one.order] = (one.left * scale).T, one.right / scale
        return L, R
