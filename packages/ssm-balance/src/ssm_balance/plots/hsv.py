"""The decay of the Hankel singular values."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from ssm_gramians import ShapeError

from .._bounds import coprime_error_bound, error_bound, hankel_error_bound, relative_error_bound
from .._reduction import Reduction
from ._axes import COLOURS, FULL, axes, legend, number

if TYPE_CHECKING:
    from jaxtyping import Float

_BOUNDS: dict[str, Callable[[Any, int], Any]] = {
    r"error bound $2\,\Sigma_{i>r}\,\sigma_i$": error_bound,
    r"error bound $\Sigma_{i>r}\,\sigma_i$": hankel_error_bound,
    "bound of the relative error": relative_error_bound,
    "bound of the coprime factors": coprime_error_bound,
}


def plot_hsv(
    values: Reduction | Float[np.ndarray, "*batch n"],
    *,
    order: int | None = None,
    bound: bool = True,
    states: int | None = None,
    ax: Any = None,
) -> Any:
    """σ_i over i on a logarithmic axis, the cut after σ_r, and the a priori bound as a function of r.

    The bound is drawn where it is a function of the values, as that of the method; for bare values it is 2 Σ_{i>r} σ_i.

    Parameters
    ----------
    values
        A reduction, or Hankel singular values; a batch gets a line for each member, and no bound.
    order
        r, to be marked; if None that of a reduction, without the states of an unstable part, which have no value.
    bound
        Whether to draw the bound.
    states
        How many values to show. If None, those above rounding, eps · n · σ₁, and at least those that are kept.
    ax
        Matplotlib axes to draw on; if None, those of a new figure.

    Returns
    -------
    axes
        `axes.figure.savefig(...)` writes it.

    Raises
    ------
    MissingLibraryError
        If Matplotlib is not installed.
    ShapeError
        If there are no values.
    """
    reduction = values if isinstance(values, Reduction) else None
    hsv = np.asarray(reduction.hsv if reduction else values, dtype=float)
    if hsv.ndim < 1 or hsv.size == 0:
        msg = f"values have shape {hsv.shape}; want (..., n) with n >= 1"
        raise ShapeError(msg)
    order = _kept(reduction) if reduction and order is None else order
    ax = axes(ax)
    shown = states or _above_rounding(hsv, order)
    _draw_values(ax, hsv, order, shown)
    rule = _bound_of(reduction, hsv) if bound and hsv.ndim == 1 else None
    if rule:
        _draw_bound(ax, rule, hsv, order, shown)
    ax.set(yscale="log", xlabel="Index $i$", ylabel=r"Hankel singular value $\sigma_i$")
    if rule:
        ax.set(xlabel="Index $i$, order $r$", ylabel=r"Singular value $\sigma_i$, error bound")
    ax.set_xlim(0 if rule else 0.5, shown + 0.5)
    _fit(ax, shown)
    ax.xaxis.get_major_locator().set_params(integer=True)
    legend(ax)
    return ax


def _kept(reduction):
    return reduction.order - reduction.unstable_order


def _fit(ax, shown):
    """Scale the logarithmic axis to what is shown."""
    found = np.concatenate([y[x <= shown] for x, y in (line.get_data() for line in ax.lines if line.get_gid())])
    found = found[np.isfinite(found) & (found > 0)]
    if found.size:
        ax.set_ylim(found.min() / 2, found.max() * 2)


def _above_rounding(hsv, order):
    largest = hsv.reshape(-1, hsv.shape[-1]).max(axis=0)
    count = int(np.sum(largest > np.finfo(float).eps * largest.size * largest[0]))
    return min(largest.size, max(count, (order or 0) + 2))


def _draw_values(ax, hsv, order, shown):
    many = hsv.reshape(-1, hsv.shape[-1])
    index = np.arange(1, hsv.shape[-1] + 1)
    size = 4.5 if shown <= 60 else 2.5
    for k, row in enumerate(many):
        name = r"$\sigma_i$" if k == 0 else None
        if many.shape[0] > 1 or order is None:
            ax.plot(index, row, "o-", color=FULL, markersize=size, linewidth=0.8, label=name, gid="values")
            continue
        ax.plot(index, row, "-", color=FULL, linewidth=0.8, gid="values")
        ax.plot(
            index[:order], row[:order], "o", color=FULL, markersize=size, label=rf"$\sigma_i$, {order} kept", gid="kept"
        )
        if order < row.size:
            ax.plot(
                index[order:], row[order:], "o", color=FULL, markerfacecolor="white", markersize=size,
                label=rf"$\sigma_i$, {row.size - order} cut", gid="cut",
            )  # fmt: skip
    if order is not None:
        ax.axvspan(order + 0.5, hsv.shape[-1] + 1, color="#f2f2f2", zorder=0, linewidth=0, gid="cut away")


def _bound_of(reduction, hsv):
    """Return the name and the function of the values that give the bound of a reduction; None if none does."""
    if reduction is None:
        return next(iter(_BOUNDS.items()))
    promised = (reduction.error_bound, reduction.relative_error_bound)
    for name, function in _BOUNDS.items():
        for value in promised:
            if value is not None and np.isfinite(value) and np.isclose(function(hsv, _kept(reduction)), value, atol=0):
                return name, function
    return None


def _draw_bound(ax, rule, hsv, order, shown):
    name, function = rule
    orders = np.arange(0, min(shown, hsv.size - 1) + 1)
    bounds = np.array([function(hsv, int(r)) for r in orders], dtype=float)
    bounds[~(bounds > 0) | ~np.isfinite(bounds)] = np.nan
    ax.plot(orders, bounds, color=COLOURS[1], linestyle="--", label=name, gid="bound")
    if order is not None and order < orders.size:
        label = f"bound at order {order}: {number(bounds[order])}"
        ax.plot([order], [bounds[order]], "D", color=COLOURS[1], markersize=5.5, label=label, gid="bound at order")
