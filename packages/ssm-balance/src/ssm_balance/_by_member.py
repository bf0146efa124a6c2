"""Methods that exist for one system at a time: analyse each member, choose one order, cut each member."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from ssm_gramians import StateSpace

from ._descriptor import without_descriptor
from ._errors import OrderError
from ._host import dense_matrices, from_numpy, members, on_host
from ._reduction import Reduction

if TYPE_CHECKING:
    from collections.abc import Callable

    from jaxtyping import Float, Inexact

    from ._order import Selection


@dataclass(frozen=True, eq=False)
class Cut:
    """What a cut gives, as the fields of `Reduction` of the same names; leftᴴ right = I."""

    system: StateSpace
    error_bound: float
    left: Inexact[np.ndarray, "n r"] | None = None
    right: Inexact[np.ndarray, "n r"] | None = None
    relative_error_bound: float | None = None


class Analysis(Protocol):
    """One system, understood as far as the order is not needed."""

    @property
    def values(self) -> Float[np.ndarray, " n"]:
        """What the order is chosen from, descending, one for each state."""

    def cut(self, order: int) -> Cut:
        """Reduce to this order, or one near it that the method can reach."""


def reduce_members(
    system: StateSpace, rule: Selection, analyse: Callable[[StateSpace], Analysis], *, method: str
) -> Reduction:
    """Reduce a system, or every member of a batch to one order, in NumPy, and return the array kind that came.

    Parameters
    ----------
    system
        Checked by the caller, at least one; E is divided out.
    rule
        How many states to keep.
    analyse
        Of one member in NumPy arrays, of the structure that came.
    method
        Its name, for the reduction.

    Raises
    ------
    OrderError
        If the members cannot be cut to one order.
    """
    found = [analyse(member) for member in members(on_host(without_descriptor(system)))]
    hsv = _stacked([analysis.values for analysis in found], system.batch_shape)
    order = rule.select(hsv)
    cuts = [analysis.cut(order) for analysis in found]
    orders = sorted({cut.system.order for cut in cuts})
    if len(orders) > 1:
        msg = f"order {order} gives the members of the batch the orders {orders}; want one: reduce them one by one"
        raise OrderError(msg)
    return _assembled(system, hsv, cuts, method)


def _assembled(system: StateSpace, hsv: np.ndarray, cuts: list[Cut], method: str) -> Reduction:
    batch, like = system.batch_shape, system.B

    def stacked(parts: list[Any]) -> Any:
        return None if parts[0] is None else from_numpy(_stacked(parts, batch), like)

    def bound(values: list[Any]) -> Any:
        return values[0] if not batch or values[0] is None else stacked([np.asarray(value) for value in values])

    parts = zip(*(dense_matrices(cut.system) for cut in cuts), strict=True)
    A, B, C, D = (stacked(list(matrices)) for matrices in parts)
    left = None if cuts[0].left is None else _with_descriptor(_stacked([cut.left for cut in cuts], batch), system)
    return Reduction(
        StateSpace(A, B, C, D, system.dt),
        from_numpy(hsv, like),
        cuts[0].system.order,
        bound([cut.error_bound for cut in cuts]),
        None if left is None else from_numpy(left, like),
        stacked([cut.right for cut in cuts]),
        system,
        method,
        bound([cut.relative_error_bound for cut in cuts]),
    )


def _with_descriptor(left: np.ndarray, system: StateSpace) -> np.ndarray:
    """E⁻ᴴ left, so that leftᴴ E right = I."""
    if system.E is None:
        return left
    E = on_host(system).to_dense().E
    return np.linalg.solve(np.swapaxes(E.conj(), -1, -2), left)  # type: ignore[union-attr]


def _stacked(parts: list[Any], batch: tuple[int, ...]) -> np.ndarray:
    return np.reshape(np.array(parts), (*batch, *parts[0].shape))
