"""Gramians of a system, and their factors."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ._arrays import Array, adjoint, as_double, check_finite, namespace, promote
from ._diagonal import Diagonal, stack_real
from ._equations import Lyapunov, Stein
from ._errors import UnsupportedError
from ._solve import solve
from ._stability import check_stability
from ._system import StateSpace
from ._untraced import untraced
from .backends import Backend, get_backend
from .solvers import Solver, SquaredSmith
from .solvers.closed_form import geometric_weighting, weigh_modes
from .solvers.factored_smith import horizon_factor, stein_factor
from .solvers.smith import cayley

if TYPE_CHECKING:
    from jaxtyping import Inexact


@untraced
def controllability_gramian(
    system: StateSpace,
    *,
    horizon: int | None = None,
    average: bool = False,
    solver: Solver | None = None,
    backend: str | Backend | None = None,
) -> Inexact[Array, "*batch order order"]:
    r"""$P = \sum_k A^k B B^H (A^k)^H$, or $\int_0^\infty e^{At} B B^H e^{A^H t}\,dt$ in continuous time.

    It solves $A P A^H - P + B B^H = 0$, or $A P + P A^H + B B^H = 0$.

    Parameters
    ----------
    system
        Stable, unless a horizon is given. Paired systems give the real Gramian of order 2n.
    horizon
        Number of steps L that are summed, k < L, in discrete time; all of them if None.
    average
        Return the mean over the horizons 1..L: weights 1 - k/L.
    solver
        The algorithm for the infinite horizon; `Auto()` if None.
    backend
        A name or a `Backend`; by the type of the arrays if None.

    Returns
    -------
    Array
        P, Hermitian, shape (..., order, order), of the library, device and precision of the system.

    Raises
    ------
    InstabilityError
        If a mode does not decay and no horizon is given.
    NonFiniteError
        If the system has NaN or infinite entries.
    UnsupportedError
        If a horizon is given in continuous time, or the solver cannot serve here.
    """
    _check(system, horizon, average)
    return _hermitian(_gramian(system, horizon, average, solver, backend))


@untraced
def observability_gramian(
    system: StateSpace,
    *,
    horizon: int | None = None,
    average: bool = False,
    solver: Solver | None = None,
    backend: str | Backend | None = None,
) -> Inexact[Array, "*batch order order"]:
    r"""$Q = \sum_k (A^k)^H C^H C A^k$, or $\int_0^\infty e^{A^H t} C^H C e^{At}\,dt$ in continuous time.

    It is the controllability Gramian of the dual system $(A^H, C^H)$, and everything said there holds here.

    Parameters
    ----------
    system
        Stable, unless a horizon is given. Paired systems give the real Gramian of order 2n.
    horizon
        Number of steps L that are summed, k < L, in discrete time; all of them if None.
    average
        Return the mean over the horizons 1..L: weights 1 - k/L.
    solver
        The algorithm for the infinite horizon; `Auto()` if None.
    backend
        A name or a `Backend`; by the type of the arrays if None.

    Returns
    -------
    Array
        Q, Hermitian, shape (..., order, order).

    Raises
    ------
    InstabilityError
        If a mode does not decay and no horizon is given.
    """
    return controllability_gramian(system.dual(), horizon=horizon, average=average, solver=solver, backend=backend)


@untraced
def gramian_factors(
    system: StateSpace,
    *,
    horizon: int | None = None,
    average: bool = False,
    solver: Solver | None = None,
    backend: str | Backend | None = None,
) -> tuple[Inexact[Array, "*batch order k"], Inexact[Array, "*batch order k"]]:
    r"""Return $Z_P$ and $Z_Q$ with $P = Z_P Z_P^H$ and $Q = Z_Q Z_Q^H$, in double precision whatever the input.

    Hankel singular values are the singular values of $Z_Q^H Z_P$. Factors of dense systems are summed as factors, so
    that small ones keep digits that P has lost; Gramians of diagonal systems come in closed form and are factored
    after scaling to unit diagonal. A float32 system is converted to float64 first: this is the one place where the
    precision of the input is not kept, since half the digits of a Gramian are lost to its condition.

    Parameters
    ----------
    system
        Stable, unless a horizon is given.
    horizon
        Number of steps L that are summed, in discrete time; all of them if None.
    average
        Take the mean over the horizons 1..L: weights 1 - k/L.
    solver
        None for the above; `SquaredSmith()` to sum factors for diagonal systems too: slower, and right down to the
        smallest Hankel singular values; any other solver gives Gramians, which are then factored.
    backend
        A name or a `Backend`; by the type of the arrays if None.

    Returns
    -------
    tuple
        $Z_P$ and $Z_Q$, shapes (..., order, k) with k <= order: float64 for real and paired systems, else complex128.

    Raises
    ------
    InstabilityError
        If a mode does not decay and no horizon is given.
    """
    system = _in_double(system)
    _check(system, horizon, average)
    options = (horizon, average, solver, get_backend(system.B if backend is None else backend))
    return _factor(system, *options), _factor(system.dual(), *options)


def _gramian(
    system: StateSpace, horizon: int | None, average: bool, solver: Solver | None, backend: str | Backend | None
) -> Array:
    """Return the Gramian, Hermitian up to rounding."""
    A, B = system.A, _input_matrix(system)
    if horizon is None:
        kind = Stein if system.is_discrete else Lyapunov
        return solve(kind(A, B @ adjoint(B)), solver, backend).unwrap()
    if isinstance(A, Diagonal):
        return weigh_modes(A, B @ adjoint(B), geometric_weighting(horizon, average=average))
    A, B = promote(A, B)
    Z = horizon_factor(A, B, horizon, average=average)
    return Z @ adjoint(Z)


def _factor(system: StateSpace, horizon: int | None, average: bool, solver: Solver | None, backend: Backend) -> Array:
    closed = solver is None and isinstance(system.A, Diagonal)
    Z = None
    if not closed and isinstance(solver, SquaredSmith | None):
        Z = _summed_factor(system.to_dense(), horizon, average, backend)
    return backend.factor(_gramian(system, horizon, average, solver, backend)) if Z is None else Z


def _summed_factor(system: StateSpace, horizon: int | None, average: bool, backend: Backend) -> Array | None:
    """Return the factor of a dense system, never squared; None if the sum does not converge."""
    A, B = promote(system.A, system.B)
    if horizon is not None:
        return horizon_factor(A, B, horizon, average=average)
    if system.is_discrete:
        return stein_factor(A, B, backend)
    A, shifted, scale = cayley(A, backend)
    return stein_factor(A, namespace(A).sqrt(scale) * (shifted @ B), backend)


def _input_matrix(system: StateSpace) -> Array:
    paired = isinstance(system.A, Diagonal) and system.A.paired
    return stack_real(system.B) if paired else system.B


def _hermitian(X: Array) -> Array:
    return (X + adjoint(X)) / 2


def _in_double(system: StateSpace) -> StateSpace:
    A = system.A
    A = Diagonal(as_double(A.eigenvalues), A.paired) if isinstance(A, Diagonal) else as_double(A)
    return StateSpace(A, as_double(system.B), as_double(system.C), as_double(system.D), system.dt)


def _check(system: StateSpace, horizon: int | None, average: bool) -> None:
    """Raise for a bad horizon, NaN, or a system without the Gramian that is asked for."""
    _check_horizon(system, horizon, average)
    check_finite(A=system.A.eigenvalues if isinstance(system.A, Diagonal) else system.A, B=system.B, C=system.C)
    if horizon is None:
        check_stability(system)


def _check_horizon(system: StateSpace, horizon: int | None, average: bool) -> None:
    if horizon is None:
        if average:
            msg = "average=True needs a horizon: pass horizon=L"
            raise ValueError(msg)
        return
    if not system.is_discrete:
        msg = "horizon counts steps, and the system has none (dt=0); want a system with dt > 0"
        raise UnsupportedError(msg)
    if horizon != int(horizon) or horizon < 1:
        msg = f"horizon is {horizon}; want a whole number of steps, at least 1"
        raise ValueError(msg)
