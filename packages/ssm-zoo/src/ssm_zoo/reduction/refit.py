"""Make an unstable reduced system stable, and let its outputs make up for it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import torch

from ssm_gramians import Diagonal

from ..scan import diagonal_scan

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
        Discrete systems; `reduced` is paired and diagonal, `full` is stable.
    inputs
        Activations, shape (batch, length, m).

    Returns
    -------
    StateSpace
        `reduced` with its poles inside the unit circle and the C that comes nearest to the full system's outputs.
    """
    poles, radius = reduced.A.eigenvalues, np.abs(full.poles()).max()
    moduli = np.abs(poles)
    stable = replace(reduced, A=Diagonal(np.where(moduli < 1, poles, poles / moduli * radius), paired=True))
    passes = np.split(np.arange(full.outputs), full.outputs // full.inputs)
    fits = [_refit(stable, full, rows, inputs, reverse=k == 1) for k, rows in enumerate(passes)]
    return replace(stable, C=np.concatenate(fits))


def _refit(reduced: StateSpace, full: StateSpace, rows: np.ndarray, inputs: Tensor, *, reverse: bool) -> np.ndarray:
    """Return the C of one pass of the layer; a bidirectional layer makes two, with the outputs [forward; backward]."""
    slots = reduced.C.shape[1]
    xi = _run(reduced, np.concatenate([np.eye(slots), -1j * np.eye(slots)]), inputs, reverse)  # [Re z; Im z]
    wanted = _outputs(full, rows, inputs, reverse)
    C = 2 * np.concatenate([reduced.C[rows].real, -reduced.C[rows].imag], axis=1)
    C = C + np.linalg.lstsq(xi, wanted - xi @ C.T, rcond=_RCOND)[0].T
    real, imag = np.split(C / 2, 2, axis=1)
    return real - 1j * imag


def _outputs(full: StateSpace, rows: np.ndarray, inputs: Tensor, reverse: bool) -> np.ndarray:
    """Return what one pass of the full system adds to D u, (samples, outputs)."""
    if isinstance(full.A, Diagonal):
        return _run(full, 2 * full.C[rows], inputs, reverse)
    u = inputs.cpu().double().numpy()
    u = u[:, ::-1] if reverse else u
    late = replace(
        full, C=full.C[rows], D=np.zeros((len(rows), full.inputs))
    ).simulate(
        np.concatenate([u, u[:, :1]], 1)  # a state space reads its state before the input has entered, a layer after
    )[:, 1:]
    return (late[:, ::-1] if reverse else late).reshape(-1, len(rows))


def _run(system: StateSpace, C: np.ndarray, inputs: Tensor, reverse: bool) -> np.ndarray:
    """Return Re(C x) for every sequence and step, (samples, outputs), in double precision."""
    matrices = (torch.as_tensor(matrix) for matrix in (system.A.eigenvalues, system.B, C))
    return diagonal_scan(inputs.cpu().double(), *matrices, reverse=reverse)[0].flatten(0, 1).numpy()
