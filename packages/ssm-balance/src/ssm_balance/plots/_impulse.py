"""One entry of an impulse response at equal steps."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy import sparse
from scipy.linalg import expm
from scipy.sparse.linalg import splu

from ssm_gramians import Diagonal, Sparse, StateSpace

from .._descriptor import without_descriptor
from .._host import dense_matrices, on_host

if TYPE_CHECKING:
    from jaxtyping import Float, Inexact

_CHUNK = 1 << 22
_SPARSE_LIMIT = 500  # states; below, the dense exponential is quick
_GAMMA = 1 - 0.5**0.5  # of the L-stable two-stage method of order 2


def impulse_response(
    system: StateSpace, channel: tuple[int, int], t: Float[np.ndarray, " k"]
) -> Inexact[np.ndarray, " k"]:
    """Return c e^{At} b, or h₀ = d and h_k = c A^{k−1} b.

    By the modes of a diagonal system; by powers of the exponential of a dense one; in implicit steps, with an error of
    the square of their length, of a large sparse one in continuous time.

    Parameters
    ----------
    system
        One system.
    channel
        Output and input.
    t
        Equal steps from zero; in discrete time of length dt.
    """
    i, j = channel
    system = on_host(system)
    system = StateSpace(system.A, system.B[:, [j]], system.C[[i]], system.D[[i]][:, [j]], system.dt, system.E)
    if isinstance(system.A, Diagonal) and system.E is None:
        tail = _modal(system, t[:-1] if system.is_discrete else t)
    elif isinstance(system.A, Sparse) and system.order > _SPARSE_LIMIT:
        tail = _sparse(system, t)
    else:
        tail = _dense(system, t)
    return np.concatenate([system.D[0], tail]) if system.is_discrete else tail


def _modal(system, t):
    slots = np.asarray(system.A.eigenvalues, dtype=complex)
    weights = system.B[:, 0] * system.C[0]
    with np.errstate(divide="ignore"):
        rates = np.log(slots) / system.dt if system.is_discrete else slots
    rates = np.where(np.isfinite(rates), rates, -1e300)
    size = max(1, _CHUNK // slots.size)
    pieces = [np.exp(t[k : k + size, None] * rates) @ weights for k in range(0, t.size, size)]
    found = np.concatenate(pieces)
    return 2 * found.real if system.A.paired else found


def _dense(system, t):
    A, b, c, _ = dense_matrices(without_descriptor(system.to_dense()))
    step = A if system.is_discrete else expm(A * (t[1] - t[0]))
    count = t.size - 1 if system.is_discrete else t.size
    few = int(np.ceil(np.sqrt(count)))
    rows, states = [c], [b]
    for _ in range(few - 1):  # c, cΦ, cΦ², ...
        rows.append(rows[-1] @ step)
    leap = np.linalg.matrix_power(step, few)
    for _ in range(few - 1):  # b, Φᵏb, Φ²ᵏb, ...
        states.append(leap @ states[-1])
    return (np.concatenate(rows) @ np.concatenate(states, axis=1)).T.ravel()[:count]


def _sparse(system, t):
    A = system.A.matrix
    E = sparse.eye_array(A.shape[0]) if system.E is None else getattr(system.E, "matrix", system.E)
    E = sparse.csc_array(E)
    x = splu(E).solve(system.B[:, 0])
    if system.is_discrete:
        held, count = splu(E), t.size - 1

        def step(x):
            return held.solve(A @ x)

    else:
        h, count = t[1] - t[0], t.size
        factor = splu(sparse.csc_array(E - _GAMMA * h * A))

        def step(x):
            k1 = factor.solve(A @ x)
            k2 = factor.solve(A @ (x + (1 - _GAMMA) * h * k1))
            return x + h * ((1 - _GAMMA) * k1 + _GAMMA * k2)

    found = []
    for _ in range(count):
        found.append(system.C[0] @ x)
        x = step(x)
    return np.array(found)
