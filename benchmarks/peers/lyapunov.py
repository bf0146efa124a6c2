"""One dense Lyapunov or Stein equation as other libraries solve it, each in its own words; None where not installed.

The full solution for a dense Q, or the factor for Q = B Bᵀ.
"""

from __future__ import annotations

import warnings
from importlib.util import find_spec

import numpy as np
import scipy.linalg


def scipy_full(A, B, discrete=False):
    """Return X by SciPy: Bartels-Stewart, and a bilinear map in discrete time."""
    Q = B @ B.T
    return scipy.linalg.solve_discrete_lyapunov(A, Q) if discrete else scipy.linalg.solve_continuous_lyapunov(A, -Q)


def slycot_full():
    """SLICOT's SB03MD; it overwrites its arguments, so copies are part of the call."""
    if find_spec("slycot") is None:
        return None
    import slycot

    def run(A, B, discrete=False):
        n = len(A)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            # A' X + X A in SLICOT's letters
            return slycot.sb03md(n, -B @ B.T, A.T.copy(), np.zeros((n, n)), "D" if discrete else "C")[0]

    return run


def slycot_factor():
    """SLICOT's SB03OD: Hammarling's method."""
    if find_spec("slycot") is None:
        return None
    import slycot

    def run(A, B, discrete=False):
        n, m = B.shape
        inputs = np.zeros((n, n), order="F")
        inputs[:m] = B.T
        U, scale, _ = slycot.sb03od(n, m, A.T.copy(order="F"), np.zeros((n, n)), inputs, "D" if discrete else "C")
        return U.T / scale

    return run


def slycot_generalised():
    """SLICOT's SG03AD, with the workspace that it asks for and its wrapper does not give."""
    if find_spec("slycot") is None:
        return None
    import slycot

    def run(A, E, Q, discrete=False):
        n = len(A)
        F = [np.array(M, order="F") for M in (A, E)]
        eye = [np.eye(n, order="F") for _ in range(2)]
        right = np.array(-Q, order="F")
        out = slycot.sg03ad(
            "D" if discrete else "C", "X", "N", "T", "U", n, *F, *eye, right, ldwork=2 * n * n + 8 * n + 16
        )
        return out[4] / out[5]

    return run


def python_control():
    """`control.lyap` with the method it chooses."""
    if find_spec("control") is None:
        return None
    import control

    def run(A, B, discrete=False):
        return (control.dlyap if discrete else control.lyap)(A, B @ B.T)

    return run


def pymor():
    """Return pyMOR's dense Gramian, of a new model each time, since models keep theirs; by slycot where installed."""
    if find_spec("pymor") is None:
        return None
    from pymor.core.logger import set_log_levels
    from pymor.models.iosys import LTIModel

    set_log_levels({"pymor": "ERROR"})

    def run(A, B, discrete=False):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return LTIModel.from_matrices(A, B, B.T, sampling_time=float(discrete)).gramian("c_dense")

    return run
