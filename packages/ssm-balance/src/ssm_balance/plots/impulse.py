"""Impulse responses."""

from __future__ import annotations

from typing import Any

import numpy as np

from ssm_gramians import ShapeError

from ._axes import FULL, axes, colour, dash, legend
from ._horizon import settling_time
from ._impulse import impulse_response
from ._shown import Item, compared, full_label

_POINTS = 1000
_MOST_STEPS = 5000
_FEW_STEPS = 60  # so many are drawn one by one


def plot_impulse(
    full: Item, *reduced: Item, channel: tuple[int, int] = (0, 0), horizon: float | None = None, ax: Any = None
) -> Any:
    """Return y(t) to a unit impulse at t = 0 drawn over t in seconds, of the full system and of each reduced one.

    In continuous time the impulse that D passes on at t = 0 is not drawn. In discrete time a unit pulse takes its place
    and h₀ = D is. Of a complex system the real part is shown.

    Parameters
    ----------
    full
        One system, or a reduction, which brings the full system and the reduced one.
    reduced
        More systems, or reductions, with the same inputs, outputs and dt.
    channel
        Output and input, counted from 0.
    horizon
        The last t in seconds; if None, when all that the poles of the last system hold has decayed to 3 %.
    ax
        Matplotlib axes to draw on; if None, those of a new figure.

    Raises
    ------
    MissingLibraryError
        If Matplotlib is not installed.
    ShapeError
        If a system is a batch, inputs or outputs differ, or there is no such output or input.
    UnsupportedError
        If dt differs.
    """
    system, shown = compared(full, reduced)
    if not (0 <= channel[0] < system.outputs and 0 <= channel[1] < system.inputs):
        msg = f"channel is {channel}; want an output below {system.outputs} and an input below {system.inputs}"
        raise ShapeError(msg)
    ax = axes(ax)
    systems = [system, *(item.system for item in shown)]
    t = _times(systems[-1], horizon)
    responses = [impulse_response(each, channel, t).real for each in systems]
    options: dict[str, Any] = {"drawstyle": "steps-post"} if system.is_discrete else {}
    if system.is_discrete and t.size <= _FEW_STEPS:
        options |= {"marker": "o", "markersize": 3.5}
    ax.axhline(0, color="black", linewidth=0.6)
    ax.plot(t, responses[0], color=FULL, linewidth=2.4, alpha=0.75, label=full_label(system), gid="full", **options)
    for k, item in enumerate(shown):
        style = {"color": colour(k), "linestyle": dash(k), "linewidth": 1.5}
        ax.plot(t, responses[k + 1], label=item.label, gid="reduced", **style, **options)
    _name(ax, system, channel)
    ax.set_xlim(t[0], t[-1])
    legend(ax)
    return ax


def _times(system, horizon):
    last = settling_time(system) if horizon is None else float(horizon)
    if not system.is_discrete:
        return np.linspace(0, last, _POINTS)
    return system.dt * np.arange(min(max(int(np.ceil(last / system.dt)), 1), _MOST_STEPS) + 1)


def _name(ax, system, channel):
    name = "Impulse response"
    if system.outputs > 1 or system.inputs > 1:
        name += f", input {channel[1]} to output {channel[0]}"
    ax.set(xlabel="Time (s)", ylabel=name)
