"""A system that can be balanced: finite and stable."""

from __future__ import annotations

from array_api_compat import array_namespace

from ssm_gramians import InstabilityError, NonFiniteError, StateSpace, Structure

from ._arrays import is_complex
from ._descriptor import require_regular


def require_finite(system: StateSpace) -> None:
    """Raise NonFiniteError if a matrix holds NaN or infinity."""
    for name in ("A", "B", "C", "D", "E"):
        matrix = getattr(system, name)
        parts = matrix.arrays if isinstance(matrix, Structure) else () if matrix is None else (matrix,)
        for part in parts:
            xp = array_namespace(part)
            if not bool(xp.all(xp.isfinite(part))):
                msg = f"{name} holds NaN or infinity; want finite entries"
                raise NonFiniteError(msg)


def require_stable(system: StateSpace) -> None:
    """Raise unless every entry is finite and every pole decays.

    Raises
    ------
    NonFiniteError
        If a matrix holds NaN or infinity.
    SingularDescriptorError
        If E is dense and singular to working precision.
    InstabilityError
        If a pole is on or outside the border of the stable region; it carries the worst.
    """
    require_finite(system)
    if system.E is not None and not isinstance(system.E, Structure):
        require_regular(system.E)
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
    return complex(poles[worst]) if excess[worst] >= 0 else None
