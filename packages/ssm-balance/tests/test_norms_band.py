import numpy as np
import pytest
from scipy import sparse

from ssm_balance import BalanceError, balanced_truncation, difference, hinf_bracket, linf_bracket, peak_gain
from ssm_balance.norms._parabola import by_parabolas
from ssm_gramians import Diagonal, InstabilityError, ShapeError, StateSpace, UnsupportedError


def gains(system, frequencies):
    s = 1j * frequencies
    return np.linalg.norm(system.transfer_function(np.exp(s * system.dt) if system.dt else s), 2, axis=(-2, -1))


def heat(n=200):
    """A rod, heated at one end, with a mass matrix: sparse A and E."""
    A = sparse.diags_array([1.0, -2.0, 1.0], offsets=[-1, 0, 1], shape=(n, n)) * (n + 1) ** 2
    E = sparse.diags_array([1.0, 4.0, 1.0], offsets=[-1, 0, 1], shape=(n, n)) / 6
    B, C = np.zeros((n, 1)), np.zeros((2, n))
    B[0], C[0, n // 3], C[1, -1] = n + 1, 1, 5
    return StateSpace(sparse.csc_array(A), B, C, E=sparse.csc_array(E))


@pytest.mark.parametrize("band", [(0.0, 0.3), (0.3, 1.1), (2.0, 6.0)])
def test_no_gain_on_the_band_leaves_the_bracket(system, band):
    bracket = linf_bracket(system, band)

    grid = np.linspace(*band, 5001)
    found = gains(system, np.concatenate([-grid[::-1], grid])).max()
    assert found <= bracket.upper
    assert found >= bracket.lower * (1 - 1e-4)
    assert band[0] <= abs(bracket.frequency) <= band[1]
    assert gains(system, np.array([bracket.frequency]))[0] == pytest.approx(bracket.lower, rel=1e-9)


def test_the_whole_band_is_the_norm(system):
    everything = (0.0, np.pi / system.dt if system.dt else np.inf)

    found = linf_bracket(system, everything), linf_bracket(system)

    for bracket in found:
        assert bracket.lower == pytest.approx(hinf_bracket(system).lower, rel=2e-8)


def test_a_peak_between_grid_points_is_found():
    damping = 1e-7
    system = StateSpace(np.array([[0.0, 1.0], [-1.0, -2 * damping]]), np.array([[0.0], [1.0]]), np.array([[1.0, 0.0]]))

    beside, inside = linf_bracket(system, (0.0, 0.999)), linf_bracket(system, (0.999, 1.5))

    assert beside.lower == pytest.approx(1 / (1 - 0.999**2), rel=1e-6)
    assert beside.frequency == pytest.approx(0.999)
    assert inside.lower == pytest.approx(1 / (2 * damping), rel=1e-6)


def test_an_open_band_ends_at_the_feedthrough():
    bracket = linf_bracket(StateSpace(-np.eye(1), np.eye(1), -np.eye(1), 2 * np.eye(1)), (10.0, np.inf))

    assert bracket.lower == pytest.approx(2)
    assert bracket.frequency == np.inf


@pytest.mark.parametrize(("pole", "dt"), [(-0.3 + 1j, 0.0), (0.6 + 0.5j, 0.5)])
def test_an_unstable_pole_has_the_gains_of_its_mirror_image(pole, dt):
    mirrored, scale = (1 / pole.conjugate(), 1 / abs(pole)) if dt else (-pole.conjugate(), 1)
    stable = StateSpace(np.array([[pole]]), np.ones((1, 1)) + 0j, np.array([[1.0 + 0j, 2.0]]).T, dt=dt)
    unstable = StateSpace(np.array([[mirrored]]), scale * stable.B, stable.C, dt=dt)

    assert linf_bracket(unstable).lower == pytest.approx(hinf_bracket(stable).lower, rel=2e-8)


def test_a_pole_on_the_border_has_no_finite_gain():
    with pytest.raises(InstabilityError, match="on the stability border"):
        linf_bracket(StateSpace(np.array([[0.0, 1.0], [-1.0, 0.0]]), np.eye(2), np.eye(2)))
    with pytest.raises(InstabilityError, match="on the stability border"):
        linf_bracket(StateSpace(np.eye(1), np.eye(1), np.eye(1), dt=1.0))


@pytest.mark.parametrize("band", [(1.0, 1.0), (2.0, 1.0), (-1.0, 1.0), (0.0, 7.0), (float("nan"), 1.0)])
def test_no_empty_band_and_none_out_of_range(make_system, band):
    with pytest.raises(BalanceError, match=r"want 0 <= low < high <= 6.28"):
        linf_bracket(make_system(dt=0.5), band)


@pytest.mark.parametrize("bracket", [hinf_bracket, linf_bracket])
def test_a_certificate_needs_a_dense_matrix(bracket):
    with pytest.raises(UnsupportedError, match="use peak_gain"):
        bracket(heat())


def test_a_sparse_system_is_looked_at_without_its_poles():
    system = heat()

    gain, frequency = peak_gain(system)

    assert gain == pytest.approx(hinf_bracket(system.to_dense()).lower, rel=1e-3)
    assert gain == pytest.approx(gains(system, np.array([frequency]))[0], rel=1e-12)


@pytest.mark.parametrize("dt", [0.0, 1.0])
def test_a_sparse_system_less_its_reduction(dt):
    system = heat(60)
    if dt:
        A = sparse.eye_array(60) + system.A.matrix / (4.2 * 61**2)
        system = StateSpace(sparse.csc_array(A), system.B, system.C, dt=dt)
    reduction = balanced_truncation(system.to_dense(), 3)

    gain, _ = peak_gain(system, minus=reduction.system)

    error = hinf_bracket(difference(system.to_dense(), reduction.system))
    assert gain <= error.upper * (1 + 1e-6)
    assert gain >= 0.95 * error.lower


@pytest.mark.parametrize("dt", [0.0, 0.5])
def test_a_system_less_another_is_their_difference(make_system, dt):
    one, two = make_system("paired", dt=dt), make_system("dense", dt=dt, n=5, seed=3)

    gain, _ = peak_gain(one, minus=two)

    bracket = hinf_bracket(difference(one, two))
    assert bracket.lower * (1 - 1e-6) <= gain <= bracket.upper


@pytest.mark.parametrize("damping", [0.3, 0.05])
def test_a_resonance_between_the_frequencies_of_a_sparse_system_is_found(damping):
    A = np.array([[0.0, 1.0], [-1.0, -2 * damping]])
    system = StateSpace(sparse.csc_array(A), np.array([[0.0], [1.0]]), np.array([[1.0, 0.0]]))

    gain, frequency = peak_gain(system)

    assert gain == pytest.approx(1 / (2 * damping * np.sqrt(1 - damping**2)), rel=1e-6)
    assert frequency == pytest.approx(np.sqrt(1 - 2 * damping**2), rel=1e-3)


def test_a_narrow_resonance_is_found_where_the_reduction_has_a_pole():
    narrow = np.array([[0.0, 1.0], [-1.0, -2e-6]])
    full = StateSpace(sparse.csc_array(narrow), np.array([[0.0], [1.0]]), np.array([[1.0, 0.0]]))
    reduced = StateSpace(narrow, 0.9 * full.B, full.C)

    assert peak_gain(full, minus=reduced)[0] == pytest.approx(0.1 / 2e-6, rel=1e-3)


def test_the_peaks_of_a_gain_that_falls_are_at_its_ends():
    def gains(frequencies):
        return 1 / np.hypot(1, frequencies)

    low, middle, high = np.array([0.0, 1.0]), np.array([0.0, 1.0]), np.array([1.0, np.inf])

    assert np.allclose(by_parabolas(gains, low, middle, high), [0.0, 1.0])


def test_a_sparse_mass_matrix_is_divided_out(make_system):
    system = make_system(n=6)
    E = np.diag(np.arange(1.0, 7.0))
    held = StateSpace(E @ system.A, E @ system.B, system.C, system.D, E=sparse.csc_array(E))

    assert peak_gain(held)[0] == pytest.approx(peak_gain(system)[0], rel=1e-9)
    assert linf_bracket(held, (0.1, 1.0)).lower == pytest.approx(linf_bracket(system, (0.1, 1.0)).lower, rel=1e-7)


def test_many_poles_are_thinned_out():
    n = 5000
    rng = np.random.default_rng(0)
    poles = -np.geomspace(1e-3, 1e3, n) + 1j * rng.uniform(-5, 5, n)
    poles[7] = -1e-5 + 4.321j
    system = StateSpace(Diagonal(poles), rng.normal(size=(n, 1)) + 0j, rng.normal(size=(1, n)) + 0j)

    gain, frequency = peak_gain(system)

    assert frequency == pytest.approx(4.321, abs=1e-4)
    assert gain >= abs(system.C[0, 7] * system.B[7, 0]) / 1e-5 * 0.9


def test_maps_that_differ_in_shape_have_no_difference(make_system):
    with pytest.raises(ShapeError, match=r"got \(3, 2, 0.0\) and \(3, 1, 0.0\)"):
        peak_gain(make_system(), minus=make_system(m=1))
