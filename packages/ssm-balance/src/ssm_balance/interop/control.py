"""To and from python-control."""

from __future__ import annotations

from typing import Any

from ssm_gramians import ShapeError, StateSpace, UnsupportedError

from .._library import library
from ._matrices import dense, dense_matrices, require_real, sampling_time


def to_control(system: StateSpace) -> Any:
    """Return the `control.StateSpace` with the same matrices, in double precision.

    Parameters
    ----------
    system
        One real system of any structure. A paired one goes out as the real system of order 2n that it stands for; E
        is divided out, since python-control has none.

    Raises
    ------
    MissingLibraryError
        If python-control is not installed.
    UnsupportedError
        If a matrix is complex: python-control would drop the imaginary parts.
    ShapeError
        If it is a batch.
    SingularDescriptorError
        If E is singular.
    """
    control = library("control", extra="control")
    matrices = dense_matrices(system, "python-control")
    require_real(matrices, "python-control")
    # `StateSpace` by itself may drop states that nothing reaches, where a user's settings say so.
    return control.StateSpace(*matrices, system.dt, remove_useless_states=False)


def from_control(system: Any, *, dt: float | None = None) -> StateSpace:
    """Return the system of a `control.StateSpace`, or of a `control.TransferFunction` in the states that it gets there.

    Parameters
    ----------
    system
        Its names and labels stay behind.
    dt
        Sampling time in seconds where the system leaves it open (`dt=True` or `dt=None` there); 0 for continuous time.

    Raises
    ------
    MissingLibraryError
        If python-control is not installed.
    UnsupportedError
        If it is another object, or its time step is open and dt is not given.
    ShapeError
        If it has no states, or more zeros than poles.
    """
    control = library("control", extra="control")
    if isinstance(system, control.TransferFunction):
        system = _in_states(control, system)
    if not isinstance(system, control.StateSpace):
        msg = f"got {type(system).__name__}; want a control.StateSpace or a control.TransferFunction"
        raise UnsupportedError(msg)
    A, B, C, D = (dense(X) for X in (system.A, system.B, system.C, system.D))
    return StateSpace(A, B, C, D, sampling_time(system.dt, dt, "python-control"))


def _in_states(control: Any, system: Any) -> Any:
    try:
        return control.tf2ss(system)
    except ValueError as error:
        msg = f"python-control finds no states ({error}); want at least as many poles as zeros in every entry"
        raise ShapeError(msg) from error
