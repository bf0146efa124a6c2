"""Truncation by the cross Gramian."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from math import inf
from typing import TYPE_CHECKING

import numpy as np

from ssm_gramians import Diagonal, ShapeError, StateSpace, cross_gramian

from .._arrays import is_complex
from .._bounds import error_bound
from .._by_member import Cut, reduce_members
from .._errors import OrderError, StabilityLossError
from .._order import Order, selection_from
from .._project import project
from .._spectral_split import SchurForm, largest
from .._stability import require_stable, unstable_pole
from .._stable_split import keeps_unstable, reduce_stable_part

if TYPE_CHECKING:
    from jaxtyping import Float

    from ssm_gramians import Backend, Solver

    from .._order import Selection
    from .._reduction import Reduction
    from .._stable_split import Unstable


def cross_gramian_truncation(
    system: StateSpace,
    order: int | Selection | None = None,
    *,
    energy: float | None = None,
    error: float | None = None,
    unstable: Unstable = "refuse",
    margin: float = 0.0,
    solver: Solver | None = None,
    backend: str | Backend | None = None,
) -> Reduction:
    r"""Solve A X + X A + B C = 0, or A X A − X + B C = 0, and keep the invariant subspace of X of the r largest |λ|.

    One equation and no balancing. For a real system with one input and one output it is balanced truncation, with the
    same σ = |λ|, the same bound, and other coordinates. With more inputs, or complex, nothing is promised: the bound is
    infinite and the reduced system may be unstable, which is refused.

    Exactly one of order, energy, error.

    Parameters
    ----------
    system
        Stable, with as many outputs as inputs; dense, diagonal or paired; a regular dense E is divided out. The members
        of a batch are taken one by one, to one order. Tensors are reduced in NumPy, without gradients.
    order
        The number of states to keep, or a rule; it reads the |λ|. Conjugate λ of a real X are kept together, so that
        there may be one state more; values below rounding, eps · n · |λ|_max, are left out.
    energy
        Keep at least this fraction of Σ|λ|, in (0, 1].
    error
        Allow at most this H∞ error, which is known only for a real system with one input and one output.
    unstable
        "keep" reduces the stable part and adds the unstable one; "refuse" raises InstabilityError.
    margin
        Of the stable part, as for `split_stable`.
    solver, backend
        As for `ssm_gramians.cross_gramian`.

    Returns
    -------
    reduction
        `right` is orthonormal.

    Raises
    ------
    OrderError
        If the wish is none, double, or out of range, or the cut goes through coinciding eigenvalues.
    ShapeError
        If there are not as many outputs as inputs.
    InstabilityError
        If a pole does not decay.
    NonFiniteError
        If a matrix holds NaN or infinity.
    StabilityLossError
        If the reduced system is unstable.

    References
    ----------
    K. V. Fernando, H. Nicholson, IEEE Trans. Automat. Control 28 (1983) 228-231.
    R. W. Aldhaheri, Int. J. Control 53 (1991) 709-716 (ordered Schur form).
    """
    rule = selection_from(order, energy, error)
    if system.inputs != system.outputs:
        msg = f"got {system.outputs} outputs and {system.inputs} inputs; a cross Gramian wants as many of both"
        raise ShapeError(msg)
    if error is not None and not _has_bound(system):
        msg = f"got {error=} and a system without an error bound; want order or energy, or balanced_truncation"
        raise OrderError(msg)
    if keeps_unstable(unstable):
        method = partial(cross_gramian_truncation, solver=solver, backend=backend)
        return reduce_stable_part(system, rule, margin, method)
    if isinstance(rule, Order):
        rule.check(system.order)
    require_stable(system)

    def analyse(member):
        return _CrossAnalysis(member, SchurForm(cross_gramian(member, solver=solver, backend=backend)))

    return reduce_members(system, rule, analyse, method="cross-Gramian truncation")


@dataclass(frozen=True, eq=False)
class _CrossAnalysis:
    """One system and the Schur form of its cross Gramian."""

    full: StateSpace
    form: SchurForm

    @property
    def values(self) -> Float[np.ndarray, " n"]:
        """|λ|, descending."""
        return np.sort(np.abs(self.form.eigenvalues))[::-1]

    def cut(self, order: int) -> Cut:
        """Project onto the subspace."""
        values = self.values
        attainable = int(np.sum(values > np.finfo(float).eps * values.size * values[0]))
        if attainable == 0:
            msg = "every eigenvalue of the cross Gramian is zero: the input does not reach the output; nothing to keep"
            raise OrderError(msg)
        chosen = largest(np.abs(self.form.eigenvalues), min(order, attainable), self.form.starts_pair)
        split = self.form.split(chosen)
        reduced = project(self.full, split.left, split.right)
        _require_stable_result(reduced)
        bound = error_bound(values, reduced.order) if _has_bound(self.full) else inf
        return Cut(reduced, float(bound), split.left, split.right)


def _has_bound(system: StateSpace) -> bool:
    """Say whether the system is real and has one input and one output."""
    paired = isinstance(system.A, Diagonal) and system.A.paired
    parts = [system.B, system.C] + [part for M in (system.A, system.E) for part in getattr(M, "arrays", (M,))]
    real = paired or not any(is_complex(part) for part in parts if part is not None)
    return real and system.inputs == system.outputs == 1


def _require_stable_result(reduced: StateSpace) -> None:
    pole = unstable_pole(reduced)
    if pole is not None:
        msg = (
            f"the reduced system of order {reduced.order} is unstable: eigenvalue {pole:.6g}; the cross Gramian "
            "promises stability only for real systems with one input and output: want another order or method"
        )
        raise StabilityLossError(msg, pole)
