"""Make an unstable reduced system stable, and let its outputs make up for it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from ssm_gramians import Diagonal

from .states import directions, run, states

if TYPE_CHECKING:
    from torch import Tensor

    from ssm_gramians import StateSpace

_RCOND = 1e-8  # directions of the states that the activations excite less than this keep their outputs


def pull_inside(reduced: StateSpace, full: StateSpace, inputs: Tensor) -> StateSpace:
    r"""Move each pole with $|\lambda| \ge 1$ to the full system's largest modulus, then refit C by least squares.

    A projection by activations is not stable by construction: poles of modulus 1.0004 do occur.

    Parameters
    ----------
    reduced, full
        Paired diagonal discrete systems; `full` is stable.
    inputs
        Activations, shape (batch, length, m).

    Returns
    -------
    StateSpace
        `reduced` with its poles inside the unit circle and the C that comes nearest to the full system's outputs.
    """
    poles, radius = reduced.A.eigenvalues, np.abs(full.A.eigenvalues).max()
    moduli = np.abs(poles)
    stable = replace(reduced, A=Diagonal(np.where(moduli < 1, poles, poles / moduli * radius), paired=True))
    rows = np.split(np.arange(full.outputs), len(directions(full)))
    fits = [_refit(stable, full, rows[reverse], inputs, reverse=reverse) for reverse in directions(full)]
    return replace(stable, C=np.concatenate(fits))


def _refit(reduced: StateSpace, full: StateSpace, rows: np.ndarray, inputs: Tensor, *, reverse: bool) -> np.ndarray:
    xi = states(reduced, inputs, reverse=reverse)
    wanted = run(full, 2 * full.C[rows], inputs, reverse=reverse)
    C = 2 * np.concatenate([reduced.C[rows].real, -reduced.C[rows].imag], axis=1)
    C = C + np.linalg.lstsq(xi, wanted - xi @ C.T, rcond=_RCOND)[0].T
    real, imag = np.split(C / 2, 2, axis=1)
    return real - 1j * imag
