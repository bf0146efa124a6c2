"""Gramians of a system, and their factors (first version)."""

from __future__ import annotations

from ._arrays import Array, adjoint, as_double, conj, imag, namespace, real
from ._errors import InstabilityError
from ._structure import Diagonal, stack_real
from ._system import StateSpace
from .backends import get_backend


def _denominator(a, b, discrete):
    return 1 - a[..., :, None] * conj(b)[..., None, :] if discrete else -(a[..., :, None] + conj(b)[..., None, :])


def controllability_gramian(system, *, horizon=None, solver=None, backend=None):
    xp = namespace(system.B)
    poles = system.poles()
    if not bool(xp.all(xp.abs(poles) < 1 if system.is_discrete else real(poles) < 0)):
        raise InstabilityError("unstable")
    A, B = system.A, system.B
    if isinstance(A, Diagonal):
        lam = A.eigenvalues
        P = (B @ adjoint(B)) / _denominator(lam, lam, system.is_discrete)
        if not A.paired:
            return P
        S = (B @ B.mT) / _denominator(lam, conj(lam), system.is_discrete)
        return (
            xp.concat(
                (xp.concat((real(P + S), imag(S - P)), axis=-1), xp.concat((imag(S + P), real(P - S)), axis=-1)),
                axis=-2,
            )
            / 2
        )
    if system.is_discrete:
        X, M = B @ adjoint(B), A
        for _ in range(60):
            X, M = X + M @ X @ adjoint(M), M @ M
        return X
    import numpy as np
    from scipy.linalg import solve_continuous_lyapunov

    return xp.asarray(solve_continuous_lyapunov(np.asarray(A), -np.asarray(B @ adjoint(B))))


def observability_gramian(system, *, horizon=None, average=False, solver=None, backend=None):
    return controllability_gramian(system.dual(), horizon=horizon, solver=solver, backend=backend)


def gramian_factors(system, *, horizon=None, average=False, solver=None, backend=None):
    A = (
        Diagonal(as_double(system.A.eigenvalues), system.A.paired)
        if isinstance(system.A, Diagonal)
        else as_double(system.A)
    )
    system = StateSpace(A, as_double(system.B), as_double(system.C), as_double(system.D), system.dt)
    P, Q = controllability_gramian(system), observability_gramian(system)
    be = get_backend(P)
    return be.factor(P), be.factor(Q)
