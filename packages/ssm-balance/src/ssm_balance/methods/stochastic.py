"""Balanced stochastic truncation."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf
from typing import TYPE_CHECKING

import numpy as np

from ssm_gramians import StateSpace, gramian_factors

from .._balance import balance, singular_values_of_product
from .._bilinear import to_continuous, to_discrete
from .._bounds import relative_error_bound
from .._by_member import Cut, reduce_members
from .._errors import BalanceError, RiccatiError
from .._host import dense_matrices
from .._order import Error, Order, selection_from
from .._project import project
from .._riccati import Supply, storage_factor
from .._stability import require_stable
from .._truncate import require_kept_stability
from ..norms import hinf_bracket

if TYPE_CHECKING:
    from jaxtyping import Float, Inexact

    from ssm_gramians import Backend, Solver

    from .._order import Selection
    from .._reduction import Reduction

_HALF = np.finfo(float).eps ** 0.5


def stochastic_truncation(
    system: StateSpace,
    order: int | Selection | None = None,
    *,
    energy: float | None = None,
    error: float | None = None,
    alpha: float = 0.0,
    solver: Solver | None = None,
    backend: str | Backend | None = None,
) -> Reduction:
    r"""‖G⁻¹ (G − G_r)‖_∞ ≤ ∏_{i>r} (1 + s_i) / (1 − s_i) − 1: the relative error is small, also where the gain is.

    P of G is balanced against Q of the phase of G, V⁻¹ G, where G Gᴴ = V Vᴴ on the axis: AᴴQ + QA + LᴴL = 0 with
    L = (D Dᴴ)^{-1/2} (C − (P Cᴴ + B Dᴴ)ᴴ Q), a Riccati equation. The s_i = √eig(P Q) are at most 1, and 1 for each zero
    of G in the right half-plane: those states must be kept for a finite bound. With more inputs than outputs it is
    V⁻¹ (G − G_r) that is bounded.

    Exactly one of order, energy, error.

    Parameters
    ----------
    system
        Stable, D of full row rank, no zero on the axis; dense, diagonal or paired; a regular dense E is divided out. A
        discrete system is taken to continuous time and back by the bilinear map, so that there G(−1) stands for D. The
        members of a batch are taken one by one, to one order. Tensors are reduced in NumPy,
        without gradients.
    order
        The number of states to keep, or a rule; it reads the s_i.
    energy
        Keep at least this fraction of Σ s_i, in (0, 1].
    error
        Allow at most this relative error.
    alpha
        Reduce [G, alpha I] instead, for systems without full row rank or with zeros on the axis. The relative error is
        then that of V with V Vᴴ = G Gᴴ + alpha² I: small gains are followed down to alpha, and for large alpha the
        method becomes balanced truncation.
    solver, backend
        As for `ssm_gramians.gramian_factors`.

    Returns
    -------
    reduction
        `hsv` are the s_i. `relative_error_bound` is the bound above, None if alpha is not 0; `error_bound` is the same
        times ‖V‖_∞. In discrete time left and right are None.

    Raises
    ------
    OrderError
        If the wish is none, double, or out of range.
    RiccatiError
        If D, or G(−1), has not full row rank and alpha is 0; if the equation has no stabilising solution, or rounding
        hides it.
    BalanceError
        If alpha is negative or not finite.
    InstabilityError
        If a pole does not decay.
    NonFiniteError
        If a matrix holds NaN or infinity.
    StabilityLossError
        If rounding made the reduced system unstable.

    References
    ----------
    U. B. Desai, D. Pal, IEEE Trans. Automat. Control 29 (1984) 1097-1100.
    M. Green, IEEE Trans. Automat. Control 33 (1988) 961-965 (bound).
    A. Varga, K. H. Fasol, IFAC World Congress (1993) (alpha).
    """
    rule = selection_from(order, energy, error)
    if not 0 <= alpha < inf:
        msg = f"alpha is {alpha}; want 0 or a positive number, in units of the gain"
        raise BalanceError(msg)
    if isinstance(rule, Order):
        rule.check(system.order)
    require_stable(system)
    if isinstance(rule, Error):
        rule = _Relative(rule.tolerance)

    def analyse(member):
        return _analysed(member.to_dense(), float(alpha), solver, backend)

    return reduce_members(system, rule, analyse, method="balanced stochastic truncation")


@dataclass(frozen=True)
class _Relative:
    """Smallest r ≥ 1 whose relative bound is within the tolerance, for every member of a batch."""

    tolerance: float

    def select(self, hsv: Float[np.ndarray, "*batch n"]) -> int:
        states = hsv.shape[-1]
        fits = (r for r in range(1, states) if np.all(np.asarray(relative_error_bound(hsv, r)) <= self.tolerance))
        return next(fits, states)


@dataclass(frozen=True, eq=False)
class _StochasticAnalysis:
    """One system in continuous time with the factors of P and of Q."""

    full: StateSpace
    continuous: StateSpace
    Z_P: Inexact[np.ndarray, "n k"]
    Z_Q: Inexact[np.ndarray, "n l"]
    values: Float[np.ndarray, " n"]
    alpha: float

    def cut(self, order: int) -> Cut:
        """Balance and truncate."""
        projection = balance(self.Z_P, self.Z_Q, order)
        left, right = projection.left, projection.right
        reduced = to_discrete(project(self.continuous, left, right), self.full.dt)
        require_kept_stability(reduced)
        relative = float(relative_error_bound(self.values, projection.order))
        gain = np.hypot(hinf_bracket(self.full, rtol=1e-6).upper, self.alpha) if relative < inf else 1.0
        promised = None if self.alpha else relative
        if self.full.is_discrete:
            return Cut(reduced, relative * float(gain), relative_error_bound=promised)
        return Cut(reduced, relative * float(gain), left, right, promised)


def _analysed(
    full: StateSpace, alpha: float, solver: Solver | None, backend: str | Backend | None
) -> _StochasticAnalysis:
    continuous = to_continuous(full)
    widened = np.concatenate([continuous.D, alpha * np.eye(full.outputs)], axis=1)  # of [G, alpha I]
    _require_full_row_rank(widened, full)
    Z_P = gramian_factors(continuous, solver=solver, backend=backend)[0]
    Z_Q = _phase_factor(continuous, Z_P, widened)
    values = np.minimum(singular_values_of_product(Z_P, Z_Q), 1)  # rounding puts them just outside
    return _StochasticAnalysis(full, continuous, Z_P, Z_Q, values, alpha)


def _phase_factor(
    system: StateSpace, Z_P: Inexact[np.ndarray, "n k"], widened: Inexact[np.ndarray, "p w"]
) -> Inexact[np.ndarray, "n l"]:
    """Z Zᴴ = Q, of the system [G, alpha I] with this D: it has the P of G, and B Dᴴ is the same."""
    A, _, C, _ = dense_matrices(system)
    root = np.linalg.cholesky(widened @ widened.conj().T)
    B_V, Ch = (np.linalg.solve(root, M.conj().T).conj().T for M in (_spectral_input(system, Z_P), C.conj().T))
    size = float(np.linalg.norm(Ch) / np.sqrt(np.linalg.norm(A))) or 1.0
    B_V, Ch = B_V * size, Ch / size  # Q, of the size of C Cᴴ / A, becomes one of the size of 1
    supply = Supply(np.zeros_like(A), -Ch, -np.eye(C.shape[0]))
    try:
        Z = storage_factor(StateSpace(A, B_V, C), supply, C[:0])
        zeros = np.linalg.eigvals(A - B_V @ (Ch.conj().T - (B_V.conj().T @ Z) @ Z.conj().T))
        if zeros.real.max() >= -_HALF * np.linalg.norm(A):  # as far as rounding moves a double one
            msg = f"V has a zero at {zeros[zeros.real.argmax()]:.3g}"
            raise RiccatiError(msg)
    except RiccatiError as failure:
        msg = f"{failure}; G may have a zero on the axis or near it: want a larger alpha"
        raise RiccatiError(msg) from failure
    return Z * size


def _spectral_input(system: StateSpace, Z_P: Inexact[np.ndarray, "n k"]) -> Inexact[np.ndarray, "n p"]:
    """P Cᴴ + B Dᴴ, the input matrix of V; what is rounding becomes zero, since the Riccati solver cannot tell."""
    _, B, C, D = dense_matrices(system)
    B_V = Z_P @ (Z_P.conj().T @ C.conj().T) + B @ D.conj().T
    size = np.abs(Z_P) @ (np.abs(Z_P).T @ np.abs(C).T) + np.abs(B) @ np.abs(D).T
    return np.where(np.abs(B_V) > B.shape[0] * np.finfo(float).eps * size, B_V, 0)


def _require_full_row_rank(D: Inexact[np.ndarray, "p m"], full: StateSpace) -> None:
    p, m = D.shape
    sigma = np.linalg.svd(D, compute_uv=False)
    if p > m or sigma[-1] <= np.finfo(float).eps * m * sigma[0]:
        name = "G(−1)" if full.is_discrete else "D"
        msg = (
            f"{name}, {p}×{full.inputs}, has not full row rank: its singular values are {np.array2string(sigma)}; "
            "a relative error needs it: want a positive alpha, or a method with an absolute error"
        )
        raise RiccatiError(msg)
