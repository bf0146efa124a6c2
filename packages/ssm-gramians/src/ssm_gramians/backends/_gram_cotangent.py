r"""The cotangent of $X = Z Z^H$ from that of Z."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .._arrays import adjoint, identity, namespace, real_dtype

if TYPE_CHECKING:
    import torch


def gram_cotangent(Z: torch.Tensor, cotangent: torch.Tensor) -> torch.Tensor:
    r"""Return the Hermitian S with $\mathrm{Re}\langle\bar Z, dZ\rangle = \langle S, dX\rangle$ for $X = Z Z^H$.

    A factor is known up to a unitary on its right, so only functions of $Z Z^H$ have a gradient; for these
    $\bar Z = 2 S Z$. Of all dZ that belong to a dX the one that does not turn,
    $dZ = (I - P/2)\,dX\,Z^{+H}$ with $P = Z Z^+$, gives S = the Hermitian part of $(I - P/2)\,\bar Z Z^+$. Rows and
    columns of Z are scaled to length 1 first, so that small states and late columns keep their digits: a scaling only
    picks another of the dZ. Directions of the scaled Z below $\sqrt\epsilon$ are taken as zero: through $Z^+$ they
    would amplify the rounding of $\bar Z$ more than they, squared in X, can weigh.
    """
    xp = namespace(Z)
    rows = _lengths(Z, -1)
    columns = _lengths(Z / rows, -2)
    unit = Z / rows / columns
    inverse = xp.linalg.pinv(unit, rtol=float(xp.finfo(Z.dtype).eps) ** 0.5)
    keep = identity(Z.shape[-2], like=Z) - (unit @ inverse) / 2
    S = (keep @ (rows * cotangent / columns) @ inverse) / rows / rows.mT
    return (S + adjoint(S)) / 2


def _lengths(Z: torch.Tensor, axis: int) -> torch.Tensor:
    """Return the lengths of the rows or columns, 1 for zero ones; constants for every derivative."""
    xp = namespace(Z)
    lengths = xp.linalg.vector_norm(Z.detach(), axis=axis, keepdims=True)
    return xp.where(lengths > 0, lengths, xp.ones((), dtype=real_dtype(Z), device=Z.device))
