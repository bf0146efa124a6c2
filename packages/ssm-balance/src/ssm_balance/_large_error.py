"""The H2 error of a large system, sparse or diagonal, against a small one."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import sparse

from ssm_gramians import Cauchy, ConvergenceError, Diagonal, LowRankADI, StateSpace, UnsupportedError

from ._host import dense_matrices
from .norms import h2_norm
from .norms._modal_energy import modal_h2_norm

_FEW_MODES = 20_000  # the square of it in operations: seconds


def large_h2_error(full: StateSpace, reduced: StateSpace) -> float:
    """‖G − G_r‖₂ of two systems in NumPy arrays, nothing large made dense; NaN if out of reach.

    From a low-rank factor, which keeps the digits of a small error; else from the modes, as long as they are few.
    """
    return _h2(_difference(full, reduced))


def _h2(error: StateSpace) -> float:
    solver = Cauchy(rtol=1e-28) if isinstance(error.A, Diagonal) else LowRankADI(rtol=1e-15)
    for attempt in (solver, None):  # a residual of 1e-15 leaves √eps of the norm of the full system
        try:
            return float(h2_norm(error, solver=attempt))
        except (ConvergenceError, UnsupportedError):
            if isinstance(error.A, Diagonal):
                return modal_h2_norm(error, error.A) if error.order <= _FEW_MODES else np.nan
    return np.nan


def _difference(full: StateSpace, reduced: StateSpace) -> StateSpace:
    """G − G_r, block diagonal: sparse, or diagonal with the eigenvalues of both."""
    A_r, B_r, C_r, D_r = dense_matrices(reduced)
    E: Any = None
    B, C, D = full.B, full.C, full.D - D_r
    if isinstance(full.A, Diagonal):
        poles, vectors = np.linalg.eig(A_r)
        A: Any = Diagonal(np.concatenate([full.poles(), poles]))
        if full.A.paired:
            B, C = np.concatenate([B, B.conj()]), np.concatenate([C, C.conj()], axis=1)
        B_r, C_r = np.linalg.solve(vectors, B_r), C_r @ vectors
    else:
        parts = [getattr(M, "matrix", M) for M in (full.A, full.E)]
        A = sparse.csc_array(sparse.block_diag([parts[0], A_r]))
        if parts[1] is not None:
            E = sparse.csc_array(sparse.block_diag([parts[1], np.eye(A_r.shape[0])]))
    return StateSpace(A, np.concatenate([B, B_r]), np.concatenate([C, -C_r], axis=1), D, full.dt, E)
