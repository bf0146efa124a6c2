"""Hankel singular values as other libraries compute them, each in its own words; None where it is not installed.

Continuous real systems for python-control and slycot; `eigenvalues_of_pq` is the textbook's definition with SciPy's
Gramians, which the published codes for state-space layers use too.
"""

from __future__ import annotations

import warnings
from importlib.util import find_spec

import numpy as np
import scipy.linalg


def scipy_gramians(A, B, C, discrete):
    """P and Q by SciPy."""
    gramian = scipy.linalg.solve_discrete_lyapunov if discrete else _continuous
    return gramian(A, B @ B.conj().T), gramian(A.conj().T, C.conj().T @ C)


def eigenvalues_of_pq(A, B, C, discrete):
    """Square roots of the eigenvalues of P Q, with the Gramians of SciPy."""
    P, Q = scipy_gramians(A, B, C, discrete)
    return np.sort(np.sqrt(np.abs(np.linalg.eigvals(P @ Q))))[::-1]


def _continuous(a, q):
    return scipy.linalg.solve_continuous_lyapunov(a, -q)


def python_control():
    """`control.hankel_singular_values`, for continuous time only."""
    if find_spec("control") is None:
        return None
    import control

    def run(A, B, C, discrete):
        return control.hankel_singular_values(control.ss(A, B, C, 0))

    return run


def pymor():
    """`LTIModel.hsv` with pyMOR's default solvers."""
    if find_spec("pymor") is None:
        return None
    from pymor.core.logger import set_log_levels
    from pymor.models.iosys import LTIModel

    set_log_levels({"pymor": "ERROR"})

    def run(A, B, C, discrete):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return LTIModel.from_matrices(A, B, C, sampling_time=float(discrete)).hsv()

    return run


def slycot():
    """`ab09ad`: SLICOT's Hammarling factors and the singular values of their product."""
    if find_spec("slycot") is None:
        return None
    from slycot import ab09ad

    def run(A, B, C, discrete):
        n, m, p = A.shape[0], B.shape[1], C.shape[0]
        kind = "D" if discrete else "C"
        return ab09ad(kind, "B", "N", n, m, p, A.copy(), B.copy(), C.copy(), nr=min(n, 1))[-1]

    return run


def pymor_gramians(A, B, C, discrete):
    """Both dense Gramians, of a new model each time, since pyMOR caches them."""
    if find_spec("pymor") is None:
        return None
    from pymor.models.iosys import LTIModel

    def run():
        model = LTIModel.from_matrices(A, B, C, sampling_time=float(discrete))
        return model.gramian("c_dense"), model.gramian("o_dense")

    return run


def slycot_gramians(A, B, C, discrete):
    """Both Gramians by `sb03md57`, with one Schur form."""
    if find_spec("slycot") is None:
        return None
    from slycot import sb03md57

    kind = "D" if discrete else "C"

    def run():
        schur, U, P, scale_P, *_ = sb03md57(A.copy(), None, -B @ B.T, kind, "X", "N", "T")
        _, _, Q, scale_Q, *_ = sb03md57(schur, U, -C.T @ C, kind, "X", "F", "N")
        return P / scale_P, Q / scale_Q

    return run
