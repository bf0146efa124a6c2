"""Poles and zeros in the complex plane."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ssm_gramians import Sparse, StateSpace, UnsupportedError

from .._host import on_host
from ._axes import FULL, axes, colour, legend
from ._shown import Item, compared, full_label
from ._zeros import transmission_zeros

if TYPE_CHECKING:
    from jaxtyping import Complex

_WIDE = 1e3  # from the slowest pole to the fastest: beyond, a linear axis shows one of them
_SPARSE_LIMIT = 3000  # all poles of a sparse system come from a dense matrix


def plot_poles(full: Item, *reduced: Item, zeros: bool = True, ax: Any = None) -> Any:
    """Poles × and zeros ○ with the border of stability: the imaginary axis, or the unit circle.

    In continuous time, where the poles spread over more than three decades, both axes are linear near zero and
    logarithmic beyond.

    Parameters
    ----------
    full
        One system, or a reduction, which brings the full system and the reduced one.
    reduced
        More systems, or reductions, with the same inputs, outputs and dt.
    zeros
        Whether to draw the transmission zeros, of systems with as many inputs as outputs and at most 400 states. Zeros
        that rounding could move by more than 1 % are left out, and so are those beyond the poles.
    ax
        Matplotlib axes to draw on; if None, those of a new figure.

    Raises
    ------
    MissingLibraryError
        If Matplotlib is not installed.
    ShapeError
        If a system is a batch, or inputs or outputs differ.
    UnsupportedError
        If dt differs, or a sparse system is too large for all of its poles.
    """
    system, shown = compared(full, reduced)
    ax = axes(ax, width=5.6, height=4.8)
    poles = _draw(ax, system, full_label(system), FULL, "full", zeros, size=6)
    for k, item in enumerate(shown):
        found = _draw(ax, item.system, item.label, colour(k), "reduced", zeros, size=9)
        poles = np.concatenate([poles, found])
    _frame(ax, poles, system.is_discrete)
    unit = "" if system.is_discrete else " (1/s)"
    ax.set(xlabel=f"Real part{unit}", ylabel=f"Imaginary part{unit}")
    # Poles may be anywhere: the names stand above.
    legend(ax, above=True, columns=min(1 + len(shown), 2))
    return ax


def _draw(ax, system, label, shade, gid, zeros, size):
    poles = _poles(system)
    style = {"linestyle": "none", "color": shade, "markersize": size}
    ax.plot(
        poles.real, poles.imag, marker="x", markeredgewidth=1.4, label=f"{label}: poles", gid=f"{gid} poles", **style
    )
    if not zeros:
        return poles
    found = transmission_zeros(system)
    if found.size:
        ax.plot(
            found.real, found.imag, marker="o", markerfacecolor="none", markeredgewidth=1.1, label="zeros",
            gid=f"{gid} zeros", **style,
        )  # fmt: skip
    return poles


def _poles(system: StateSpace) -> Complex[np.ndarray, " n"]:
    if isinstance(system.A, Sparse) and system.order > _SPARSE_LIMIT:
        msg = f"all poles of a sparse system of order {system.order} are too many; want at most {_SPARSE_LIMIT}"
        raise UnsupportedError(msg)
    poles = np.asarray(on_host(system).poles(), dtype=complex)
    return poles[np.isfinite(poles)]  # of a singular E some are at infinity


def _frame(ax, poles, discrete):
    if discrete:
        angles = np.linspace(0, 2 * np.pi, 361)
        ax.plot(np.cos(angles), np.sin(angles), color="black", linewidth=0.9, gid="border")
        reach = 1.08 * max(1.0, float(np.abs(poles).max()))
        ax.set(xlim=(-reach, reach), ylim=(-reach, reach), aspect="equal")
        return
    sizes = np.abs(poles[poles != 0])
    if sizes.size and sizes.max() > _WIDE * sizes.min():
        threshold = 10.0 ** np.floor(np.log10(np.quantile(sizes, 0.05)))
        ax.set_xscale("symlog", linthresh=threshold)
        ax.set_yscale("symlog", linthresh=threshold)
    width = max(float(np.abs(poles.real).max()), 1e-300)
    height = max(float(np.abs(poles.imag).max()), 0.5 * width)
    right = max(float(poles.real.max()), 0.0)
    ax.set(
        xlim=(1.08 * min(float(poles.real.min()), 0.0), 1.1 * right + 0.08 * width), ylim=(-1.1 * height, 1.1 * height)
    )
    ax.axvline(0, color="black", linewidth=0.9, gid="border")
    ax.axvspan(0, ax.get_xlim()[1], color="#f2f2f2", zorder=0, linewidth=0)
