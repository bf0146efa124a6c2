"""What makes a norm a norm, for each of them."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ssm_balance import (
    NormBracket,
    difference,
    h2_norm,
    hankel_norm,
    hinf_bracket,
    horizon_gain,
    linf_bracket,
    peak_to_peak_bracket,
)
from ssm_gramians import StateSpace


def exact(value):
    return NormBracket(value * (1 - 1e-10), value * (1 + 1e-10))


NORMS = {
    "h2": lambda system: exact(h2_norm(system)),
    "hankel": lambda system: exact(hankel_norm(system)),
    "hinf": hinf_bracket,
    "band": lambda system: linf_bracket(system, (0.2, 1.5)),
    "horizon": lambda system: horizon_gain(system, 12),
    "peak to peak": peak_to_peak_bracket,
}

pure = [HealthCheck.function_scoped_fixture]  # the fixture is a function of its arguments
few = settings(deadline=None, max_examples=10, derandomize=True, suppress_health_check=pure)
every = pytest.mark.parametrize("norm", NORMS.values(), ids=NORMS.keys())


def scaled(system, factor):
    return StateSpace(system.A, system.B, factor * system.C, factor * system.D, system.dt)


@every
@given(seed=st.integers(0, 10_000), factor=st.floats(1e-6, 1e6))
@few
def test_a_multiple_has_a_multiple_of_the_norm(make_system, norm, seed, factor):
    system = make_system("paired", dt=1.0, n=3, seed=seed)

    one, many = norm(system), norm(scaled(system, -factor))

    assert many.lower <= factor * one.upper * (1 + 1e-9)
    assert many.upper >= factor * one.lower * (1 - 1e-9)


@every
@given(seed=st.integers(0, 10_000))
@few
def test_a_sum_is_at_most_the_sum_of_the_norms(make_system, norm, seed):
    one, two = (make_system("dense", dt=1.0, n=3, seed=seed + k) for k in (0, 1))

    both = norm(difference(one, scaled(two, -1)))

    assert both.lower <= norm(one).upper + norm(two).upper


@every
@given(seed=st.integers(0, 10_000))
@few
def test_coordinates_do_not_matter(make_system, norm, seed):
    system = make_system("dense", dt=1.0, n=4, seed=seed)
    T = np.random.default_rng(seed).normal(size=(4, 4)) + 3 * np.eye(4)

    moved = StateSpace(np.linalg.solve(T, system.A @ T), np.linalg.solve(T, system.B), system.C @ T, system.D, 1.0)

    assert norm(moved).lower <= norm(system).upper * (1 + 1e-7)
    assert norm(moved).upper >= norm(system).lower * (1 - 1e-7)


@given(seed=st.integers(0, 10_000), kind=st.sampled_from(["dense", "complex", "diagonal", "paired"]), dt=st.booleans())
@few
def test_a_band_has_at_most_the_gain_of_a_wider_one(make_system, seed, kind, dt):
    system = make_system(kind, dt=float(dt), n=4, seed=seed)
    low, middle, high = np.sort(np.random.default_rng(seed).uniform(0, 3, 3))

    narrow, wide, all_of_it = (linf_bracket(system, band) for band in ((low, middle), (low, high), None))

    assert narrow.lower <= wide.upper
    assert wide.lower <= all_of_it.upper
    assert max(narrow.upper, linf_bracket(system, (middle, high)).upper) >= wide.lower


@given(seed=st.integers(0, 10_000), dt=st.booleans(), order=st.integers(1, 12))
@few
def test_the_bracket_contains_what_slycot_finds(make_system, seed, dt, order):
    slycot = pytest.importorskip("slycot")
    system = make_system("dense", dt=float(dt), n=order, seed=seed)
    A, B, C, D = (np.array(M) for M in (system.A, system.B, system.C, system.D))

    bracket = hinf_bracket(system)

    peak, _ = slycot.ab13dd("D" if dt else "C", "I", "N", "D", order, 2, 3, A, np.eye(order), B, C, D, 1e-10)
    assert bracket.lower * (1 - 1e-8) <= peak <= bracket.upper * (1 + 1e-8)
