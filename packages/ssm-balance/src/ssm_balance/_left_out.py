"""What Gramian factors of few columns leave out of the Hankel singular values."""

from __future__ import annotations

from typing import TYPE_CHECKING

from array_api_compat import array_namespace

from ._descriptor import descriptor_times

if TYPE_CHECKING:
    from jaxtyping import Float, Inexact

    from ._arrays import Array, Matrix


def left_out(
    Z_P: Inexact[Array, "*batch n k"], Z_Q: Inexact[Array, "*batch n l"], rtol: float, E: Matrix | None = None
) -> Float[Array, "*batch"]:
    """δ = ‖Z_Q‖_F ‖E Z_P‖_F (2 √τ + τ): the nuclear norms of what the rest of either factor adds to Z_Qᴴ E Z_P.

    Parameters
    ----------
    Z_P, Z_Q
        The factors.
    rtol
        τ, the part of the traces that they leave out.
    E
        Of a descriptor system; the identity if None.
    """
    xp = array_namespace(Z_P)
    seen, reached = (
        xp.sum(xp.real(xp.linalg.vecdot(Z, Z, axis=-2)), axis=-1)  # the traces, without a copy of Z
        for Z in (Z_Q, descriptor_times(E, Z_P))
    )
    return xp.sqrt(seen * reached) * (2 * rtol**0.5 + rtol)
