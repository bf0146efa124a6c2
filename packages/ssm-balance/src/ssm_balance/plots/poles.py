"""Poles and zeros in the complex plane."""

from __future__ import annotations

from dataclasses import dataclass
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
_FAR = 2.0  # times the largest pole: zeros farther out would shrink the picture
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
        that rounding could move by more than 1 % are left out, and so are those twice as far out as every pole.
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
    marks = [_Mark(system, full_label(system), FULL, "full", 6)]
    marks += [_Mark(item.system, item.label, colour(k), "reduced", 9) for k, item in enumerate(shown)]
    poles = [_poles(mark.system) for mark in marks]
    reach = _FAR * max((float(np.abs(found).max()) for found in poles if found.size), default=1.0)
    near = [_near(transmission_zeros(mark.system), reach) if zeros else np.zeros(0, complex) for mark in marks]
    _frame(ax, np.concatenate([*poles, *near]), np.abs(np.concatenate(poles)), system.is_discrete)
    for mark, crosses, circles in zip(marks, poles, near, strict=True):
        mark.draw(ax, crosses, "poles", marker="x", markeredgewidth=1.4)
        if circles.size:
            mark.draw(ax, circles, "zeros", marker="o", markerfacecolor="none", markeredgewidth=1.1)
    unit = "" if system.is_discrete else " (1/s)"
    ax.set(xlabel=f"Real part{unit}", ylabel=f"Imaginary part{unit}")
    # Poles may be anywhere: the names stand outside.
    legend(ax, below=True, columns=min(1 + len(shown), 2))
    return ax


@dataclass(frozen=True, eq=False)
class _Mark:
    """How the poles and zeros of one system are drawn."""

    system: StateSpace
    label: str
    shade: str
    gid: str
    size: float

    def draw(self, ax: Any, points: Complex[np.ndarray, " k"], kind: str, **style: Any) -> None:
        label = f"{self.label}: poles" if kind == "poles" else "zeros"
        style |= {"linestyle": "none", "color": self.shade, "markersize": self.size}
        ax.plot(points.real, points.imag, label=label, gid=f"{self.gid} {kind}", **style)


def _near(points, reach):
    return points[np.abs(points) <= reach]


def _poles(system: StateSpace) -> Complex[np.ndarray, " n"]:
    if isinstance(system.A, Sparse) and system.order > _SPARSE_LIMIT:
        msg = f"all poles of a sparse system of order {system.order} are too many; want at most {_SPARSE_LIMIT}"
        raise UnsupportedError(msg)
    poles = np.asarray(on_host(system).poles(), dtype=complex)
    return poles[np.isfinite(poles)]  # of a singular E some are at infinity


def _frame(ax, points, sizes, discrete):
    if discrete:
        angles = np.linspace(0, 2 * np.pi, 361)
        ax.plot(np.cos(angles), np.sin(angles), color="black", linewidth=0.9, gid="border")
        reach = 1.08 * max(1.0, float(np.abs(points).max()))
        ax.set(xlim=(-reach, reach), ylim=(-reach, reach), aspect="equal")
        return
    sizes = sizes[sizes > np.finfo(float).eps * sizes.size * sizes.max()]  # the rest is zero
    if sizes.size and sizes.max() > _WIDE * sizes.min():
        threshold = 10.0 ** np.floor(np.log10(np.quantile(sizes, 0.05)))
        ax.set_xscale("symlog", linthresh=threshold)
        ax.set_yscale("symlog", linthresh=threshold)
    width = max(float(np.abs(points.real).max()), 1e-300)
    height = max(float(np.abs(points.imag).max()), 0.5 * width)
    right = max(float(points.real.max()), 0.0)
    ax.set(
        xlim=(1.08 * min(float(points.real.min()), 0.0), 1.1 * right + 0.08 * width), ylim=(-1.1 * height, 1.1 * height)
    )
    ax.axvline(0, color="black", linewidth=0.9, gid="border")
    ax.axvspan(0, ax.get_xlim()[1], color="#f2f2f2", zorder=0, linewidth=0)
