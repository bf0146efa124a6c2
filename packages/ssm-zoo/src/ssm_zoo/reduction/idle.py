"""Layers, or features or heads of one, through which nothing flows: their factors say nothing about their states."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from jaxtyping import Float


def awake(
    Z_P: Float[np.ndarray, "n k"], Z_Q: Float[np.ndarray, "n l"]
) -> tuple[bool, Float[np.ndarray, "n ..."], Float[np.ndarray, "n ..."]]:
    """Return whether some state is worth something, and factors by which states can be told apart in any case.

    In place of one that is zero, where nothing comes in or nothing that goes out matters, all states count alike.
    """
    if (Z_Q.T @ Z_P).any():
        return True, Z_P, Z_Q
    identity = np.eye(len(Z_P))
    one, other = (Z if Z.any() else identity for Z in (Z_P, Z_Q))
    return False, *((one, other) if (other.T @ one).any() else (identity, identity))
