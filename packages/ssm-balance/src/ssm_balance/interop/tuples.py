"""To and from a tuple of NumPy arrays."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ssm_gramians import ShapeError, Sparse, StateSpace, Structure

from ._matrices import dense, floating, on_host, require_one

if TYPE_CHECKING:
    from .._arrays import Matrix


def to_tuple(system: StateSpace) -> tuple[Any, ...]:
    """Return (A, B, C, D), with dt too in discrete time, and (A, B, C, D, dt, E) of a descriptor system.

    A paired system goes out as the real system of order 2n that it stands for.

    Parameters
    ----------
    system
        One system or a batch; dense, diagonal, paired, sparse. A and E of a sparse system are SciPy sparse arrays;
        everything else is a NumPy array with the dtype it has.
    """
    if isinstance(system.A, Sparse) or isinstance(system.E, Sparse):
        require_one(system, "SciPy's sparse module")
    else:
        system = system.to_dense()
    maps = (_exported(system.A), on_host(system.B), on_host(system.C), on_host(system.D))
    if system.E is not None:
        return *maps, system.dt, _exported(system.E)
    return (*maps, system.dt) if system.is_discrete else maps


def from_tuple(matrices: tuple[Any, ...]) -> StateSpace:
    """Return E x⁺ = A x + B u, y = C x + D u from (A, B, C, D[, dt[, E]]): dt in seconds, 0 for continuous time.

    Parameters
    ----------
    matrices
        Whatever NumPy can read as matrices; A and E may also be SciPy sparse. D may be None for zero. Whole numbers
        become float64.

    Raises
    ------
    ShapeError
        If there are fewer than four or more than six parts, or their shapes do not fit.
    """
    if not 4 <= len(matrices) <= 6:
        msg = f"got a tuple of {len(matrices)}; want (A, B, C, D), (A, B, C, D, dt) or (A, B, C, D, dt, E)"
        raise ShapeError(msg)
    A, B, C, D = matrices[:4]
    dt = float(matrices[4]) if len(matrices) > 4 else 0.0
    E = floating(matrices[5]) if len(matrices) > 5 and matrices[5] is not None else None
    return StateSpace(floating(A), dense(B), dense(C), None if D is None else dense(D), dt, E)


def _exported(M: Matrix) -> Any:
    if isinstance(M, Sparse):
        return M.matrix.copy()
    return on_host(M.to_dense() if isinstance(M, Structure) else M)
