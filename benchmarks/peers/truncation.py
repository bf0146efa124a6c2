"""Truncation as other libraries do it, each called as its documentation does; None where a library is not installed.

Every function takes a `StateSpace` and an order and returns the reduced system. slycot knows no E: it is divided out.
slycot 0.7.1 wraps ab09ad, ab09bd, ab09md and ab09nd of SLICOT's model reduction, not ab09cd, ab09hd or ab09id.
"""

from __future__ import annotations

import warnings
from importlib.util import find_spec

import numpy as np
from scipy.sparse import csc_array

from ssm_balance import interop
from ssm_gramians import StateSpace

HAS_SLYCOT, HAS_PYMOR, HAS_CONTROL = (find_spec(name) is not None for name in ("slycot", "pymor", "control"))


def plain(system):
    """Return A, B, C, D dense, in Fortran order, without E."""
    system = system.to_dense()
    A, B = system.A, system.B
    if system.E is not None:
        A, B = np.linalg.solve(system.E, A), np.linalg.solve(system.E, B)
    return [np.array(M, dtype=float, order="F") for M in (A, B, system.C, system.D)]


def slycot_truncation(system, order):
    """`ab09ad`, the square-root method; the balancing-free one, job="N", writes outside its memory on `random`."""
    from slycot import ab09ad

    A, B, C, D = plain(system)
    kind = "D" if system.is_discrete else "C"
    r, A, B, C, _ = ab09ad(kind, "B", "N", len(A), B.shape[1], C.shape[0], A, B, C, nr=order)
    return StateSpace(A[:r, :r], B[:r], C[:, :r], D, system.dt)


def slycot_residualization(system, order):
    """`ab09nd`: singular perturbation approximation; ab09bd writes outside its memory, here ab09nd does not."""
    from slycot import ab09nd

    A, B, C, D = plain(system)
    kind, border = ("D", 1.0) if system.is_discrete else ("C", 0.0)
    n, m, p = len(A), B.shape[1], C.shape[0]
    r, A, B, C, D, *_ = ab09nd(kind, "N", "N", n, m, p, A, B, C, D, alpha=border, nr=order)
    return StateSpace(A[:r, :r], B[:r], C[:, :r], D, system.dt)


def control_balred(system, order, method="truncate"):
    """`control.balred`, for continuous time; "matchdc" is singular perturbation."""
    import control

    reduced = control.balred(control.ss(*plain(system)), order, method=method)
    return StateSpace(*(np.asarray(M) for M in (reduced.A, reduced.B, reduced.C, reduced.D)))


def pymor_model(system):
    """Return the `LTIModel`, its log silenced."""
    from pymor.core.logger import set_log_levels

    set_log_levels({"pymor": "CRITICAL"})
    return interop.to_pymor(system)


def pymor_balanced(system, order, reductor="BTReductor", **options):
    """`BTReductor`, `LQGBTReductor`, `BRBTReductor` or `PRBTReductor`, with the default projection."""
    from pymor.reductors import bt

    return _reduced(getattr(bt, reductor)(pymor_model(system), **options), order)


def pymor_modal(system, order):
    """`MTReductor` on all eigenvectors, by the norm of the residue over the decay, pyMOR's default dominance.

    pyMOR 2026.1 ranks the poles above the axis by the dominances of all poles, so that with complex poles it keeps
    others than it means to; `partial_fractions` is what the method says.
    """
    from pymor.reductors.mt import MTReductor

    return _reduced(MTReductor(pymor_model(system)), order, decomposition="eig", which="NR")


def partial_fractions(system, order):
    """Sum the most dominant terms c bᵀ / (s − λ), from NumPy's eigenvectors: of simple poles."""
    A, B, C, D = plain(system)
    poles, V = np.linalg.eig(A)
    B, C = np.linalg.solve(V, B), C @ V
    decay = 1 - np.abs(poles) if system.is_discrete else -poles.real
    dominance = np.linalg.norm(B, axis=1) * np.linalg.norm(C, axis=0) / decay
    kept = np.argsort(-dominance)[:order]
    return StateSpace(np.diag(poles[kept]), B[kept], C[:, kept], D, system.dt)


def pymor_regulator(system):
    """Return X of AᵀX + XA − X B Bᵀ X + Cᵀ C = 0 from pyMOR's low-rank factor."""
    sparse = StateSpace(csc_array(system.A), system.B, system.C, system.D)
    Z = pymor_model(sparse).gramian("lqg_o_lr").to_numpy()
    return Z @ Z.T


def pymor_irka(system, start):
    """`IRKAReductor` from a reduced system; it raises where an iterate becomes unstable."""
    from pymor.reductors.h2 import IRKAReductor

    return _reduced(IRKAReductor(pymor_model(system)), pymor_model(start), tol=1e-8, maxit=200)


def _reduced(reductor, *arguments, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return interop.from_pymor(reductor.reduce(*arguments, **options)).to_dense()
