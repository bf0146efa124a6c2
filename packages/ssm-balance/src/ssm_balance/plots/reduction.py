"""All that is known of a reduction on one page."""

from __future__ import annotations

from typing import Any

from .._library import library
from .._reduction import Reduction
from .gain import plot_gain
from .hsv import plot_hsv
from .impulse import plot_impulse
from .poles import plot_poles


def plot_reduction(reduction: Reduction, *, figure: Any = None) -> Any:
    """Values and bound, gains and error, poles and zeros, impulse responses: four plots on one page.

    Parameters
    ----------
    reduction
        Of one system, not of a batch.
    figure
        A Matplotlib figure or subfigure to draw on; a new one if None.

    Returns
    -------
    figure
        `figure.savefig(...)` writes it.

    Raises
    ------
    MissingLibraryError
        If Matplotlib is not installed.
    ShapeError
        If it is a batch.
    UnsupportedError
        If the full system is sparse and too large for all of its poles.
    """
    if figure is None:
        figure = library("matplotlib.figure", extra="plots").Figure(figsize=(11, 7.6), layout="constrained")
    axes = figure.subplots(2, 2)
    plot_hsv(reduction, ax=axes[0, 0])
    plot_gain(reduction, ax=axes[0, 1])
    plot_poles(reduction, ax=axes[1, 0])
    plot_impulse(reduction, ax=axes[1, 1])
    figure.suptitle(f"{reduction.method}: order {reduction.order} of {reduction.full.order}")
    return figure
