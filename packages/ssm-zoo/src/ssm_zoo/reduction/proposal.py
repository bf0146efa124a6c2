"""A cut of one layer, worked out with its evidence; the layer is untouched."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import numpy as np

    from ..layers import Surgery
    from .certificate import Certificate


class Plan(Protocol):
    """What each state of a layer is worth, and all that is needed to cut any number of them later on."""

    @property
    def values(self) -> np.ndarray:
        """Return what the states are worth, descending; as many as the layer has states."""
        ...


@dataclass(frozen=True)
class Proposal:
    """A cut that could be made.

    Parameters
    ----------
    slots
        What the layer's `d_state` would become.
    surgery
        How.
    certificate
        What is known about the error.
    """

    slots: int
    surgery: Surgery
    certificate: Certificate
