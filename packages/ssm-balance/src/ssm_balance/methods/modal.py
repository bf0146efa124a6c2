"""Truncation in the coordinates of the eigenvectors."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Literal

import numpy as np
from scipy.linalg import eig
from scipy.optimize import linear_sum_assignment

from ssm_gramians import Diagonal, StateSpace

from .._by_member import Cut, reduce_members
from .._errors import BalanceError, OrderError
from .._host import dense_matrices
from .._order import Error, Order, selection_from
from .._project import project
from .._spectral_split import SchurForm, largest
from .._stability import require_stable
from .._stable_split import keeps_unstable, reduce_stable_part
from .._truncate import require_kept_stability

if TYPE_CHECKING:
    from jaxtyping import Bool, Complex, Float, Inexact

    from .._order import Selection
    from .._reduction import Reduction
    from .._stable_split import Unstable

_HALF = np.finfo(float).eps ** 0.5  # of the digits


def modal_truncation(
    system: StateSpace,
    order: int | Selection | None = None,
    *,
    by: Literal["dominance", "slowest"] = "dominance",
    energy: float | None = None,
    error: float | None = None,
    unstable: Unstable = "refuse",
    margin: float = 0.0,
) -> Reduction:
    r"""G = D + Σ c_i b_iᴴ / (s − λ_i): keep the poles λ_i of the largest ‖c_i‖ ‖b_i‖ / |Re λ_i|, as they are.

    What is left out has at most the sum of these dominances as H∞ norm (with 1 − |λ_i| in discrete time): that is the
    bound. It is crude where modes cancel, as those of nearly defective matrices do. No Gramian is needed, and kept
    poles keep their physical meaning; balanced truncation is nearly always more accurate for the order.

    Exactly one of order, energy, error.

    Parameters
    ----------
    system
        Stable; dense, diagonal or paired; a regular dense E is divided out. A diagonal system costs O(n) and its modes
        are its own, repeated ones too. The members of a batch are taken one by one, to one order. Tensors
        are reduced in NumPy, without gradients.
    order
        The number of states to keep, or a rule; it reads the values that `by` names. Conjugate poles of a real system
        are kept together, so that there may be one state more.
    by
        "dominance", or "slowest": the largest time constants 1/|Re λ_i|, in steps −1/log |λ_i| in discrete time.
    energy
        Keep at least this fraction of the sum of the values, in (0, 1].
    error
        Allow at most this H∞ error, by twice the sum of the dominances that are left out; not with `by="slowest"`.
    unstable
        "keep" reduces the stable part and adds the unstable one; "refuse" raises InstabilityError.
    margin
        Of the stable part, as for `split_stable`.

    Returns
    -------
    reduction
        `right` is orthonormal. `hsv` are the values of `by`.

    Raises
    ------
    OrderError
        If the wish is none, double, or out of range; if the cut goes between poles so close that half of the digits
        would be lost.
    BalanceError
        If `by` is neither of the two.
    InstabilityError
        If a pole does not decay.
    NonFiniteError
        If a matrix holds NaN or infinity.

    References
    ----------
    E. J. Davison, IEEE Trans. Automat. Control 11 (1966) 93-101.
    A. Varga, Math. Modelling of Systems 1 (1995) 91-105 (dominance, separation by the Schur form).
    """
    rule = selection_from(order, energy, error)
    if by not in ("dominance", "slowest"):
        msg = f"by is {by!r}; want 'dominance' or 'slowest'"
        raise BalanceError(msg)
    if by == "slowest" and isinstance(rule, Error):
        msg = "time constants do not bound the error, got by='slowest' and an error; want by='dominance'"
        raise OrderError(msg)
    if keeps_unstable(unstable):
        return reduce_stable_part(system, rule, margin, partial(modal_truncation, by=by))
    if isinstance(rule, Order):
        rule.check(system.order)
    require_stable(system)

    def analyse(member):
        modes = _Diagonal(member) if isinstance(member.A, Diagonal) else _Dense(member)
        return _ModalAnalysis(member, modes, by == "slowest")

    return reduce_members(system, rule, analyse, method="modal truncation")


@dataclass(frozen=True, eq=False)
class _ModalAnalysis:
    """One system with its modes."""

    full: StateSpace
    modes: _Dense | _Diagonal
    slowest: bool

    @property
    def values(self) -> Float[np.ndarray, " n"]:
        """What the poles are ranked by, descending."""
        return np.sort(self._ranks())[::-1]

    def cut(self, order: int) -> Cut:
        """Keep the first poles."""
        chosen = largest(self._ranks(), order, self.modes.starts_pair)
        left, right = self.modes.bases(chosen)
        reduced = project(self.full, left, right)
        require_kept_stability(reduced)
        return Cut(reduced, float(self._dominance()[~chosen].sum()), left, right)

    def _dominance(self):
        return self.modes.residues / _decay(self.modes.eigenvalues, self.full.is_discrete)

    def _ranks(self):
        if not self.slowest:
            return self._dominance()
        poles = self.modes.eigenvalues
        if not self.full.is_discrete:
            return -1 / poles.real
        with np.errstate(divide="ignore"):  # a pole at zero is gone at once
            return -1 / np.log(np.abs(poles))


class _Dense:
    """Modes of a dense A, in the order of its Schur form."""

    def __init__(self, system: StateSpace):
        A, B, C, _ = dense_matrices(system)
        self._form = SchurForm(A)
        self.eigenvalues, self.starts_pair = self._form.eigenvalues, self._form.starts_pair
        self.residues = self._matched(*_residues(A, B, C))

    def bases(self, chosen: Bool[np.ndarray, " n"]) -> tuple[Inexact[np.ndarray, "n r"], Inexact[np.ndarray, "n r"]]:
        """Return left and right of the chosen modes."""
        split = self._form.split(chosen)
        if split.condition > 1 / _HALF:
            msg = (
                f"the cut goes between poles so close that rounding is magnified {split.condition:.1e} times; "
                "want it elsewhere: keep more states, or fewer"
            )
            raise OrderError(msg)
        return split.left, split.right

    def _matched(self, eigenvalues, residues):
        """Bring what belongs to eigenvalues in another order to ours: the nearest to the nearest, one to one."""
        distance = np.abs(self.eigenvalues[:, None] - eigenvalues)
        found = residues[linear_sum_assignment(distance)[1]]
        first = np.flatnonzero(self.starts_pair)
        found[first] = found[first + 1] = np.maximum(found[first], found[first + 1])  # alike: neighbours in the ranking
        return found


class _Diagonal:
    """Modes of a diagonal A: its slots, for a paired one each with its conjugate."""

    def __init__(self, system: StateSpace):
        assert isinstance(system.A, Diagonal)
        slots = system.A.eigenvalues
        residues = np.linalg.norm(system.B, axis=1) * np.linalg.norm(system.C, axis=0)
        self._slots, self._doubled = slots.size, system.A.paired
        if self._doubled:
            slots, residues = np.stack([slots, slots.conj()], axis=1).ravel(), np.repeat(residues, 2)
        self.starts_pair: Bool[np.ndarray, " n"] = (np.arange(slots.size) % 2 == 0) & self._doubled
        self.eigenvalues: Complex[np.ndarray, " n"] = slots
        self.residues: Float[np.ndarray, " n"] = residues

    def bases(self, chosen: Bool[np.ndarray, " n"]) -> tuple[Inexact[np.ndarray, "n r"], Inexact[np.ndarray, "n r"]]:
        """Return columns of the identity; of a paired system in the real coordinates [Re x; Im x]."""
        if not self._doubled:
            rows = np.flatnonzero(chosen)
        else:
            slot, is_second = np.flatnonzero(chosen) // 2, np.flatnonzero(chosen) % 2
            rows = slot + self._slots * is_second
        basis = np.zeros((chosen.size, rows.size))
        basis[rows, np.arange(rows.size)] = 1
        return basis, basis


def _residues(A, B, C):
    """‖c_i‖ ‖b_i‖ with c_i = C v_i, b_i = Bᴴ w_i and w_iᴴ v_i = 1; infinite for a defective eigenvalue."""
    eigenvalues, W, V = eig(A, left=True, right=True)
    size = np.linalg.norm(C @ V, axis=0) * np.linalg.norm(B.conj().T @ W, axis=0)
    overlap = np.abs(np.sum(W.conj() * V, axis=0))
    return eigenvalues, size / np.maximum(overlap, np.finfo(float).tiny)


def _decay(poles, discrete):
    return 1 - np.abs(poles) if discrete else -poles.real
