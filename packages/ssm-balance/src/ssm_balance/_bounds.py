"""What is known about the error before anything is measured."""

from __future__ import annotations

from typing import TYPE_CHECKING

from array_api_compat import array_namespace

from ._order import Order, remainders

if TYPE_CHECKING:
    from jaxtyping import Float

    from ._arrays import Array


def error_bound(
    hsv: Float[Array, "*batch n"], order: int, *, repeated_rtol: float | None = None
) -> float | Float[Array, "*batch"]:
    r"""‖G − G_r‖_∞ ≤ 2 Σ_{i>r} σ_i, for balanced truncation in continuous and in discrete time.

    In exact arithmetic; a measured error below about eps · σ₁ is rounding.
    The theorem counts equal values once. Whether two computed values are equal no arithmetic can tell, so here every
    value counts unless the caller vouches for the repetition by `repeated_rtol`.

    Parameters
    ----------
    hsv
        All Hankel singular values, descending.
    order
        The states kept, from 0 to n.
    repeated_rtol
        Values in the tail closer than this, relative to the larger, are one value and count once. Values joined in this
        way to σ_r are cut from their group, where the theorem does not hold; they count one by one.

    Returns
    -------
    bound
        A float; for a batch, an array.

    Raises
    ------
    OrderError
        If order is not from 0 to n.

    References
    ----------
    D. F. Enns, CDC (1984) 127-132. K. Glover, Int. J. Control 39 (1984) 1115-1193, theorem 9.6.
    D. Hinrichsen, A. J. Pritchard, Int. J. Control 51 (1990) 1145-1155 (discrete time).
    """
    if order != 0:
        Order(order).check(hsv.shape[-1])
    if repeated_rtol is None:
        bound = 2 * remainders(hsv)[..., order]
    else:
        bound = 2 * array_namespace(hsv).sum(hsv[..., order:] * _counted(hsv, order, repeated_rtol), axis=-1)
    return float(bound) if hsv.ndim == 1 else bound


def _counted(hsv, order, rtol):
    """1 where a value of the tail counts, 0 where it repeats its predecessor in a group that was cut whole."""
    xp = array_namespace(hsv)
    repeats = hsv[..., 1:] >= hsv[..., :-1] * (1 - rtol)  # does i+1 repeat i?
    first = xp.ones_like(hsv[..., :1], dtype=xp.bool)
    repeats = xp.astype(xp.concat([first if order else ~first, repeats], axis=-1)[..., order:], xp.int64)
    run = xp.cumulative_sum(repeats, axis=-1)
    split = run == xp.arange(1, run.shape[-1] + 1)  # an unbroken run of repeats from σ_r on
    return xp.astype((repeats == 0) | split, hsv.dtype)
