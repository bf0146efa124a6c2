"""The methods as `slicot_table.py` calls them, with what those with a parameter are given, and the peers of each."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np
from peers import riccati
from peers import truncation as peers
from scipy import linalg

import ssm_balance as sb
from ssm_gramians import StateSpace


@dataclass(frozen=True)
class Setting:
    """What the methods are given; every number follows from the system.

    Parameters
    ----------
    gain
        ‖G‖_∞.
    corner
        Radians per second: between the slowest pole and the middle one.
    horizon
        Seconds or steps: the longest time constant.
    shifted
        The system with D = 1.5 ‖G‖_∞ I, which is positive real; itself if it is not square.
    weight
        A lag with that corner, for each input.
    states
        Of 512 steps of a slow random input.
    """

    gain: float
    corner: float
    horizon: float | int
    shifted: StateSpace
    weight: StateSpace
    states: np.ndarray

    @classmethod
    def of(cls, system):
        """Read everything from the system; E is regular."""
        system = system.to_dense()
        A, B, C, D = peers.plain(system)
        gain, discrete = float(sb.hinf_norm(StateSpace(A, B, C, D, system.dt))), system.is_discrete
        poles = np.linalg.eigvals(A)
        rates = np.abs(np.log(poles + 0j)) if discrete else np.abs(poles)
        slowest = (-np.log(np.abs(poles)) if discrete else -poles.real).min()
        corner = float(np.sqrt(rates.min() * np.median(rates)))
        horizon = int(np.ceil(1 / slowest)) if discrete else float(1 / slowest)
        shifted = StateSpace(system.A, system.B, system.C, D + 1.5 * gain * np.eye(*D.shape), system.dt, system.E)
        states = _states(A, B, system.dt or 0, horizon / 100)
        return cls(gain, corner, horizon, shifted if len(D) == len(D.T) else system, _lag(system, corner), states)

    @classmethod
    def unknown(cls, system):
        """Stand where E is singular: the methods are to refuse."""
        system = system.to_dense()
        return cls(1.0, 1.0, 1.0, system, _lag(system, 1.0), np.ones((2, system.order)))


def _lag(system, corner):
    eye = np.eye(system.inputs)
    kept = np.exp(-corner * system.dt) if system.is_discrete else -corner
    return StateSpace(kept * eye, ((1 - kept) if system.is_discrete else corner) * eye, eye, None, system.dt)


def _states(A, B, dt, step):
    """Drive x with noise that remembers 20 steps."""
    n, m = B.shape
    if not dt:
        moved = linalg.expm(np.block([[A, B], [np.zeros((m, n + m))]]) * step)
        A, B = moved[:n, :n], moved[:n, n:]
    noise, x, u, seen = np.random.default_rng(0), np.zeros(n), np.zeros(m), []
    for _ in range(512):
        u = 0.95 * u + noise.standard_normal(m)
        x = A @ x + B @ u
        seen.append(x)
    return np.array(seen)


def methods(setting):
    """Each method as (system, order) -> Reduction, under the name that the table gives it."""
    band, horizon = (0.0, setting.corner), setting.horizon
    return {
        "balanced_truncation": sb.balanced_truncation,
        "balanced_truncation(balancing_free=True)": partial(sb.balanced_truncation, balancing_free=True),
        "singular_perturbation": sb.singular_perturbation,
        "hankel_norm_approximation": sb.hankel_norm_approximation,
        "low_rank_truncation": sb.low_rank_truncation,
        "cross_gramian_truncation": sb.cross_gramian_truncation,
        "modal_truncation": sb.modal_truncation,
        "stochastic_truncation": partial(sb.stochastic_truncation, alpha=0.1 * setting.gain),
        "bounded_real_truncation": partial(sb.bounded_real_truncation, gain=1.5 * setting.gain),
        "positive_real_truncation": lambda _, order: sb.positive_real_truncation(setting.shifted, order),
        "lqg_truncation": sb.lqg_truncation,
        "frequency_weighted_truncation": partial(sb.frequency_weighted_truncation, input_weight=setting.weight),
        "frequency_weighted_truncation(stable=True)": partial(
            sb.frequency_weighted_truncation, input_weight=setting.weight, stable=True
        ),
        "frequency_limited_truncation": partial(sb.frequency_limited_truncation, band=band),
        "frequency_limited_truncation(stable=True)": partial(sb.frequency_limited_truncation, band=band, stable=True),
        "time_limited_truncation": partial(sb.time_limited_truncation, horizon=horizon),
        "time_limited_truncation(stable=True)": partial(sb.time_limited_truncation, horizon=horizon, stable=True),
        "data_weighted_truncation": partial(sb.data_weighted_truncation, states=setting.states),
        "h2_optimal": sb.h2_optimal,
    }


def names():
    """Return the rows of the table, in order."""
    return list(methods(Setting(1.0, 1.0, 1.0, None, None, None)))


def rivals(method, setting):
    """Return the peers that have the method, by name; "extended" is no library but a reference of our own."""
    gain = 1.5 * setting.gain
    truncation = {"slycot": peers.slycot_truncation, "pyMOR": peers.pymor_balanced}

    def balancing(reductor, kind, **options):
        return {
            "pyMOR": partial(peers.pymor_balanced, reductor=reductor, **options),
            "extended": partial(riccati.refined, kind=kind, gain=gain),
        }

    return {
        "balanced_truncation": truncation,
        "balanced_truncation(balancing_free=True)": truncation,
        "low_rank_truncation": truncation,
        "cross_gramian_truncation": truncation,
        "singular_perturbation": {"slycot": peers.slycot_residualization},
        "modal_truncation": {"pyMOR": peers.pymor_modal, "NumPy": peers.partial_fractions},
        "lqg_truncation": balancing("LQGBTReductor", "lqg"),
        "bounded_real_truncation": balancing("BRBTReductor", "bounded-real", gamma=gain),
        "positive_real_truncation": balancing("PRBTReductor", "positive-real"),
    }.get(method, {})
