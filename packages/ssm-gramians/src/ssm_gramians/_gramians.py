"""Gramians of a system."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ._arrays import Array, adjoint, check_finite, promote
from ._band import Bands
from ._band_gramian import band_gramian
from ._diagonal import Diagonal, stack_real
from ._equations import Lyapunov, Stein
from ._finite_horizon import continuous_horizon_factor, exponential_weighting
from ._solve import solve
from ._span import Span
from ._stability import check_stability
from ._structure import arrays_of
from ._system import StateSpace
from ._untraced import untraced
from .backends import Backend, get_backend
from .solvers import Auto, ClosedForm, Solver
from .solvers.closed_form import Weighting, geometric_weighting, weigh_modes
from .solvers.factored_smith import horizon_factor

if TYPE_CHECKING:
    from jaxtyping import Inexact


@untraced
def controllability_gramian(
    system: StateSpace,
    *,
    horizon: float | None = None,
    average: bool = False,
    band: Bands | None = None,
    solver: Solver | None = None,
    backend: str | Backend | None = None,
) -> Inexact[Array, "*batch order order"]:
    r"""$P = \sum_k A^k B B^H (A^k)^H$, or $\int_0^\infty e^{At} B B^H e^{A^H t}\,dt$ in continuous time.

    It solves $A P A^H - E P E^H + B B^H = 0$, or $A P E^H + E P A^H + B B^H = 0$. For an input covariance in the place
    of white noise, see `weighted`.

    Parameters
    ----------
    system
        Stable, unless a horizon or a band is given. Paired systems give the real Gramian of order 2n.
    horizon
        How much of time counts: steps k < L in discrete time, T seconds in continuous time; all of it if None.
    average
        Return the mean over the horizons up to this one: weights 1 - k/L, or 1 - t/T.
    band
        Which frequencies count: a pair in rad/s, or several (Gawronski and Juang 1990); all of them if None.
    solver
        The algorithm for the equation; `Auto()` if None.
    backend
        A name or a `Backend`; by the type of the arrays if None.

    Returns
    -------
    Array
        P, Hermitian, shape (..., order, order), of the library, device and precision of the system.

    Raises
    ------
    InstabilityError
        If a mode does not decay and neither horizon nor band is given, or a pole lies on the band.
    NonFiniteError
        If the system has NaN or infinite entries.
    UnsupportedError
        If the solver cannot serve here.
    ValueError
        If horizon or band mean nothing.
    """
    span = Span(horizon, average, band)
    check_gramian(system, span)
    return gramian(system, span, solver, backend)


def observability_gramian(
    system: StateSpace,
    *,
    horizon: float | None = None,
    average: bool = False,
    band: Bands | None = None,
    solver: Solver | None = None,
    backend: str | Backend | None = None,
) -> Inexact[Array, "*batch order order"]:
    r"""$Q = \sum_k (A^k)^H C^H C A^k$, or $\int_0^\infty e^{A^H t} C^H C e^{At}\,dt$ in continuous time.

    It is the controllability Gramian of the dual system $(E^H, A^H, C^H)$, and everything said there holds here. With E
    the Hankel singular values are $\sqrt{\lambda(P E^H Q E)}$.

    Parameters
    ----------
    system
        Stable, unless a horizon or a band is given. Paired systems give the real Gramian of order 2n.
    horizon
        How much of time counts: steps k < L in discrete time, T seconds in continuous time; all of it if None.
    average
        Return the mean over the horizons up to this one: weights 1 - k/L, or 1 - t/T.
    band
        Which frequencies count: a pair in rad/s, or several; all of them if None.
    solver
        The algorithm for the equation; `Auto()` if None.
    backend
        A name or a `Backend`; by the type of the arrays if None.

    Returns
    -------
    Array
        Q, Hermitian, shape (..., order, order).

    Raises
    ------
    InstabilityError
        If a mode does not decay and neither horizon nor band is given, or a pole lies on the band.
    """
    return controllability_gramian(
        system.dual(), horizon=horizon, average=average, band=band, solver=solver, backend=backend
    )


def gramian(system: StateSpace, span: Span, solver: Solver | None, backend: str | Backend | None) -> Array:
    """Return the Gramian of a system that has one."""
    chosen = get_backend(system.B if backend is None else backend)
    if span.is_all and _suits_kernel(system, solver, chosen):  # Hermitian as it is
        return chosen.diagonal_gramian(system.A.eigenvalues, system.B, discrete=system.is_discrete)
    return _hermitian(_nearly_hermitian(system, span, solver, backend))


def _nearly_hermitian(system: StateSpace, span: Span, solver: Solver | None, backend: str | Backend | None) -> Array:
    if span.is_all:
        A, B = system.A, input_matrix(system)
        kind = Stein if system.is_discrete else Lyapunov
        return solve(kind(A, B @ adjoint(B), system.E), solver, backend).unwrap()
    system = without_descriptor(system)
    if span.band is not None:
        return band_gramian(system, span.band, solver=solver, backend=backend)
    if isinstance(system.A, Diagonal):
        B = input_matrix(system)
        return weigh_modes(system.A, B @ adjoint(B), _horizon_weighting(system, span))
    Z = horizon_sum(system, span)
    return Z @ adjoint(Z)


def _suits_kernel(system: StateSpace, solver: Solver | None, backend: Backend) -> bool:
    """Say whether the backend writes the Gramian from B at once, without a pass over memory for B B^H."""
    A = system.A
    plain = isinstance(A, Diagonal) and not A.paired and A.log_eigenvalues is None and system.E is None
    return plain and isinstance(solver, Auto | ClosedForm | None) and "diagonal_kernel" in backend.provides


def horizon_sum(system: StateSpace, span: Span) -> Array:
    """Return the factor of the Gramian of a horizon, summed as a factor."""
    dense = system.to_dense()
    A, B = promote(dense.A, dense.B)
    assert span.horizon is not None
    if system.is_discrete:
        return horizon_factor(A, B, int(span.horizon), average=span.average)
    return continuous_horizon_factor(A, B, span.horizon, average=span.average)


def _horizon_weighting(system: StateSpace, span: Span) -> Weighting:
    assert span.horizon is not None
    if system.is_discrete:
        return geometric_weighting(int(span.horizon), average=span.average)
    return exponential_weighting(span.horizon, average=span.average)


def input_matrix(system: StateSpace) -> Array:
    """Return B in the coordinates of the Gramian: the real ones of a paired system."""
    paired = isinstance(system.A, Diagonal) and system.A.paired
    return stack_real(system.B) if paired else system.B


def without_descriptor(system: StateSpace) -> StateSpace:
    """Return the system divided by E, dense; it has the same controllability Gramian."""
    if system.E is None:
        return system
    dense = system.to_dense()
    backend = get_backend(dense.B)
    A, B = (backend.solve(*promote(dense.E, M)) for M in (dense.A, dense.B))
    return StateSpace(A, B, system.C, system.D, system.dt)


def check_gramian(system: StateSpace, span: Span) -> None:
    """Raise for a bad span, NaN, or a system without the Gramian that is asked for."""
    span.check(system)
    matrices = {"A": system.A, "B": system.B, "C": system.C, "E": system.E}
    check_finite(**{name: part for name, M in matrices.items() if M is not None for part in arrays_of(M)})
    if span.is_all:
        check_stability(system)


def _hermitian(X: Array) -> Array:
    return (X + adjoint(X)) / 2
