"""A lower bound of the H∞ norm of a diagonal system with many channels, from products alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ssm_gramians import Diagonal, StateSpace, UnsupportedError

from .._arrays import adjoint
from .._host import on_host
from .._stability import require_stable
from .peak import require_single

if TYPE_CHECKING:
    from collections.abc import Callable

    from jaxtyping import Complex, Float

_VECTORS = 4  # directions iterated together; with up to so many inputs the gain is exact


def estimate_peak_gain(system: StateSpace, *, modes: int = 4, steps: int = 2) -> tuple[float, float]:
    r"""σ_max(G) at the frequencies of the loudest modes, from below: ‖G‖_∞ is at least this.

    A mode is as loud as ‖c_i‖ ‖b_i‖ over its distance from the stability border. At each frequency a block of vectors
    is multiplied by G and Gᴴ in turn, through the modes, so that no (outputs × inputs) matrix is formed: `peak_gain`
    without its cost for hundreds of channels.

    Parameters
    ----------
    system
        One stable diagonal or paired system.
    modes
        Look at so many frequencies.
    steps
        Multiplications by Gᴴ G.

    Returns
    -------
    gain, frequency
        The gain is attained at the frequency, in radians per second.

    Raises
    ------
    UnsupportedError
        If A is dense.
    InstabilityError
        If a pole does not decay.
    ShapeError
        If the system is a batch.

    References
    ----------
    N. Halko, P. G. Martinsson, J. A. Tropp, SIAM Review 53 (2011) 217-288, algorithm 4.4: subspace iteration.
    """
    if not isinstance(system.A, Diagonal):
        msg = f"estimate_peak_gain needs a diagonal A, got {type(system.A).__name__}; use peak_gain"
        raise UnsupportedError(msg)
    require_single(system)
    require_stable(system)
    host = on_host(system)
    frequencies = _loudest(host, modes)
    forward, backward = _products(host, frequencies)
    start = np.random.default_rng(0).normal(size=(frequencies.size, host.inputs, min(_VECTORS, host.inputs)))
    block = np.linalg.qr(start.astype(complex))[0]
    for _ in range(steps):
        block = np.linalg.qr(backward(forward(block)))[0]
    gains = np.linalg.norm(forward(block), 2, axis=(-2, -1))
    return float(gains.max()), float(frequencies[gains.argmax()])


def _loudest(system: StateSpace, modes: int) -> Float[np.ndarray, " k"]:
    assert isinstance(system.A, Diagonal)
    poles = system.A.eigenvalues
    distance = 1 - np.abs(poles) if system.is_discrete else -poles.real
    loudness = np.linalg.norm(system.B, axis=1) * np.linalg.norm(system.C, axis=0) / distance
    chosen = poles[np.argsort(loudness)[: -modes - 1 : -1]]
    return np.angle(chosen) / system.dt if system.is_discrete else chosen.imag


def _products(system: StateSpace, frequencies: Float[np.ndarray, " k"]) -> tuple[Callable, Callable]:
    """Return V ↦ G V and W ↦ Gᴴ W for all frequencies at once: (k, inputs, v) ↦ (k, outputs, v), and back."""
    assert isinstance(system.A, Diagonal)
    poles, B, C = system.poles(), system.B, system.C
    if system.A.paired:
        B, C = np.concatenate([B, B.conj()]), np.concatenate([C, C.conj()], axis=1)
    points = np.exp(1j * frequencies * system.dt) if system.is_discrete else 1j * frequencies
    gain: Complex[np.ndarray, "k n 1"] = 1 / (points[:, None, None] - poles[:, None])

    def forward(V):
        return _each(C, gain * _each(B, V)) + _each(system.D, V)

    def backward(W):
        return _each(adjoint(B), gain.conj() * _each(adjoint(C), W)) + _each(adjoint(system.D), W)

    return forward, backward


def _each(X: Complex[np.ndarray, "p n"], V: Complex[np.ndarray, "k n v"]) -> Complex[np.ndarray, "k p v"]:
    """X V for every frequency, in one product."""
    k, n, v = V.shape
    return (X @ V.transpose(1, 0, 2).reshape(n, k * v)).reshape(-1, k, v).transpose(1, 0, 2)
