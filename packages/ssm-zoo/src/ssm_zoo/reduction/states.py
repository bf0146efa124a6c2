"""What a paired diagonal system does to activations: its states, its outputs, and the second moment of its states.

Where a system has twice as many outputs as inputs, the layer is bidirectional: the first half reads the states of the
sequence, the second half those of the reversed sequence.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from ..scan import diagonal_scan

if TYPE_CHECKING:
    from torch import Tensor

    from ssm_gramians import StateSpace

_CHUNK = 1 << 22  # numbers in the states of the sequences that are run at once: 32 MiB


def directions(system: StateSpace) -> tuple[bool, ...]:
    """Return whether the scan runs backwards, for each pass that the layer makes."""
    return (False, True)[: system.outputs // system.inputs]


def run(system: StateSpace, C: np.ndarray, inputs: Tensor, *, reverse: bool) -> np.ndarray:
    r"""$\mathrm{Re}(C x_t)$ for every sequence and step, in float64, from a zero state.

    Parameters
    ----------
    system
        Paired, diagonal, discrete.
    C
        Complex, shape (k, slots).
    inputs
        Shape (batch, length, m).
    reverse
        Whether to run from the end.

    Returns
    -------
    array
        Shape (batch · length, k).
    """
    A, B, C = (torch.as_tensor(M).to(torch.complex128) for M in (system.A.eigenvalues, system.B, C))
    outputs, _ = diagonal_scan(inputs.cpu().double(), A, B, C, reverse=reverse)
    return outputs.flatten(0, 1).numpy()


def states(system: StateSpace, inputs: Tensor, *, reverse: bool) -> np.ndarray:
    r"""$\xi_t = [\mathrm{Re}\,x_t; \mathrm{Im}\,x_t]$ for every sequence and step, shape (batch · length, order)."""
    slots = system.order // 2
    return run(system, np.concatenate([np.eye(slots), -1j * np.eye(slots)]), inputs, reverse=reverse)


def second_moment(system: StateSpace, inputs: Tensor) -> np.ndarray:
    r"""$E[\xi \xi^T]$ over sequences, steps and directions, from a zero state.

    Parameters
    ----------
    system
        Paired, diagonal, discrete.
    inputs
        Activations, shape (batch, length, m).

    Returns
    -------
    array
        Shape (order, order), float64.
    """
    batch, length, _ = inputs.shape
    total = np.zeros((system.order, system.order))
    for reverse in directions(system):
        for some in inputs.split(max(1, _CHUNK // (length * system.order))):
            xi = states(system, some, reverse=reverse)
            total += xi.T @ xi
    return total / (batch * length * len(directions(system)))
