"""To and from scipy.signal."""

from __future__ import annotations

from typing import Any

import numpy as np

from ssm_gramians import ShapeError, StateSpace, UnsupportedError

from ._cascade import cascade
from ._matrices import dense, dense_matrices, sampling_time


def to_scipy(system: StateSpace) -> Any:
    """Return the `scipy.signal.StateSpace` with the same matrices: an `lti`, or a `dlti` in discrete time.

    Parameters
    ----------
    system
        One system of any structure, real or complex. A paired one goes out as the real system of order 2n that it
        stands for; E is divided out, since SciPy has none.

    Raises
    ------
    ShapeError
        If it is a batch.
    SingularDescriptorError
        If E is singular.
    """
    from scipy import signal

    matrices = dense_matrices(system, "scipy.signal")
    return signal.StateSpace(*matrices, dt=system.dt) if system.is_discrete else signal.StateSpace(*matrices)


def from_scipy(system: Any, *, dt: float | None = None) -> StateSpace:
    """Return the system of a `scipy.signal` object: `StateSpace`, `TransferFunction` or `ZerosPolesGain`.

    Poles and zeros become a cascade of first and second order sections, real if they come in conjugate pairs: through
    the coefficients of a polynomial, as SciPy's `to_ss` goes, the poles of order 20 would not come back.

    Parameters
    ----------
    system
        An `lti` or `dlti`.
    dt
        Sampling time in seconds where a `dlti` leaves it open (`dt=True` there).

    Raises
    ------
    UnsupportedError
        If it is another object, or its time step is open and dt is not given.
    ShapeError
        If it has no states, or more zeros than poles.
    """
    from scipy import signal

    if not isinstance(system, signal.lti | signal.dlti):
        msg = f"got {type(system).__name__}; want a scipy.signal lti or dlti: StateSpace, TransferFunction, ..."
        raise UnsupportedError(msg)
    step = sampling_time(system.dt, dt, "scipy.signal") if isinstance(system, signal.dlti) else 0.0
    if isinstance(system, signal.ZerosPolesGain):
        return cascade(np.asarray(system.zeros), np.asarray(system.poles), system.gain, step)
    if isinstance(system, signal.TransferFunction):
        _require_proper(system)
        system = system.to_ss()
    A, B, C, D = (dense(X) for X in (system.A, system.B, system.C, system.D))
    return StateSpace(A, B, C, D, step)


def _require_proper(system: Any) -> None:
    zeros, poles = np.shape(system.num)[-1] - 1, len(system.den) - 1
    if zeros > poles or poles < 1:
        msg = f"got a numerator of degree {zeros} over a denominator of degree {poles}; want at least as many poles"
        raise ShapeError(msg)
