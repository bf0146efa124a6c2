"""One number of states for many systems."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ._errors import OrderError
from ._multiple import whole_number

if TYPE_CHECKING:
    from jaxtyping import Float

    from ._arrays import Array


@dataclass(frozen=True)
class Budget:
    """Orders r_k with Σ r_k ≤ total that minimise Σ_k w_k 2 Σ_{i>r_k} σ_{k,i}, the weighted sum of the error bounds.

    The next state of system k lowers the sum by 2 w_k σ_{k,r+1}, which only falls as r grows. So taking the largest
    gain next, over and over, is optimal. Every system keeps a state; values of zero are never paid for.

    Parameters
    ----------
    total
        The states there are to share, at least one for each system. If there are more than enough, all are kept.
    weights
        How much an error of each system matters, positive; 1 for each if None. With 1/σ_{k,1} errors count relative to
        the size of the system.
    of
        Hand out states in blocks of this many, for hardware that likes multiples. A last block that n_k does not fill
        costs a whole one; a system with fewer states than a block keeps them all.

    Raises
    ------
    OrderError
        If a number is out of range.

    Examples
    --------
    >>> Budget(total=4).allocate([[8.0, 4.0, 2.0, 1.0], [3.0, 0.1]])
    (3, 1)
    """

    total: int
    weights: Sequence[float] | None = None
    of: int = 1

    def __post_init__(self):
        object.__setattr__(self, "total", whole_number("total", self.total))
        object.__setattr__(self, "of", whole_number("of", self.of))
        if self.weights is None:
            return
        weights = tuple(float(weight) for weight in self.weights)
        object.__setattr__(self, "weights", weights)
        if not all(0 < weight < float("inf") for weight in weights):
            msg = f"weights must be positive and finite; got {weights}"
            raise OrderError(msg)

    def allocate(self, hsvs: Iterable[Float[Array, " n"]]) -> tuple[int, ...]:
        """Return one order for each system.

        Parameters
        ----------
        hsvs
            The Hankel singular values of each system, descending; their numbers may differ. A batch, shape (k, n), is
            k systems.

        Raises
        ------
        OrderError
            If there is no system, the values are not descending and finite, the weights do not fit, or the total does
            not give each system a state.
        """
        values = [_checked(hsv, k) for k, hsv in enumerate(hsvs)]
        weights = self._weights(len(values))
        blocks = [_block_sums(hsv, self.of) for hsv in values]
        spare = self._spare(len(values))
        gains = np.concatenate([weight * sums[1:] for weight, sums in zip(weights, blocks, strict=True)])
        owners = np.concatenate([np.full(sums.size - 1, k) for k, sums in enumerate(blocks)])
        chosen = np.argsort(-gains, kind="stable")[:spare]  # stable: of equal gains the earlier block of a system
        chosen = chosen[gains[chosen] > 0]
        count = 1 + np.bincount(owners[chosen].astype(int), minlength=len(values))
        return tuple(min(int(c) * self.of, hsv.size) for c, hsv in zip(count, values, strict=True))

    def _weights(self, systems: int) -> Sequence[float]:
        if systems == 0:
            msg = "got no system; want the Hankel singular values of at least one"
            raise OrderError(msg)
        if self.weights is not None and len(self.weights) != systems:
            msg = f"got {len(self.weights)} weights for {systems} systems; want one for each"
            raise OrderError(msg)
        return (1.0,) * systems if self.weights is None else self.weights

    def _spare(self, systems: int) -> int:
        if self.total < systems * self.of:
            msg = (
                f"total={self.total} does not give each of {systems} systems {self.of} of its states; "
                f"want at least {systems * self.of}"
            )
            raise OrderError(msg)
        return self.total // self.of - systems


def _checked(hsv: Array, k: int) -> Float[np.ndarray, " n"]:
    values = np.asarray(hsv.tolist() if hasattr(hsv, "tolist") else hsv, dtype=float)  # from any library and device
    if values.ndim != 1 or values.size == 0:
        msg = f"system {k} has Hankel singular values of shape {values.shape}; want (n,), one list for each system"
        raise OrderError(msg)
    if not (np.all(np.isfinite(values)) and np.all(values >= 0) and np.all(values[1:] <= values[:-1])):
        msg = f"the Hankel singular values of system {k} are not finite, not negative and descending; sort them first"
        raise OrderError(msg)
    return values


def _block_sums(hsv: Float[np.ndarray, " n"], of: int) -> Float[np.ndarray, " blocks"]:
    return np.add.reduceat(hsv, np.arange(0, hsv.size, of))
