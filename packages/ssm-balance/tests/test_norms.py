import importlib

import numpy as np
import pytest

from ssm_balance import BalanceError, difference, estimate_peak_gain, h2_norm, hinf_bracket, hinf_norm, peak_gain
from ssm_gramians import Diagonal, ShapeError, StateSpace, UnsupportedError


def gains(system, s):
    return np.linalg.norm(system.transfer_function(s), 2, axis=(-2, -1))


def resonance(damping):
    return StateSpace(np.array([[0.0, 1.0], [-1.0, -2 * damping]]), np.array([[0.0], [1.0]]), np.array([[1.0, 0.0]]))


def test_no_gain_of_a_fine_grid_leaves_the_bracket(system, points):
    bracket = hinf_bracket(system)

    found = gains(system, points(system.dt, 20_001)).max()

    assert found <= bracket.upper
    assert found >= bracket.lower * (1 - 1e-4)
    assert bracket.upper <= bracket.lower * (1 + 2e-8)


def test_lower_end_is_the_gain_at_the_frequency(system):
    bracket = hinf_bracket(system)

    s = 1j * bracket.frequency
    s = np.exp(s * system.dt) if system.is_discrete else s

    assert gains(system, np.array([s]))[0] == pytest.approx(bracket.lower, rel=1e-9)


@pytest.mark.parametrize("damping", [0.5, 0.1, 1e-3, 1e-6])
def test_peak_of_a_resonance(damping):
    bracket = hinf_bracket(resonance(damping))

    assert bracket.lower == pytest.approx(1 / (2 * damping * np.sqrt(1 - damping**2)), rel=1e-8)
    assert abs(bracket.frequency) == pytest.approx(np.sqrt(1 - 2 * damping**2), rel=1e-3)


@pytest.mark.parametrize(
    ("pole", "frequency"), [(0.5, 0), (-0.5, np.pi / 0.1), (1 - 1e-9, 0), (-1 + 1e-9, np.pi / 0.1)]
)
def test_peak_of_a_discrete_lag(pole, frequency):
    system = StateSpace(np.array([[pole]]), np.eye(1), np.eye(1), dt=0.1)

    bracket = hinf_bracket(system)

    assert bracket.lower == pytest.approx(1 / (1 - abs(pole)), rel=1e-8)
    assert abs(bracket.frequency) == pytest.approx(frequency, abs=1e-6)


def test_poles_near_one_and_minus_one_at_once():
    poles = np.array([1 - 1e-9, -1 + 1e-9])

    bracket = hinf_bracket(StateSpace(np.diag(poles), np.eye(2), np.diag([1.0, 3.0]), dt=1.0))

    assert bracket.lower == pytest.approx(3e9, rel=1e-7)
    assert abs(bracket.frequency) == pytest.approx(np.pi)


@pytest.mark.parametrize("scale", [1e-8, 1e8])
def test_units_of_the_state_do_not_matter(system, scale):
    moved = StateSpace(system.A, scale * system.B, system.C / scale, system.D, system.dt)

    assert hinf_norm(moved) == pytest.approx(hinf_norm(system), rel=2e-8)
    assert h2_norm(moved) == pytest.approx(h2_norm(system), rel=1e-8)


def test_norm_of_an_all_pass_is_its_gain():
    assert hinf_norm(StateSpace(-np.eye(1), np.eye(1), -2 * np.eye(1), np.eye(1))) == pytest.approx(1, rel=1e-8)


def test_norm_at_infinity_is_that_of_the_feedthrough():
    bracket = hinf_bracket(StateSpace(-np.eye(1), np.eye(1), -np.eye(1), 2 * np.eye(1)))

    assert bracket.lower == pytest.approx(2)
    assert bracket.frequency == np.inf


def test_norm_of_nothing_is_zero():
    assert hinf_norm(StateSpace(-np.eye(2), np.zeros((2, 1)), np.ones((1, 2)))) == 0


