"""Which systems a plot compares."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from ssm_gramians import ShapeError, StateSpace, UnsupportedError

from .._reduction import Reduction

Item: TypeAlias = StateSpace | Reduction


@dataclass(frozen=True, eq=False)
class Shown:
    """A reduced system with its name and its bound, NaN if it has none."""

    system: StateSpace
    label: str
    bound: float = np.nan


def compared(full: Item, reduced: Sequence[Item]) -> tuple[StateSpace, list[Shown]]:
    """Return the full system and what it is compared with; a reduction in its place brings both.

    Raises
    ------
    ShapeError
        If there is a batch, or inputs or outputs differ.
    UnsupportedError
        If dt differs.
    """
    if isinstance(full, Reduction):
        full, reduced = full.full, (full, *reduced)
    shown = [_shown(item) for item in reduced]
    shapes = {(*system.batch_shape, system.outputs, system.inputs) for system in (full, *(s.system for s in shown))}
    if full.batch_shape or len(shapes) > 1:
        msg = f"got maps of shapes {sorted(shapes)}; want one shape (outputs, inputs): members of a batch one by one"
        raise ShapeError(msg)
    steps = {full.dt, *(item.system.dt for item in shown)}
    if len(steps) > 1:
        msg = f"got dt = {sorted(steps)} seconds; want one dt: discretise one of the systems first"
        raise UnsupportedError(msg)
    return full, shown


def full_label(system: StateSpace) -> str:
    """Return the name of the full system."""
    return f"full, order {system.order}"


def _shown(item: Item) -> Shown:
    if isinstance(item, StateSpace):
        return Shown(item, f"reduced, order {item.order}")
    bound = np.asarray(item.error_bound, dtype=float)
    single = float(bound) if bound.ndim == 0 and np.isfinite(bound) else np.nan
    return Shown(item.system, f"{item.method}, order {item.order}", single)
