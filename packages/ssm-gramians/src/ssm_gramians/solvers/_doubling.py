"""The squared Smith sum of a flat batch, in products that any array library has."""

from __future__ import annotations

from typing import TYPE_CHECKING

import array_api_compat
import numpy as np

from .._arrays import Array, adjoint, namespace, real

if TYPE_CHECKING:
    from jaxtyping import Float, Inexact, Int

CONVERGED, EXHAUSTED, DIVERGED = 0, 1, 2  # of one system, from good to bad
_CACHE = 1 << 19  # bytes: on a CPU a batch is worked off in pieces that stay in a core's cache, up to 1.6 times faster


def doubled_sums(
    A: Inexact[Array, "batch n n"], Q: Inexact[Array, "batch n n"], *, rtol: float, max_steps: int
) -> tuple[Inexact[Array, "batch n n"], Int[Array, " batch"], Int[Array, " batch"]]:
    r"""Return $X = \sum_k A^k Q (A^k)^H$, the steps and the outcome of each system.

    Each step is $X \leftarrow X + M X M^H,\; M \leftarrow M^2$. A system is done, and leaves the batch, when
    $\lVert M\rVert_F^4$ is below rtol: the rest of the series is a smaller part of X than that. It has failed when M
    has grown beyond $1/\epsilon$, which leaves no digit of X right.
    """
    xp, pieces, size = namespace(A), [], _piece(A)
    starts = range(0, max(1, A.shape[0]), size)
    with np.errstate(all="ignore"):  # what overflows has diverged, and says so
        for part in (slice(start, min(start + size, A.shape[0])) for start in starts):
            pieces.append(_sum(A[part, ...], Q[part, ...], rtol, max_steps))
    return tuple(xp.concat(parts) if len(parts) > 1 else parts[0] for parts in zip(*pieces, strict=True))


def square_norm(M: Inexact[Array, "batch n n"]) -> Float[Array, " batch"]:
    """Return the square of the Frobenius norm."""
    xp = namespace(M)
    flat = xp.reshape(M, (M.shape[0], M.shape[-2] * M.shape[-1]))
    return real(xp.linalg.vecdot(flat, flat))


def has_grown(square: Float[Array, " batch"]) -> Array:
    """Say for each system whether its power is beyond hope, or NaN."""
    return ~(square < _too_much(square))


def _too_much(square: Array) -> float:
    return float(namespace(square).finfo(square.dtype).eps) ** -2


def _range(square: Float[Array, " batch"]) -> tuple[float, float]:
    """Return the least and the largest, as numbers: most batches need no more to go on, and have one system."""
    xp = namespace(square)
    if square.shape[0] < 2:
        alone = float(square[0]) if square.shape[0] else 0.0
        return alone, alone
    return float(xp.min(square)), float(xp.max(square))


def _sum(X_or_A: Array, Q: Array, rtol: float, max_steps: int) -> tuple[Array, Array, Array]:
    """Sum a piece of the batch; systems leave it one by one."""
    M, X = X_or_A, Q
    xp = namespace(M)
    count, too_much = M.shape[0], _too_much(M)
    here = xp.arange(count, device=array_api_compat.device(M))
    gone: list[tuple[Array, Array, int, int]] = []  # places, X, steps, outcome

    def leave(which: Array, steps: int, outcome: int) -> None:
        nonlocal here, X, M
        out, stay = xp.nonzero(which)[0], xp.nonzero(~which)[0]
        gone.append((xp.take(here, out, axis=0), xp.take(X, out, axis=0), steps, outcome))
        here, X, M = (xp.take(array, stay, axis=0) for array in (here, X, M))

    for step in range(max_steps):
        size = square_norm(M)
        least, most = _range(size)
        if not most < too_much:
            grown = has_grown(size)
            leave(grown, step, DIVERGED)
            size = size[~grown]
            least, most = _range(size)
        X = X + M @ X @ adjoint(M)
        if most * most <= rtol:
            gone.append((here, X, step + 1, CONVERGED))
            break
        if least * least <= rtol:
            leave(size * size <= rtol, step + 1, CONVERGED)
        M = M @ M
    else:
        gone.append((here, X, max_steps, EXHAUSTED))
    return _together(gone)


def _together(gone: list[tuple[Array, Array, int, int]]) -> tuple[Array, Array, Array]:
    """Return what has left the batch, in its order."""
    xp = namespace(gone[0][1])
    places, X = xp.concat([part[0] for part in gone]), xp.concat([part[1] for part in gone])
    steps, outcome = (xp.concat([xp.full_like(part[0], part[k]) for part in gone]) for k in (2, 3))
    if len(gone) == 1:
        return X, steps, outcome
    order = xp.argsort(places)
    return xp.take(X, order, axis=0), xp.take(steps, order, axis=0), xp.take(outcome, order, axis=0)


def _piece(A: Array) -> int:
    """Return how many systems to work on at once."""
    if not array_api_compat.is_numpy_array(A):
        return max(1, A.shape[0])
    return max(1, _CACHE // max(1, 4 * A.shape[-1] ** 2 * A.dtype.itemsize))
