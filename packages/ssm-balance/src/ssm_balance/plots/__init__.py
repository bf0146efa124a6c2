"""Plots of reductions on Matplotlib axes, which is imported when the first of them is drawn."""

from .gain import plot_gain
from .hsv import plot_hsv
from .impulse import plot_impulse
from .poles import plot_poles
from .reduction import plot_reduction

__all__ = ["plot_gain", "plot_hsv", "plot_impulse", "plot_poles", "plot_reduction"]
