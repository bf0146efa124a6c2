"""Shifts: what they damp, and that they are shifts."""

import numpy as np
import pytest
from scipy import sparse

from ssm_gramians import (
    FixedShifts,
    Gram,
    LowRankADI,
    Lyapunov,
    PenzlShifts,
    ProjectionShifts,
    Stein,
    solve,
)
from ssm_gramians._pencil import Pencil
from ssm_gramians.solvers._poles import next_pole
from ssm_gramians.solvers._wachspress import cheapest_count, wachspress
from ssm_gramians.solvers.shifts import spectral_interval


def damping(shifts, spectrum):
    """The largest factor by which one cycle leaves a mode's share of the residual."""
    steps = [np.abs((spectrum - np.conj(p)) / (spectrum + p)) for p in shifts]
    return np.prod(steps, axis=0).max() ** 2


def modes(*values):
    """A sparse real system with these eigenvalues and their conjugates."""
    blocks = [np.array([[v.real, v.imag], [-v.imag, v.real]]) for v in map(complex, values)]
    return sparse.csc_array(sparse.block_diag(blocks))


LIGHTLY_DAMPED = modes(*(-0.05 * k + 1j * k for k in range(1, 21)))


@pytest.mark.parametrize("ratio", [1.5, 1e2, 1e5, 1e9])
@pytest.mark.parametrize("count", [1, 2, 5, 12])
def test_wachspress_shifts_are_the_best_of_their_number(ratio, count):
    p = wachspress(1.0, ratio, count)
    spectrum = -np.geomspace(1, ratio, 2001)

    best = damping(p, spectrum)

    assert np.all((p <= -1) & (p >= -ratio))
    assert np.allclose(p * p[::-1], ratio, rtol=1e-6)  # symmetric about the geometric mean
    ends = [damping(p, np.array([end])) for end in (-1.0, -ratio)]
    assert np.allclose(ends, best, rtol=1e-2)  # the error swings between equal extremes
    for index in range(count):
        moved = p.copy()
        moved[index] *= 1.05
        assert damping(moved, spectrum) > best


def test_more_inputs_take_longer_cycles():
    assert cheapest_count(1.0, 1.0, 1e-10, 1) == 1
    assert cheapest_count(1.0, 1e5, 1e-10, 1) < cheapest_count(1.0, 1e5, 1e-10, 10)


def test_the_interval_holds_the_spectrum():
    A = sparse.diags_array(-np.geomspace(0.01, 1000, 300), format="csc")

    low, high = spectral_interval(Pencil.of(Lyapunov(A)))

    assert 0.9e-2 < low <= 1e-2
    assert 1000 <= high < 1.2e3


@pytest.mark.parametrize("shifts", [PenzlShifts(count=8), ProjectionShifts()])
def test_shifts_of_a_real_system_are_stable_and_one_of_each_pair(shifts):
    pencil = Pencil.of(Lyapunov(LIGHTLY_DAMPED))
    B = np.random.default_rng(0).standard_normal((40, 2))

    first = shifts.first(pencil, B, 1e-10)
    later = shifts.following(pencil, B, first)

    for p in (first, later):
        assert p.size
        assert np.all(p.real < 0)
        assert np.all(p.imag >= 0)


def test_penzl_picks_damp_the_spectrum():
    A = sparse.diags_array(-np.geomspace(1, 1e4, 200), format="csc")

    p = PenzlShifts(count=10).first(Pencil.of(Lyapunov(A)), np.ones((200, 1)), 1e-10)

    assert len(p) == 10
    assert damping(p, -np.geomspace(1, 1e4, 200)) < 1e-2


def test_a_complex_system_is_damped_by_conjugate_shifts():
    values = np.array([-1 + 5j, -2 + 9j, -0.5 + 2j])
    A = sparse.diags_array(values, format="csc")

    p = PenzlShifts(count=3, large=3, small=3).first(Pencil.of(Lyapunov(A)), np.ones((3, 1), complex), 1e-10)

    assert damping(p, values) < 1e-12  # the three shifts annihilate the three modes


def test_fixed_shifts_that_annihilate_every_mode_end_the_iteration():
    values = np.array([-1.0, -3.0, -7.0])
    A = sparse.diags_array(values, format="csc")

    solution = solve(Lyapunov(A, Gram(np.ones((3, 1)))), LowRankADI(FixedShifts(tuple(values))))

    assert solution.converged
    assert solution.steps == 3
    assert np.allclose(solution.value.to_dense(), -1 / (values[:, None] + values), rtol=1e-12)


def test_fixed_shifts_must_be_stable():
    with pytest.raises(ValueError, match="negative real part"):
        FixedShifts((-1.0, 2.0))
    with pytest.raises(ValueError, match="at least one"):
        FixedShifts(())


def test_pairs_in_real_arithmetic_equal_two_complex_steps():
    pair = (-0.5 + 3j, -0.5 - 3j)
    B = np.random.default_rng(0).standard_normal((40, 1))
    both = {"max_steps": 2, "rtol": 1e-300}

    real = solve(Lyapunov(LIGHTLY_DAMPED, Gram(B)), LowRankADI(FixedShifts(pair[:1]), max_steps=1, rtol=1e-300))
    twice = solve(Lyapunov(LIGHTLY_DAMPED.astype(complex), Gram(B)), LowRankADI(FixedShifts(pair), **both))

    assert not np.iscomplexobj(real.value.Z)
    assert np.allclose(real.value.to_dense(), twice.value.to_dense(), rtol=1e-12)


def test_a_stein_pencil_maps_the_disc_to_the_half_plane():
    values = np.array([0.9, -0.99, 0.1])
    pencil = Pencil.of(Stein(sparse.diags_array(values, format="csc")))
    eye = np.eye(3)

    mapped = np.diag(pencil.solve_right(pencil.left(eye)))

    assert np.allclose(mapped, (values - 1) / (values + 1))
    for p in (-0.3, -1.0, -40.0, -1 + 2j):
        shifted = pencil.left(eye) + p * pencil.right(eye)
        assert np.allclose(pencil.solve(p, eye) @ shifted, eye)


def test_poles_are_real_on_a_real_spectrum_and_never_left():
    interval = (1.0, 1e4)
    poles = np.array([1.0, 1e4])

    real = next_pole(np.geomspace(1, 1e4, 6) + 0j, poles, interval, real=True, pairs=True)
    pair = next_pole(np.array([1 + 9j, 1 - 9j, 50, 900]), poles, interval, real=False, pairs=True)

    assert real.imag == 0
    assert 1 < real.real < 1e4
    assert pair.real > 0
    assert pair.imag >= 0
