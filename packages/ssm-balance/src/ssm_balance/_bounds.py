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
    return bound.item() if hsv.ndim == 1 else bound


def _counted(hsv, order, rtol):
    """1 where a value of the tail counts, 0 where it repeats its predecessor in a group that was cut whole."""
    xp = array_namespace(hsv)
    repeats = hsv[..., 1:] >= hsv[..., :-1] * (1 - rtol)  # does i+1 repeat i?
    first = xp.ones_like(hsv[..., :1], dtype=xp.bool)
    repeats = xp.astype(xp.concat([first if order else ~first, repeats], axis=-1)[..., order:], xp.int64)
    run = xp.cumulative_sum(repeats, axis=-1)
    split = run == xp.arange(1, run.shape[-1] + 1)  # an unbroken run of repeats from σ_r on
    return xp.astype((repeats == 0) | split, hsv.dtype)


def hankel_error_bound(hsv: Float[Array, "*batch n"], order: int) -> float | Float[Array, "*batch"]:
    r"""‖G − G_r − D‖_∞ ≤ Σ_{i>r} σ_i for optimal Hankel-norm approximation with the best D: half of `error_bound`.

    Equal values count one by one, as in `error_bound`; the Hankel norm of the error is σ_{r+1}.

    Parameters
    ----------
    hsv
        All Hankel singular values, descending.
    order
        The states kept, from 0 to n.

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
    K. Glover, Int. J. Control 39 (1984) 1115-1193, section 9.
    """
    return error_bound(hsv, order) / 2


def relative_error_bound(correlations: Float[Array, "*batch n"], order: int) -> float | Float[Array, "*batch"]:
    r"""‖G⁻¹ (G − G_r)‖_∞ ≤ ∏_{i>r} (1 + s_i) / (1 − s_i) − 1, for balanced stochastic truncation.

    Parameters
    ----------
    correlations
        The singular values s_i of the phase system, descending, from 0 to 1.
    order
        The states kept, from 0 to n.

    Returns
    -------
    bound
        A float; for a batch, an array. Infinite where a value of 1 is cut: each is a zero in the right half-plane.

    Raises
    ------
    OrderError
        If order is not from 0 to n.

    References
    ----------
    M. Green, IEEE Trans. Automat. Control 33 (1988) 961-965.
    """
    xp = array_namespace(correlations)
    if order != 0:
        Order(order).check(correlations.shape[-1])
    tail = xp.clip(correlations[..., order:], 0.0, 1.0)  # rounding puts them just outside
    one = tail >= 1
    logarithm = xp.where(one, xp.inf, 2 * xp.atanh(xp.where(one, xp.zeros_like(tail), tail)))
    bound = xp.expm1(xp.sum(logarithm, axis=-1))  # the product minus one, without its cancellation
    return bound.item() if correlations.ndim == 1 else bound


def coprime_error_bound(hsv: Float[Array, "*batch n"], order: int) -> float | Float[Array, "*batch"]:
    r"""‖[N, M] − [N_r, M_r]‖_∞ ≤ 2 Σ_{i>r} μ_i / √(1 + μ_i²), for LQG balanced truncation.

    It bounds the error of the normalised coprime factors of G = M⁻¹ N, and so the gap between the two: a controller
    that tolerates as much stabilises both. G itself may be unstable, and there is no bound on G − G_r.

    Parameters
    ----------
    hsv
        The LQG characteristic values μ_i = √eig(X Y), descending.
    order
        The states kept, from 0 to n.

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
    D. G. Meyer, IEEE Trans. Automat. Control 35 (1990) 1341-1345.
    """
    return error_bound(hsv / (1 + hsv**2) ** 0.5, order)
