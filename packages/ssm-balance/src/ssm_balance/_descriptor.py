"""Systems with E x⁺ = A x + B u: where E must be regular, and where it is divided out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from array_api_compat import array_namespace

from ssm_gramians import StateSpace, Structure, UnsupportedError

from ._arrays import Array, adjoint, in_double, product
from ._errors import SingularDescriptorError

if TYPE_CHECKING:
    from ._arrays import Matrix


def without_descriptor(system: StateSpace) -> StateSpace:
    """(E⁻¹A, E⁻¹B, C, D): the same map with E = I, for methods that know no E.

    Raises
    ------
    SingularDescriptorError
        If E is singular to working precision.
    UnsupportedError
        If E is sparse: E⁻¹A would be dense.
    """
    if system.E is None:
        return system
    if isinstance(system.E, Structure):
        msg = "this method needs E = I and E is sparse, E⁻¹A dense; use low_rank_truncation, or system.to_dense()"
        raise UnsupportedError(msg)
    system = system.to_dense()
    E = in_double(system.E)
    require_regular(E)
    xp = array_namespace(E)
    A, B = (xp.linalg.solve(E, xp.astype(in_double(M), xp.result_type(E, in_double(M)))) for M in (system.A, system.B))
    return StateSpace(A, B, in_double(system.C), in_double(system.D), system.dt)


def undivided(system: StateSpace, Z_Q: Array) -> Array:
    """E⁻ᴴ Z_Q: from the observability factor of `without_descriptor(system)` to the one of the system itself."""
    if system.E is None:
        return Z_Q
    E = in_double(system.to_dense().E)
    xp = array_namespace(E)
    dtype = xp.result_type(E, Z_Q)
    return xp.linalg.solve(adjoint(xp.astype(E, dtype)), xp.astype(Z_Q, dtype))


def require_regular(E: Array) -> None:
    """Raise SingularDescriptorError, with the smallest singular value, if E is singular to working precision."""
    xp = array_namespace(E)
    sigma = xp.linalg.svdvals(E)
    floor = xp.finfo(sigma.dtype).eps * E.shape[-1] * sigma[..., 0]
    if bool(xp.any(sigma[..., -1] <= floor)):
        smallest, largest = float(xp.min(sigma[..., -1])), float(xp.max(sigma))
        msg = (
            f"E is singular: its smallest singular value is {smallest:.1e}, the largest {largest:.1e}; "
            "want a regular E: eliminate the algebraic equations first"
        )
        raise SingularDescriptorError(msg)


def descriptor_times(E: Matrix | None, X: Array) -> Array:
    """E X; X where there is no E."""
    if E is None:
        return X
    return E.times(X) if isinstance(E, Structure) else product(in_double(E), X)
