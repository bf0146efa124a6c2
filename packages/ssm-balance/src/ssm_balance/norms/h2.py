"""The H2 norm."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ssm_gramians import Diagonal, Gram, Lyapunov, Sparse, StateSpace, Stein, solve

from .._host import on_host
from .._stability import require_finite, require_stable

if TYPE_CHECKING:
    from jaxtyping import Float, Inexact

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
        As for `ssm_gramians.solve`.

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
    B, C = _in_real_coordinates(system)
    equation = (Stein if system.is_discrete else Lyapunov)(system.A, Gram(B), system.E)
    Z_P = solve(equation, solver, backend).unwrap().Z
    direct = np.linalg.norm(system.D, axis=(-2, -1))
    if not system.is_discrete:
        direct = np.where(direct == 0, 0.0, np.inf)
    norm = np.hypot(np.linalg.norm(C @ Z_P, axis=(-2, -1)), direct)
    return norm if system.batch_shape else float(norm)


def _in_real_coordinates(system: StateSpace) -> tuple[Inexact[np.ndarray, ...], Inexact[np.ndarray, ...]]:
    """Return B and C; of a paired system those of [Re x; Im x], in which its Gramian is."""
    B, C = system.B, system.C
    if not (isinstance(system.A, Diagonal) and system.A.paired):
        return B, C
    return np.concatenate([B.real, B.imag], axis=-2), 2 * np.concatenate([C.real, -C.imag], axis=-1)
