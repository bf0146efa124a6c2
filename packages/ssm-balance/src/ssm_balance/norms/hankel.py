"""The Hankel norm."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ssm_gramians import StateSpace

from .._hankel import hankel_singular_values
from .._host import on_host

if TYPE_CHECKING:
    from jaxtyping import Float

    from ssm_gramians import Backend, Solver


def hankel_norm(
    system: StateSpace, *, solver: Solver | None = None, backend: str | Backend | None = None
) -> float | Float[np.ndarray, "*batch"]:
    r"""‖G‖_H = σ₁: the largest gain of energy from the past input to the future output.

    ‖G‖_H ≤ ‖G − D‖_∞ ≤ 2 Σ σ_i for every D. No system of order r is closer to G in this norm than σ_{r+1}.

    Parameters
    ----------
    system
        Stable; dense, diagonal, paired or sparse; one or a batch. D plays no part.
    solver, backend
        As for `ssm_gramians.gramian_factors`.

    Returns
    -------
    norm
        A float; for a batch, a NumPy array.

    Raises
    ------
    InstabilityError
        If a pole does not decay.
    NonFiniteError
        If a matrix holds NaN or infinity.

    References
    ----------
    K. Glover, Int. J. Control 39 (1984) 1115-1193.
    """
    largest = hankel_singular_values(on_host(system), solver=solver, backend=backend)[..., 0]
    return largest if system.batch_shape else float(largest)