@pytest.mark.parametrize("frequency", [0.0, 0.3, 5.0])
def test_the_levels_climb_to_the_peak_from_any_start(system, monkeypatch, frequency):
    expected = hinf_norm(system)
    module = importlib.import_module("ssm_balance.norms.hinf")
    monkeypatch.setattr(
        module, "highest_peak", lambda response, grid: (float(response.gains(np.array([frequency]))[0]), frequency)
    )
    if not system.is_discrete:  # a level has to be above the gain at infinity
        system = StateSpace(system.A, system.B, system.C, 0 * system.D)
        expected = peak_gain(system)[0]

    assert hinf_norm(system) == pytest.approx(expected, rel=2e-8)


def test_frequencies_and_gains_are_in_radians_per_second(make_system):
    slow, fast = (make_system("dense", dt=dt) for dt in (1.0, 0.25))

    assert hinf_norm(slow) == pytest.approx(hinf_norm(fast))
    assert abs(hinf_bracket(fast).frequency) == pytest.approx(4 * abs(hinf_bracket(slow).frequency), rel=1e-4)


def test_peak_gain_is_a_lower_bound_and_near(system):
    gain, _ = peak_gain(system)

    bracket = hinf_bracket(system)

    assert bracket.lower * (1 - 1e-6) <= gain <= bracket.upper


@pytest.mark.parametrize("kind", ["diagonal", "paired"])
@pytest.mark.parametrize("dt", [0.0, 0.5])
def test_the_estimate_is_the_gain_at_its_frequency_where_inputs_are_few(make_system, kind, dt):
    system = make_system(kind, dt=dt)

    gain, frequency = estimate_peak_gain(system)

    point = np.array([np.exp(1j * frequency * dt) if dt else 1j * frequency])
    assert gain == pytest.approx(gains(system, point)[0], rel=1e-9)
    assert gain <= hinf_norm(system) * (1 + 1e-9)


def test_the_estimate_is_near_and_below_with_many_channels(make_system):
    system = make_system("paired", dt=1.0, n=40, m=60, p=50)

    gain, _ = estimate_peak_gain(system)

    assert 0.8 * hinf_norm(system) <= gain <= hinf_norm(system) * (1 + 1e-9)


def test_the_estimate_asks_for_a_diagonal_system(make_system):
    with pytest.raises(UnsupportedError, match="peak_gain"):
        estimate_peak_gain(make_system("dense"))


def test_peak_gain_on_given_frequencies(make_system):
    system = make_system("paired", dt=1.0)
    frequencies = np.array([0.1, 1.0, 3.0])

    gain, frequency = peak_gain(system, frequencies)

    found = gains(system, np.exp(1j * frequencies))
    assert gain == pytest.approx(found.max())
    assert frequency == frequencies[found.argmax()]


@pytest.mark.parametrize("count", [1, 24, 25, 300])
def test_few_and_many_frequencies_give_the_same_gains(make_system, count):
    system = make_system("dense", n=20)
    frequencies = np.linspace(0.1, 2, count)

    assert peak_gain(system, frequencies)[0] == pytest.approx(gains(system, 1j * frequencies).max(), rel=1e-11)


def test_defective_poles_have_gains_too():
    A = np.diag(-np.ones(6)) + np.diag(np.ones(5), 1)
    system = StateSpace(A, np.eye(6)[:, 5:], np.eye(6)[:1])  # 1 / (s + 1)^6

    assert hinf_norm(system) == pytest.approx(1, rel=1e-8)
    assert peak_gain(system)[1] == pytest.approx(0, abs=1e-3)


def test_the_dual_has_the_same_norms(system):
    system = StateSpace(system.A, system.B, system.C, 0 * system.D, system.dt)

    assert hinf_norm(system.dual()) == pytest.approx(hinf_norm(system), rel=2e-8)
    assert h2_norm(system.dual()) == pytest.approx(h2_norm(system), rel=1e-8)


