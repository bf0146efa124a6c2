"""Hankel singular values: how much each state matters to the map."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ssm_gramians import StateSpace, get_backend, gramian_factors

from ._arrays import Array
from ._balance import singular_values_of_product
from ._hankel_gradient import changed, wants_gradient, with_gradient
from ._stability import require_stable

if TYPE_CHECKING:
    from jaxtyping import Float

    from ssm_gramians import Backend, Solver


def hankel_singular_values(
    system: StateSpace, *, solver: Solver | None = None, backend: str | Backend | None = None
) -> Float[Array, "*batch order"]:
    r"""σ = √eig(P Q), computed as the singular values of Z_Qᴴ Z_P, which keeps twice the digits.

    The absolute accuracy is a small multiple of eps · σ₁, given factors as accurate. Of a diagonal system whose factors
    come from `Cauchy` even the smallest value has about twelve digits. Torch tensors that require it get first
    derivatives, by one adjoint solve for each Gramian; those of values at rounding level are zero.

    Parameters
    ----------
    system
        Dense, diagonal or paired; one or a batch. Arithmetic is in double precision, whatever comes.
    solver, backend
        As for `ssm_gramians.gramian_factors`.

    Returns
    -------
    hsv
        Descending, float64, one for each state; a paired system has 2n.

    Raises
    ------
    InstabilityError
        If a pole does not decay.
    NonFiniteError
        If a matrix holds NaN or infinity.
    """
    chosen = get_backend(system.B if backend is None else backend)
    differentiate = wants_gradient(system, chosen)
    fixed = changed(system, chosen.constant) if differentiate else system
    require_stable(fixed)
    Z_P, Z_Q = gramian_factors(fixed, solver=solver, backend=backend)
    hsv = singular_values_of_product(Z_P, Z_Q, fixed.E)
    return with_gradient(hsv, Z_P, Z_Q, system, chosen) if differentiate else hsv
