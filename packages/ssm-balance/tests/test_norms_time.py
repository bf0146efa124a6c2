"""Norms in the time domain: Hankel, finite horizon, peak to peak."""

import itertools

import mpmath
import numpy as np
import pytest

from ssm_balance import (
    BalanceError,
    OrderError,
    balanced_truncation,
    difference,
    hankel_norm,
    hankel_singular_values,
    hinf_bracket,
    horizon_gain,
    linf_bracket,
    peak_to_peak_bracket,
)
from ssm_gramians import InstabilityError, NonFiniteError, StateSpace, UnsupportedError

KINDS = ("dense", "complex", "diagonal", "paired")


def toeplitz_norm(system, steps):
    h, T = system.impulse_response(steps), np.zeros((steps, system.outputs, steps, system.inputs), complex)
    for k in range(steps):
        for j in range(k + 1):
            T[k, :, j] = h[k - j]
    return np.linalg.norm(T.reshape(steps * system.outputs, -1), 2)


def quick(system):
    return StateSpace(system.A.map(lambda poles: 0.8 * poles), system.B, system.C, system.D, system.dt)


def oscillator(damping):
    return StateSpace(np.array([[0.0, 1.0], [-1.0, -2 * damping]]), np.array([[0.0], [1.0]]), np.array([[1.0, 0.0]]))


def test_hankel_norm_is_the_norm_of_the_hankel_matrix(make_system):
    system = quick(make_system("paired", dt=1.0, n=4))
    h = system.impulse_response(201)[1:]

    blocks = np.block([[h[i + j] for j in range(100)] for i in range(100)])

    assert hankel_norm(system) == pytest.approx(np.linalg.norm(blocks, 2), rel=1e-9)


def test_hankel_norm_is_below_the_gain_whatever_the_feedthrough(system):
    assert hankel_norm(system) <= hinf_bracket(system).upper
    assert hankel_norm(system) <= hinf_bracket(StateSpace(system.A, system.B, system.C, None, system.dt)).upper


def test_hankel_norms_of_a_batch(make_system):
    batch = make_system("paired", dt=1.0, batch=(2, 2))

    found = hankel_norm(batch)

    assert np.allclose(found, hankel_singular_values(batch)[..., 0])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("steps", [1, 2, 13, 60])
def test_horizon_gain_is_the_norm_of_the_toeplitz_matrix(make_system, kind, steps):
    system = make_system(kind, dt=0.5)

    bracket = horizon_gain(system, steps)

    expected = toeplitz_norm(system, steps)
    assert bracket.lower <= expected * (1 + 1e-12)
    assert bracket.upper >= expected * (1 - 1e-12)
    assert bracket.upper <= bracket.lower * (1 + 2e-6)


def test_horizon_gain_of_a_moving_sum():
    bracket = horizon_gain(StateSpace(np.ones((1, 1)), np.ones((1, 1)), np.ones((1, 1)), np.ones((1, 1)), dt=1.0), 50)

    expected = 1 / (2 * np.sin(np.pi / 202))  # the triangular matrix of ones
    assert bracket.lower == pytest.approx(expected, rel=1e-6)
    assert bracket.upper == pytest.approx(expected, rel=1e-5)


def test_horizon_gain_grows_to_the_gain_of_all_time(make_system):
    system = quick(make_system("paired", dt=1.0, n=4))

    found = [horizon_gain(system, steps) for steps in (1, 10, 100, 500)]

    assert all(a.lower <= b.upper for a, b in itertools.pairwise(found))
    assert found[-1].lower <= hinf_bracket(system).upper
    assert found[-1].lower >= 0.99 * hinf_bracket(system).lower


def test_horizon_gain_needs_no_stability(make_system):
    stable = make_system("dense", dt=1.0, n=3)
    system = StateSpace(1.3 * stable.A, stable.B, stable.C, stable.D, 1.0)

    bracket = horizon_gain(system, 40)

    assert bracket.lower == pytest.approx(toeplitz_norm(system, 40), rel=1e-6)


@pytest.mark.parametrize("vectors", [1, 2, 4])
def test_the_upper_end_of_a_horizon_is_true_whatever_lanczos_missed(make_system, monkeypatch, vectors):
    monkeypatch.setattr("ssm_balance.norms.horizon._VECTORS", vectors)
    system = make_system("paired", dt=1.0)

    bracket = horizon_gain(system, 30)

    assert bracket.lower <= toeplitz_norm(system, 30) <= bracket.upper


def test_a_long_horizon_ends_when_its_recursion_stands_still():
    system = StateSpace(0.5 * np.eye(1), np.eye(1), np.eye(1), dt=1.0)

    bracket = horizon_gain(system, 2000, rtol=1e-4)

    assert bracket.lower <= 2 <= bracket.upper * (1 + 1e-5)


