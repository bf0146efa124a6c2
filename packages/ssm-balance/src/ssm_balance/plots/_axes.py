"""Where a plot goes and how it looks: colours that survive colour-blind eyes and a grey printer."""

from __future__ import annotations

from typing import Any

from .._library import library

FULL = "#4d4d4d"  # dark grey
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")  # of Okabe and Ito
DASHES: tuple[Any, ...] = ("-", (0, (5, 2)), (0, (5, 1.5, 1, 1.5)), (0, (3, 1.5)))  # differ without colour
_FAINT = "#d9d9d9"


def colour(k: int) -> str:
    """Return the colour of the k-th reduced system."""
    return COLOURS[k % len(COLOURS)]


def dash(k: int) -> Any:
    """Return the line style of the k-th reduced system."""
    return DASHES[(k + 1) % len(DASHES)]


def axes(ax: Any, *, width: float = 6.4, height: float = 4.0) -> Any:
    """Return the axes to draw on: the given ones, or those of a new figure that pyplot does not know.

    Raises
    ------
    MissingLibraryError
        If Matplotlib is not installed.
    """
    figure = library("matplotlib.figure", extra="plots").Figure
    if ax is None:
        ax = figure(figsize=(width, height), layout="constrained").add_subplot()
    ax.spines[["top", "right"]].set_visible(False)
    ax.grid(visible=True, which="major", color=_FAINT, linewidth=0.6)
    ax.set_axisbelow(True)
    return ax


def legend(ax: Any, *, below: bool = False, columns: int = 1) -> None:
    """Put the names of the curves where they cover least, or below the axes, where they cover nothing."""
    style = {"frameon": True, "framealpha": 0.9, "edgecolor": "none", "fontsize": "small", "handlelength": 2.6}
    if not below:
        ax.legend(**style)
        return
    size = ax.xaxis.label.get_size()  # points: the numbers and the name of the axis, with their gaps, take 3.4 of it
    shift = library("matplotlib.transforms", extra="plots").ScaledTranslation
    place = ax.transAxes + shift(0, -3.4 * size / 72, ax.figure.dpi_scale_trans)
    ax.legend(**style, ncols=columns, loc="upper center", bbox_to_anchor=(0.5, 0.0), bbox_transform=place)


def number(value: float) -> str:
    """Write a number for a label, three digits and a power of ten in mathematics."""
    text = f"{value:.3g}"
    if "e" not in text:
        return text
    mantissa, exponent = text.split("e")
    return rf"${mantissa}\times 10^{{{int(exponent)}}}$"
