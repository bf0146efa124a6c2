"""Gains of a system, of its reductions, and of the errors between them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from ssm_gramians import UnsupportedError

from ..norms._response import FrequencyResponse, largest_gains
from ._axes import FULL, axes, colour, dash, legend, number
from ._frequencies import frequencies_of, interesting
from ._shown import Item, compared, full_label

if TYPE_CHECKING:
    from jaxtyping import Float


def plot_gain(
    full: Item,
    *reduced: Item,
    frequencies: Float[np.ndarray, " k"] | None = None,
    unit: Literal["rad/s", "Hz"] = "rad/s",
    error: bool = True,
    ax: Any = None,
) -> Any:
    """σ_max(G(iω)) of the full system, of each reduced one and of each error, the errors under their bounds.

    With one input and one output this is the magnitude of the Bode plot. A complex system has different gains at ω and
    −ω: the larger one is shown.

    Parameters
    ----------
    full
        One system, or a reduction, which brings the full system and the reduced one.
    reduced
        Systems with the same inputs, outputs and dt, or reductions: these know their bound.
    frequencies
        In the unit of the plot, positive. If None, they are chosen from the poles, dense around each peak, and cut to
        where something happens; in discrete time up to Nyquist.
    unit
        "rad/s" or "Hz".
    error
        Whether to draw the errors and their bounds.
    ax
        Matplotlib axes to draw on; if None, those of a new figure.

    Raises
    ------
    MissingLibraryError
        If Matplotlib is not installed.
    ShapeError
        If a system is a batch, or inputs or outputs differ.
    UnsupportedError
        If dt differs, or the unit is another.
    """
    if unit not in {"rad/s", "Hz"}:
        msg = f"unit is {unit!r}; want 'rad/s' or 'Hz'"
        raise UnsupportedError(msg)
    system, shown = compared(full, reduced)
    ax = axes(ax)
    scale = 2 * np.pi if unit == "Hz" else 1.0
    given = None if frequencies is None else scale * np.asarray(frequencies, dtype=float)
    omega, gains, reduced_gains, errors = _curves(system, [item.system for item in shown], given)
    x = omega / scale
    ax.plot(x, gains, color=FULL, linewidth=2.4, alpha=0.75, label=full_label(system), gid="full")
    for k, item in enumerate(shown):
        ax.plot(x, reduced_gains[k], color=colour(k), linestyle=dash(k), linewidth=1.5, label=item.label, gid="reduced")
    for k, item in enumerate(shown if error else []):
        _draw_error(ax, x, errors[k], item.bound, k, len(shown))
    others = [*reduced_gains, *(errors if error else [])]
    _finish(ax, system, unit, x, gains, others, columns=min(1 + len(shown), 3))
    return ax


def _curves(system, others, omega):
    """Return the frequencies with the gains of the full system, the reduced ones and the errors."""
    full, small = FrequencyResponse(system), [FrequencyResponse(other) for other in others]
    two_sided = not all(response.is_real for response in (full, *small))
    chosen = frequencies_of(full, small) if omega is None else omega
    grid = np.concatenate([chosen, -chosen]) if two_sided else chosen
    G, H = full.responses(grid), [response.responses(grid) for response in small]

    def gains(response):
        found = largest_gains(response)
        return np.maximum(*np.split(found, 2)) if two_sided else found

    curves = gains(G), [gains(h) for h in H], [gains(G - h) for h in H]
    part = slice(None)
    if omega is None:
        part = interesting(chosen, curves[0], curves[2])
    return chosen[part], curves[0][part], [row[part] for row in curves[1]], [row[part] for row in curves[2]]


def _draw_error(ax, x, errors, bound, k, count):
    which = f" {k + 1}" if count > 1 else ""
    ax.plot(x, errors, color=colour(k), linewidth=0.9, label=f"error{which}", gid="error")
    if np.isfinite(bound):
        name = f"bound{which}: {number(bound)}"
        ax.axhline(bound, color=colour(k), linestyle=":", linewidth=1.6, label=name, gid="bound")


def _finish(ax, system, unit, x, gains, others, columns):
    ax.set(xscale="log", yscale="log", xlabel=f"Frequency ({unit})", ylabel=r"Largest gain $\sigma_{\max}(G)$")
    if system.inputs == system.outputs == 1:
        ax.set_ylabel("Gain $|G|$")
    peaks = [float(row.max()) for row in (gains, *others) if row.max() > 0]
    if peaks:
        floor = max(min(float(gains.min()), min(peaks) / 30), min(peaks) / 3000)
        ax.set_ylim(bottom=floor if floor > 0 else None)
    ax.set_xlim(x[0], x[-1] * (1.05 if system.is_discrete else 1))
    if system.is_discrete:
        nyquist = np.pi / system.dt if unit == "rad/s" else 0.5 / system.dt
        ax.axvline(nyquist, color=FULL, linewidth=0.8, gid="Nyquist")
        ax.annotate(
            "Nyquist", (nyquist, 0), xycoords=("data", "axes fraction"), xytext=(-3, 4), textcoords="offset points",
            rotation=90, ha="right", va="bottom", fontsize="small", color=FULL,
        )  # fmt: skip
    legend(ax, below=True, columns=columns)
