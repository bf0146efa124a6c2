"""A norm between two numbers."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class NormBracket:
    """lower ≤ norm ≤ upper, up to the rounding of the arithmetic.

    Parameters
    ----------
    lower
        Some input is amplified as much.
    upper
        No input is amplified more.
    """

    lower: float
    upper: float
