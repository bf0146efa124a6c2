"""The H∞ norm, bracketed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ssm_gramians import StateSpace

from .._descriptor import without_descriptor
from .._errors import BalanceError
from .._host import members, on_host
from .._stability import require_stable
from ._response import FrequencyResponse
from .peak import highest_peak, require_single

if TYPE_CHECKING:
    from jaxtyping import Float


@dataclass(frozen=True)
class GainBracket:
    """lower ≤ ‖G‖_∞ ≤ upper.

    Parameters
    ----------
    lower
        The gain at `frequency`.
    upper
        No frequency has this gain: a matrix of twice the order has no eigenvalue on the imaginary axis.
    frequency
        In radians per second; infinite if D alone is the largest gain.
    """

    lower: float
    upper: float
    frequency: float


def hinf_norm(system: StateSpace, *, rtol: float = 1e-8) -> float | Float[np.ndarray, "*batch"]:
    r"""‖G‖_∞ = max_ω σ_max(G): the largest gain of energy from input to output.

    Parameters
    ----------
    system
        Stable; dense, diagonal or paired; one or a batch, taken one by one. The cost is O((2n)³).
    rtol
        The norm is at most 1 + rtol times what is returned, which is itself a gain that some frequency has.

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
    """
    if not system.batch_shape:
        return hinf_bracket(system, rtol=rtol).lower
    norms = [hinf_bracket(member, rtol=rtol).lower for member in members(on_host(without_descriptor(system)))]
    return np.reshape(np.array(norms, dtype=float), system.batch_shape)


def hinf_bracket(system: StateSpace, *, rtol: float = 1e-8) -> GainBracket:
    r"""Bracket ‖G‖_∞ within the relative width rtol.

    γ is a singular value of G(jω) exactly if jω is an eigenvalue of a Hamiltonian matrix H(γ). A level just above the
    best gain so far either has no such ω, and bounds the norm, or between two of them lies a higher gain: convergence
    is quadratic. Discrete systems are first taken to continuous time by a Cayley transform, which keeps the norm.
    An eigenvalue counts as imaginary, until the gain there is looked at, if it is within √eps ‖H‖ of the axis,
    the most by which rounding moves a double one.

    Parameters
    ----------
    system
        One stable system; dense, diagonal or paired.
    rtol
        Width of the bracket; at least 16 eps.

    Returns
    -------
    bracket
        upper = (1 + rtol) lower.

    Raises
    ------
    InstabilityError
        If a pole does not decay.
    NonFiniteError
        If a matrix holds NaN or infinity.
    ShapeError
        If the system is a batch.
    BalanceError
        If rtol is below rounding.

    References
    ----------
    S. Boyd, V. Balakrishnan, Systems Control Lett. 15 (1990) 1-7.
    N. A. Bruinsma, M. Steinbuch, Systems Control Lett. 14 (1990) 287-293.
    """
    if not rtol >= 16 * np.finfo(float).eps:
        msg = f"rtol must be at least 16 eps = 3.6e-15, since gains are rounded; got {rtol}"
        raise BalanceError(msg)
    require_single(system)
    require_stable(system)
    response = FrequencyResponse(on_host(without_descriptor(system)))
    lower, frequency = highest_peak(response)
    A, B, C, D, to_frequency = _in_continuous_time(response)
    while lower > 0:
        level = (1 + rtol) * lower
        crossings = _crossings(A, B, C, D, level)
        candidates = to_frequency(np.concatenate([crossings, (crossings[1:] + crossings[:-1]) / 2]))
        gains = response.gains(candidates)
        if not np.any(gains > level):
            break
        lower, frequency = float(gains.max()), float(candidates[gains.argmax()])
    return GainBracket(lower, (1 + rtol) * lower, frequency)


def _crossings(A, B, C, D, level):
    """Return the ω, sorted, at which a singular value of G(jω) may equal the level."""
    p, m = D.shape
    S = np.linalg.inv(np.block([[level * np.eye(p), -D], [-D.conj().T, level * np.eye(m)]]))
    closed = A + B @ S[p:, :p] @ C
    H = np.block([[closed, B @ S[p:, p:] @ B.conj().T], [-C.conj().T @ S[:p, :p] @ C, -closed.conj().T]])
    eigenvalues = np.linalg.eigvals(H)
    width = np.sqrt(np.finfo(float).eps) * np.linalg.norm(H, 1)
    return np.sort(eigenvalues.imag[np.abs(eigenvalues.real) <= width])


def _in_continuous_time(response):
    """Return (A, B, C, D) with the same gains on the imaginary axis, and the map from its ω to radians per second.

    z = z₀ (1 + s) / (1 − s) takes the imaginary axis to the unit circle and s = ∞ to −z₀, chosen far from all poles.
    """
    dense, dt = response.system.to_dense(), response.system.dt
    if not dt:
        return dense.A, dense.B, dense.C, dense.D, lambda frequencies: frequencies
    turns = np.arange(32) / 32
    distance = np.abs(np.exp(2j * np.pi * turns)[:, None] + response.poles).min(axis=1)
    distance[[0, 16]] *= 1e3  # z₀ = ±1 stays in real arithmetic, four times cheaper: worth three digits
    turn = turns[distance.argmax()]
    z0 = {0.0: 1.0, 0.5: -1.0}.get(turn, np.exp(2j * np.pi * turn))
    eye = np.eye(dense.order)
    inverse = np.linalg.inv(dense.A + z0 * eye)
    B, C = np.sqrt(2) * inverse @ dense.B, np.sqrt(2) * z0 * dense.C @ inverse
    D = dense.D - dense.C @ inverse @ dense.B
    return inverse @ (dense.A - z0 * eye), B, C, D, lambda w: (2 * np.pi * turn + 2 * np.arctan(w)) / dt