def test_norms_of_a_batch_are_those_of_its_members(make_system):
    batch = make_system("paired", dt=1.0, batch=(2, 2))

    found = hinf_norm(batch), h2_norm(batch)

    for index in np.ndindex(2, 2):
        A = Diagonal(batch.A.eigenvalues[index], True)
        alone = StateSpace(A, batch.B[index], batch.C[index], batch.D[index], 1.0)
        assert found[0][index] == pytest.approx(hinf_norm(alone))
        assert found[1][index] == pytest.approx(h2_norm(alone))


@pytest.mark.parametrize(("dt", "dico"), [(0.0, "C"), (1.0, "D")])
def test_norms_agree_with_slycot(make_system, dt, dico):
    slycot = pytest.importorskip("slycot")
    A, B, C, D = (getattr(make_system("dense", dt=dt, n=12), name) for name in "ABCD")

    peak, _ = slycot.ab13dd(dico, "I", "N", "D", 12, 2, 3, A, np.eye(12), B, C, D, 1e-10)
    energy = slycot.ab13bd(dico, "H", 12, 2, 3, A.copy(), B.copy(), C.copy(), 0 * D)

    assert hinf_norm(StateSpace(A, B, C, D, dt)) == pytest.approx(peak, rel=2e-8)
    assert h2_norm(StateSpace(A, B, C, dt=dt)) == pytest.approx(energy[0] if np.ndim(energy) else energy, rel=1e-8)


@pytest.mark.parametrize("kind", ["dense", "complex", "diagonal", "paired"])
def test_h2_is_the_energy_of_the_impulse_response(make_system, kind):
    system = make_system(kind, dt=1.0)

    response = system.impulse_response(3000)  # 0.99^3000 = 8e-14

    assert h2_norm(system) == pytest.approx(np.linalg.norm(response), rel=1e-9)


def test_h2_of_a_continuous_lag():
    assert h2_norm(StateSpace(-2 * np.eye(1), np.eye(1), 3 * np.eye(1))) == pytest.approx(1.5)


def test_h2_is_infinite_for_a_continuous_feedthrough(make_system):
    assert h2_norm(make_system("dense")) == np.inf


def test_a_peak_is_of_one_system(make_system):
    with pytest.raises(ShapeError, match="one system; got a batch"):
        peak_gain(make_system(batch=(2,)))


@pytest.mark.parametrize("rtol", [0.0, -1.0, float("nan")])
def test_a_width_below_rounding_is_refused(make_system, rtol):
    with pytest.raises(BalanceError, match="rtol"):
        hinf_bracket(make_system(), rtol=rtol)


@pytest.mark.parametrize(
    "kinds", [("dense", "paired"), ("paired", "paired"), ("diagonal", "diagonal"), ("complex", "dense")]
)
@pytest.mark.parametrize("dt", [0.0, 1.0])
def test_response_of_a_difference_is_the_difference_of_responses(make_system, points, kinds, dt):
    one, two = (make_system(kind, dt=dt, n=n, seed=n) for kind, n in zip(kinds, (3, 5), strict=True))

    both = difference(one, two)

    s = points(dt)
    assert np.allclose(both.transfer_function(s), one.transfer_function(s) - two.transfer_function(s), atol=1e-10)
    assert both.order == one.order + two.order
    assert isinstance(both.A, Diagonal) == (kinds[0] == kinds[1])


def test_systems_that_do_not_match_have_no_difference(make_system):
    with pytest.raises(ShapeError, match=r"got \(3, 2\) and \(3, 1\)"):
        difference(make_system(), make_system(m=1))
    with pytest.raises(TypeError, match=r"one dt; got 0.0 and 1.0 seconds"):
        difference(make_system(), make_system(dt=1.0))


def test_torch_systems_are_measured(make_system):
    torch = pytest.importorskip("torch")
    system = make_system("paired", dt=1.0)
    tensors = StateSpace(
        Diagonal(torch.asarray(system.A.eigenvalues), True),
        *(torch.asarray(np.array(X)) for X in (system.B, system.C, system.D)),
        1.0,
    )

    assert hinf_norm(tensors) == pytest.approx(hinf_norm(system))
    assert h2_norm(tensors) == pytest.approx(h2_norm(system))
    assert peak_gain(difference(tensors, tensors))[0] < 1e-12
