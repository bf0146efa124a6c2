"""A system that can be balanced: there is one, finite and stable."""

from __future__ import annotations

from array_api_compat import array_namespace

from ssm_gramians import InstabilityError, NonFiniteError, ShapeError, StateSpace, Structure

from ._arrays import is_complex
from ._descriptor import require_regular
from ._sparse_descriptor import require_regular_sparse


def require_members(system: StateSpace) -> None:
    """Raise ShapeError if a batch is empty: it has no order, no bound and no error."""
    if 0 in system.batch_shape:
        msg = f"got an empty batch of shape {system.batch_shape}; want at least one system: leave the call out if none"
        raise ShapeError(msg)


def require_finite(system: StateSpace) -> None:
    """Raise unless there is a system, and no matrix of it holds NaN or infinity.

    Raises
    ------
    ShapeError
        If the batch is empty.
    NonFiniteError
        If a matrix holds NaN or infinity.
    """
    require_members(system)
    for name in ("A", "B", "C", "D", "E"):
        matrix = getattr(system, name)
        parts = matrix.arrays if isinstance(matrix, Structure) else () if matrix is None else (matrix,)
        for part in parts:
            xp = array_namespace(part)
            if not bool(xp.all(xp.isfinite(part))):
                msg = f"{name} holds NaN or infinity; want finite entries"
                raise NonFiniteError(msg)


def require_regular_descriptor(system: StateSpace) -> None:
    """Raise SingularDescriptorError if E, dense or sparse, is singular to working precision."""
    if system.E is not None:
        (require_regular_sparse if isinstance(system.E, Structure) else require_regular)(system.E)


def require_stable(system: StateSpace) -> None:
    """Raise unless every entry is finite and every pole decays.

    Raises
    ------
    ShapeError
        If the batch is empty.
    NonFiniteError
        If a matrix holds NaN or infinity.
    SingularDescriptorError
        If E is singular to working precision.
    InstabilityError
        If a pole is on or outside the border of the stable region; it carries the worst.
    """
    require_finite(system)
    require_regular_descriptor(system)
    pole = unstable_pole(system)
    if pole is not None:
        region = "|λ| < 1" if system.is_discrete else "Re λ < 0"
        msg = f"the system is unstable: eigenvalue {pole:.6g}, want {region}; split off the unstable part first"
        raise InstabilityError(msg, pole)


def unstable_pole(system: StateSpace) -> complex | None:
    """Return the pole farthest outside the stable region, or None if all are inside."""
    poles = system.poles()
    xp = array_namespace(poles)
    poles = xp.reshape(poles, (-1,))
    if poles.shape[0] == 0:
        return None
    excess = xp.abs(poles) - 1 if system.is_discrete else xp.real(poles) if is_complex(poles) else poles
    worst = int(xp.argmax(excess))
    return complex(poles[worst].item()) if excess[worst] >= 0 else None
