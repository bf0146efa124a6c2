"""Whether every mode of a system decays."""

from __future__ import annotations

from ._arrays import identity, namespace, real
from ._equations import Lyapunov, Stein
from ._errors import InstabilityError, UnsupportedError
from ._solve import solve
from ._structure import kind_of
from ._system import StateSpace
from .solvers import SquaredSmith


def check_stability(system: StateSpace) -> None:
    """Raise InstabilityError, naming the worst pole, unless every mode decays.

    Where the library has no eigenvalue solver, the convergence of a Smith iteration is the proof, and no pole is named.
    Of a sparse or matrix-free A the eigenvalues are out of reach: its solvers notice for themselves.
    """
    if kind_of(system.A) in {"matrix_free", "sparse"}:
        return
    try:
        poles = system.poles()
    except UnsupportedError:
        kind, eye = (Stein if system.is_discrete else Lyapunov), identity(system.order, like=system.B)
        if solve(kind(system.A, eye, system.E), SquaredSmith()).converged:
            return
        msg = "the system has a mode that does not decay: it has no infinite Gramian (a finite horizon= has one)"
        raise InstabilityError(msg) from None
    xp = namespace(poles)
    growth = xp.abs(poles) - 1 if system.is_discrete else real(poles)
    if bool(xp.all(growth < 0)):
        return
    worst = complex(xp.reshape(poles, (-1,))[int(xp.argmax(growth))])
    region = f"|z| = {abs(worst):.17g}; want < 1" if system.is_discrete else f"Re s = {worst.real:.17g}; want < 0"
    msg = f"the system has a pole at {worst:.6g}, {region}: it has no infinite Gramian (a finite horizon= has one)"
    raise InstabilityError(msg, worst)