def test_no_horizon_gain_where_nothing_is_connected():
    system = StateSpace(0.5 * np.eye(2), np.zeros((2, 1)), np.ones((1, 2)), dt=1.0)

    bracket = horizon_gain(system, 20)

    assert (bracket.lower, bracket.upper) == (0, 0)


def test_horizons_that_mean_nothing_are_refused(make_system):
    with pytest.raises(OrderError, match="steps must be a whole number, at least 1; got 0"):
        horizon_gain(make_system(dt=1.0), 0)
    with pytest.raises(UnsupportedError, match="dt is 0; want a system with dt > 0: discretise"):
        horizon_gain(make_system(), 3)
    with pytest.raises(BalanceError, match="rtol must be from"):
        horizon_gain(make_system(dt=1.0), 3, rtol=0)
    with pytest.raises(NonFiniteError, match="overflows within 500 steps"):
        horizon_gain(StateSpace(10 * np.eye(1), np.eye(1), np.eye(1), dt=1.0), 500)


@pytest.mark.parametrize("kind", KINDS)
def test_the_sum_of_the_impulse_response_is_in_the_bracket(make_system, kind):
    system = make_system(kind, dt=0.5)

    bracket = peak_to_peak_bracket(system)

    expected = np.abs(system.impulse_response(4000)).sum(axis=(0, 2)).max()
    assert bracket.lower <= expected <= bracket.upper <= bracket.lower * 1.001


@pytest.mark.parametrize("rtol", [1e-2, 1e-3, 1e-4])
@pytest.mark.parametrize("damping", [0.9, 0.3, 0.02])
def test_the_integral_of_an_oscillation_is_in_the_bracket(damping, rtol):
    bracket = peak_to_peak_bracket(oscillator(damping), rtol=rtol)

    expected = float(mpmath.coth(mpmath.pi * damping / mpmath.sqrt(1 - damping**2) / 2))
    assert bracket.lower <= expected <= bracket.upper <= bracket.lower * (1 + rtol)


def test_fast_and_slow_states_are_integrated_alike():
    system = StateSpace(np.diag([-1.0, -1e5]), np.ones((2, 1)), np.array([[1.0, -2e5]]))

    bracket = peak_to_peak_bracket(system)

    T = mpmath.log(2e5) / (1e5 - 1)  # where h changes its sign
    expected = 2 * (1 - mpmath.exp(-1e5 * T)) - (1 - mpmath.exp(-T)) + mpmath.exp(-T) - 2 * mpmath.exp(-1e5 * T)
    assert bracket.lower <= float(expected) <= bracket.upper <= bracket.lower * 1.001


def test_inputs_add_up_and_outputs_do_not():
    system = StateSpace(-np.eye(2), np.eye(2), np.array([[1.0, -2.0], [1.0, 1.0]]), np.array([[0.5, 0.0], [0.0, -0.5]]))

    bracket = peak_to_peak_bracket(system)

    assert bracket.lower <= 3.5 <= bracket.upper


def test_amplitudes_grow_by_at_least_the_gain_of_one_channel(make_system):
    for dt in (0.0, 1.0):
        system = make_system("paired", dt=dt, m=1, p=1)

        assert peak_to_peak_bracket(system).upper >= hinf_bracket(system).lower


def test_a_slow_pole_is_bounded_by_its_hankel_value():
    bracket = peak_to_peak_bracket(StateSpace(np.array([[1 - 1e-9]]), np.ones((1, 1)), np.ones((1, 1)), dt=1.0))

    assert bracket.lower <= 1e9 <= bracket.upper * (1 + 1e-6)
    assert bracket.upper <= 1.001e9


def test_a_response_that_ends_is_summed_whole():
    shift = np.diag(np.ones(3), -1)
    system = StateSpace(shift, np.eye(4)[:, :1], np.array([[1.0, -2.0, 3.0, -4.0]]), dt=1.0)

    bracket = peak_to_peak_bracket(system)

    assert bracket.lower == pytest.approx(10)
    assert bracket.upper == pytest.approx(10)


def test_what_has_no_peak_gain_is_refused(make_system):
    with pytest.raises(InstabilityError, match="unstable"):
        peak_to_peak_bracket(StateSpace(np.eye(1), np.eye(1), np.eye(1)))
    with pytest.raises(BalanceError, match="rtol must be from 1e-9 to 1; got 2"):
        peak_to_peak_bracket(make_system(), rtol=2)


def test_the_error_of_a_reduction_is_measured_in_every_norm(make_system):
    system = make_system("paired", dt=1.0, n=6)
    reduction = balanced_truncation(system, 6)
    error = difference(system, reduction.system)

    hinf = hinf_bracket(error)

    assert hankel_norm(error) <= hinf.upper <= reduction.error_bound * (1 + 1e-6)
    assert horizon_gain(error, 100).lower <= hinf.upper
    assert linf_bracket(error, (0.0, 0.5)).lower <= hinf.upper
