"""Both factors of a system that is its own dual once scaled, in one pass over memory."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numba
import numpy as np

if TYPE_CHECKING:
    from jaxtyping import Complex, Float


def scaled_pair(
    t: Complex[np.ndarray, "*batch n"], Z: Float[np.ndarray, "*batch 2n k"]
) -> tuple[Float[np.ndarray, "*batch 2n k"], Float[np.ndarray, "*batch 2n k"]]:
    """Return [Re; Im] of t (x + iy), and of the conjugate of 2 (x + iy) / t in the place of Z = [x; y].

    Parameters
    ----------
    t
        Neither zero nor infinite.
    Z
        A factor that nobody else holds.
    """
    flat = np.require(Z.mT.reshape(-1, Z.shape[-1], Z.shape[-2]), requirements=["C", "W"])  # a column in one piece
    first, second = (np.require(s.reshape(-1, s.shape[-1]), requirements=["C", "W"]) for s in (t, 2 / t))
    out = np.empty_like(flat)
    _scale(first.real.copy(), first.imag.copy(), second.real.copy(), second.imag.copy(), flat, out)
    shape = (*Z.shape[:-2], Z.shape[-1], Z.shape[-2])
    return out.reshape(shape).mT, flat.reshape(shape).mT


_parallel: Any = numba.njit(cache=True, error_model="numpy", nogil=True, parallel=True)


@_parallel
def _scale(a, b, c, d, Z, out):
    n = a.shape[1]
    for k in numba.prange(Z.shape[0]):
        for column in range(Z.shape[1]):
            for i in range(n):
                x, y = Z[k, column, i], Z[k, column, n + i]
                out[k, column, i] = a[k, i] * x - b[k, i] * y
                out[k, column, n + i] = b[k, i] * x + a[k, i] * y
                Z[k, column, i] = c[k, i] * x - d[k, i] * y
                Z[k, column, n + i] = -(d[k, i] * x + c[k, i] * y)
