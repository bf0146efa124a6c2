"""States that a system visited, in order of time or as a second moment alone, and what a reduced one makes of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ssm_gramians import Diagonal, EmpiricalGramian, NonFiniteError, ShapeError, StateSpace, Structure

from ._arrays import times
from ._descriptor import descriptor_times
from ._host import on_host, to_numpy

if TYPE_CHECKING:
    from jaxtyping import Bool, Inexact

    from ._arrays import Array
    from ._reduction import Reduction


@dataclass(frozen=True, eq=False)
class Snapshots:
    """x_t, in the coordinates of a system.

    Parameters
    ----------
    states
        Shape (sequences, length, n).
    mask
        Which of them count, shape (sequences, length).
    in_time
        Whether neighbours follow one another, so that what drove them is x_{t+1} − A x_t.
    """

    states: Inexact[np.ndarray, "sequences length n"]
    mask: Bool[np.ndarray, "sequences length"]
    in_time: bool

    @classmethod
    def of(cls, states: Any, system: StateSpace, mask: Any = None, *, name: str = "states") -> Snapshots:
        """Read an array (..., length, n), or the root of an `EmpiricalGramian`, in any of the coordinates of a system.

        Raises
        ------
        ShapeError
            If the states do not have the order of the system, there are none, or the mask does not fit.
        NonFiniteError
            If a state that counts holds NaN or infinity.
        """
        moment = isinstance(states, EmpiricalGramian)
        rows = to_numpy(states.factor() if moment else states)
        if moment:  # as states of which the mean of x xᴴ is the moment
            rows = np.swapaxes(rows, -1, -2) * np.sqrt(rows.shape[-1])
        paired = isinstance(system.A, Diagonal) and system.A.paired
        if paired and np.iscomplexobj(rows) and rows.shape[-1] * 2 == system.order:
            rows = np.concatenate([rows.real, rows.imag], axis=-1)
        if rows.ndim < 2 or rows.shape[-1] != system.order or 0 in rows.shape:
            slots = f", or {system.order // 2} complex slots" if paired else ""
            msg = f"{name} have shape {rows.shape}; want (..., length, {system.order}){slots}, at least one of them"
            raise ShapeError(msg)
        kept = np.ones(rows.shape[:-1], dtype=bool) if mask is None else to_numpy(mask).astype(bool)
        if kept.shape != rows.shape[:-1] or not kept.any():
            msg = f"mask has shape {kept.shape} and {kept.sum()} true; want {rows.shape[:-1]}, at least one true"
            raise ShapeError(msg)
        rows = np.where(kept[..., None], rows, 0)
        if not np.isfinite(rows).all():
            msg = f"{name} hold NaN or infinity; want finite entries, or a mask that leaves them out"
            raise NonFiniteError(msg)
        length = rows.shape[-2]
        double = np.result_type(rows, np.float64)
        in_time = system.is_discrete and not moment
        return cls(rows.reshape(-1, length, system.order).astype(double), kept.reshape(-1, length), in_time)

    def factor(self) -> Inexact[np.ndarray, "n k"]:
        """Return Z with Z Zᴴ the mean of x xᴴ."""
        return EmpiricalGramian.of(self.states, mask=self.mask, axis=(0, 1)).factor()

    def kept(self, values: Inexact[np.ndarray, "sequences length k"]) -> Inexact[np.ndarray, "samples k"]:
        """Return what belongs to states that count."""
        return values[self.mask]

    def reduced(
        self, full: StateSpace, left: Inexact[np.ndarray, "n r"], A: Inexact[np.ndarray, "r r"]
    ) -> Inexact[np.ndarray, "sequences length r"]:
        """ξ_{t+1} = A_r ξ_t + leftᴴ (E x_{t+1} − A x_t) from ξ_0 = leftᴴ E x_0: what drove the full system drives A_r.

        Inputs need not be known. Where time has no order it is leftᴴ E x.
        """
        at_once = self.states @ descriptor_times(_adjoint(full.E), left).conj()
        if not self.in_time:
            return at_once
        moved = self.states @ times(_adjoint(full.A), left).conj()
        xi = np.empty(at_once.shape, dtype=np.result_type(at_once, A))
        xi[:, 0] = at_once[:, 0]
        for t in range(1, xi.shape[1]):
            step = xi[:, t - 1] @ A.T + at_once[:, t] - moved[:, t - 1]
            xi[:, t] = np.where(self.mask[:, t - 1, None], step, at_once[:, t])  # after a gap from the state itself
        return xi


def snapshot_error(reduction: Reduction, states: Array | EmpiricalGramian, *, mask: Array | None = None) -> float:
    """‖y − y_r‖ / ‖y‖ over the states, in the Frobenius norm: y = C x, and y_r = C_r ξ of the reduced system.

    In discrete time the reduced system is run with what drove the full one, x_{t+1} − A x_t, from the projected first
    state; the inputs need not be known. In continuous time, or of an `EmpiricalGramian`, ξ is the projected x. States
    that took no part in the reduction tell what it is worth.

    Parameters
    ----------
    reduction
        Of one system, by a method that projects.
    states
        As for `data_weighted_truncation`.
    mask
        True for the states that count.

    Returns
    -------
    error
        Relative; infinite if y is zero and y_r is not.

    Raises
    ------
    ShapeError
        If the reduction has no left basis or is a batch, or the states or the mask do not fit.
    NonFiniteError
        If a state that counts holds NaN or infinity.
    """
    if reduction.left is None or reduction.full.batch_shape:
        msg = "snapshot_error needs a reduction of one system with its left basis: by a method that projects"
        raise ShapeError(msg)
    full, small = on_host(reduction.full), on_host(reduction.system)
    seen = Snapshots.of(states, full, mask)
    xi = seen.kept(seen.reduced(full, to_numpy(reduction.left), small.A))
    return relative_error(seen.kept(seen.states) @ output_matrix(full).T, xi @ small.C.T)


def relative_error(y: Inexact[np.ndarray, "samples p"], y_r: Inexact[np.ndarray, "samples p"]) -> float:
    """‖y − y_r‖ / ‖y‖."""
    gap, size = np.linalg.norm(y - y_r), np.linalg.norm(y)
    if size == 0:
        return 0.0 if gap == 0 else np.inf
    return float(gap / size)


def output_matrix(system: StateSpace) -> Inexact[np.ndarray, "p n"]:
    """Return C in the coordinates of the states: the real ones of a paired system."""
    if isinstance(system.A, Diagonal) and system.A.paired:
        return 2 * np.concatenate([system.C.real, -system.C.imag], axis=-1)
    return system.C


def _adjoint(M: Any) -> Any:
    return M if M is None else M.adjoint() if isinstance(M, Structure) else M.conj().T
