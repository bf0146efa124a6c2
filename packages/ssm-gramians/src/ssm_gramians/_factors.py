"""Factors of both Gramians of a system."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ._arrays import Array, as_double
from ._band import Bands
from ._diagonal import Diagonal
from ._equations import Lyapunov, Stein
from ._gram import Gram
from ._gramians import check_gramian, gramian, horizon_sum, input_matrix, without_descriptor
from ._one_input_output import factors_of_own_dual, is_its_own_dual
from ._solve import factor
from ._span import Span
from ._structure import map_arrays
from ._system import StateSpace
from ._untraced import untraced
from .backends import Backend, get_backend
from .solvers import Solver

if TYPE_CHECKING:
    from jaxtyping import Inexact


@untraced
def gramian_factors(
    system: StateSpace,
    *,
    horizon: float | None = None,
    average: bool = False,
    band: Bands | None = None,
    solver: Solver | None = None,
    backend: str | Backend | None = None,
) -> tuple[Inexact[Array, "*batch order k"], Inexact[Array, "*batch order l"]]:
    r"""Return $Z_P$ and $Z_Q$ with $P = Z_P Z_P^H$ and $Q = Z_Q Z_Q^H$, in double precision whatever the input.

    Hankel singular values are the singular values of $Z_Q^H E Z_P$. The factors are found as factors wherever a solver
    does so, so that small values keep digits that P has lost; both come from one factorisation of A where it has one.
    A float32 system is converted to float64 first: this is the one place where the precision of the input is not kept,
    since half the digits of a Gramian are lost to its condition.

    Parameters
    ----------
    system
        Stable, unless a horizon or a band is given.
    horizon
        How much of time counts: steps k < L in discrete time, T seconds in continuous time; all of it if None.
    average
        Take the mean over the horizons up to this one: weights 1 - k/L, or 1 - t/T.
    band
        Which frequencies count: a pair in rad/s, or several; all of them if None.
    solver
        The algorithm; `Auto()` if None. One that knows no factors gives Gramians, which are then factored.
    backend
        A name or a `Backend`; by the type of the arrays if None.

    Returns
    -------
    tuple
        $Z_P$ and $Z_Q$, with one row for each state: float64 for real and paired systems, else complex128. Columns are
        as many as the solver found, for low-rank solvers far fewer than states.

    Raises
    ------
    InstabilityError
        If a mode does not decay and neither horizon nor band is given, or a pole lies on the band.
    """
    system, span = _in_double(system), Span(horizon, average, band)
    check_gramian(system, span)
    dual, chosen = system.dual(), get_backend(system.B if backend is None else backend)
    if not span.is_all:
        return _limited(system, span, solver, chosen), _limited(dual, span, solver, chosen)
    kind = Stein if system.is_discrete else Lyapunov
    prepared = factor(kind(system.A, None, system.E), solver, backend)
    if is_its_own_dual(system, solver, chosen):
        return factors_of_own_dual(prepared, system, chosen)
    P, Q = prepared.solve(Gram(input_matrix(system))), prepared.solve_adjoint(Gram(input_matrix(dual)))
    return P.unwrap().Z, Q.unwrap().Z


def _limited(system: StateSpace, span: Span, solver: Solver | None, backend: Backend) -> Array:
    system = without_descriptor(system)
    if span.band is not None or isinstance(system.A, Diagonal):
        return backend.factor(gramian(system, span, solver, backend))
    return horizon_sum(system, span)


def _in_double(system: StateSpace) -> StateSpace:
    E = None if system.E is None else map_arrays(system.E, as_double)
    A, B, C, D = map_arrays(system.A, as_double), as_double(system.B), as_double(system.C), as_double(system.D)
    return StateSpace(A, B, C, D, system.dt, E)
