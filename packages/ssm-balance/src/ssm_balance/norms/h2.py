"""The H2 norm."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ssm_gramians import Diagonal, Sparse, StateSpace, gramian_factors

from .._host import on_host
from .._stability import require_finite, require_stable

if TYPE_CHECKING:
    from jaxtyping import Float

    from ssm_gramians import Backend, Solver


def h2_norm(
    system: StateSpace, *, solver: Solver | None = None, backend: str | Backend | None = None
) -> float | Float[np.ndarray, "*batch"]:
    r"""‖G‖₂ = ‖C Z_P‖_F in continuous time, (‖C Z_P‖² + ‖D‖²)^{1/2} in discrete time.

    The root mean square of the output for white noise of unit variance; the energy of the impulse response.
    From the factor, not from C P Cᴴ, so that the norm of a small error system keeps its digits.

    Parameters
    ----------
    system
        Stable; dense, diagonal, paired or sparse; one or a batch.
    solver, backend
        As for `ssm_gramians.gramian_factors`.

    Returns
    -------
    norm
        A float; for a batch, a NumPy array. Infinite in continuous time if D is not zero.

    Raises
    ------
    InstabilityError
        If a pole does not decay.
    NonFiniteError
        If a matrix holds NaN or infinity.
    """
    (require_finite if isinstance(system.A, Sparse) else require_stable)(system)  # a sparse solver notices by itself
    system = on_host(system)
    Z_P, _ = gramian_factors(system, solver=solver, backend=backend)
    direct = np.linalg.norm(system.D, axis=(-2, -1))
    if not system.is_discrete:
        direct = np.where(direct == 0, 0.0, np.inf)
    C = system.C
    if isinstance(system.A, Diagonal) and system.A.paired:
        C = 2 * np.concatenate([C.real, -C.imag], axis=-1)  # in the real coordinates of Z_P
    norm = np.hypot(np.linalg.norm(C @ Z_P, axis=(-2, -1)), direct)
    return norm if system.batch_shape else float(norm)
