"""Diagonal parameters that float32 can hold: clusters of poles moved apart, or the cut refused with the reason."""

import numpy as np
import pytest

from ssm_balance import BalanceError, PrecisionError, balanced_truncation, diagonalize
from ssm_balance._defective import clusters, separated
from ssm_gramians import InstabilityError, StateSpace


def block(pole, size):
    """A Jordan block, real: of order 2 size for a complex pole."""
    pole = complex(pole)
    one = np.array([[pole.real, -pole.imag], [pole.imag, pole.real]]) if pole.imag else np.array([[pole.real]])
    return np.kron(np.eye(size), one) + np.kron(np.diag(np.ones(size - 1), 1), np.eye(len(one)))


def around(*blocks, channels=1, dt=1.0, seed=0):
    """A system with these blocks in coordinates of no merit."""
    rng = np.random.default_rng(seed)
    n = sum(len(part) for part in blocks)
    A, start = np.zeros((n, n)), 0
    for part in blocks:
        A[start : start + len(part), start : start + len(part)] = part
        start += len(part)
    T = np.eye(n) + 0.3 * rng.standard_normal((n, n))
    A = T @ A @ np.linalg.inv(T)
    return StateSpace(A, rng.standard_normal((n, channels)), rng.standard_normal((channels, n)), dt=dt)


def stored(system):
    """The map after every parameter has been to float32: λ through its logarithm in discrete time."""
    B, C = (np.asarray(M).astype(np.complex64).astype(complex) for M in (system.B, system.C))
    poles = system.A.eigenvalues
    if system.is_discrete:
        modulus = np.exp(np.log(np.abs(poles)).astype(np.float32).astype(float))
        poles = np.where(
            poles.imag == 0,
            modulus * np.sign(poles.real),
            modulus * np.exp(1j * np.angle(poles).astype(np.float32).astype(float)),
        )
    else:
        poles = poles.astype(np.complex64).astype(complex)

    def transfer(s):
        G = (C / (s[:, None, None] - poles)) @ B + 0j
        return G + (C.conj() / (s[:, None, None] - poles.conj())) @ B.conj() if system.A.paired else G

    return transfer


def float32_error(system, found):
    """Largest singular value of the difference on a grid, relative to that of the system."""
    dt = system.dt
    angles = np.linspace(0, np.pi, 4001)
    s = np.exp(1j * angles) if dt else 1j * np.tan(0.4999 * angles)
    G = system.transfer_function(s)
    gap = stored(found.system)(s) + found.system.D - G
    return np.linalg.norm(gap, 2, axis=(1, 2)).max() / np.linalg.norm(G, 2, axis=(1, 2)).max()


HARD = {
    "real": (block(0.8, 2), block(0.3, 1)),
    "negative": (block(-0.8, 2), block(0.9 * np.exp(2j), 1)),
    "complex": (block(0.8 * np.exp(1j), 2), block(0.3, 1)),
    "both": (block(0.7, 2), block(0.6 * np.exp(2j), 2)),
    "two real": (block(0.7, 2), block(-0.5, 2), block(0.1, 1)),
    "near": (np.array([[0.5, 1.0], [0.0, 0.5 + 1e-7]]), block(0.9j, 1)),
    "three": (block(0.5, 3), block(0.9j, 1)),
}


@pytest.mark.parametrize("name", HARD)
def test_a_defective_map_survives_float32(name):
    system = around(*HARD[name])

    found = diagonalize(system, tolerance=1e-5)

    assert found.error <= 1e-5
    assert float32_error(system, found) <= 1.2e-5
    assert float32_error(system, diagonalize(system)) > 1e-5


def test_a_pair_next_to_a_real_double_pole_is_harmless():
    system = around(np.array([[0.5, 1.0], [-1e-11, 0.5]]), block(0.9j, 1))

    found = diagonalize(system, tolerance=1e-5)

    assert found.condition > 1e5
    assert float32_error(system, found) <= 1.2e-5
    assert np.array_equal(found.system.B, diagonalize(system).system.B)


@pytest.mark.parametrize("pole", [-1.0, -0.3 + 2j])
def test_continuous_time_too(pole):
    system = around(block(pole, 2), block(-3.0, 1), dt=0.0)

    found = diagonalize(system, tolerance=1e-5)

    assert float32_error(system, found) <= 1.2e-5


@pytest.mark.parametrize("pole", [0.8, -0.8])
@pytest.mark.parametrize("channels", [2, 3])
def test_a_real_double_pole_with_many_channels_becomes_one_slot(pole, channels):
    system = around(block(pole, 2), block(0.3, 1), block(0.5j, 1), channels=channels)

    found = diagonalize(system, tolerance=1e-6)

    assert found.system.A.eigenvalues.shape == (3,)
    assert float32_error(system, found) <= 1.2e-6


def test_a_map_that_needs_nothing_is_left_alone(make_system):
    system = make_system("dense", dt=1.0)

    found, plain = diagonalize(system, tolerance=1e-4), diagonalize(system)

    assert found.error <= 1e-4
    assert plain.error is None
    for name in ("left", "right"):
        assert np.array_equal(getattr(found, name), getattr(plain, name))
    assert np.array_equal(found.system.B, plain.system.B)
    assert found.condition == plain.condition


@pytest.mark.parametrize("kind", ["dense", "complex"])
def test_the_error_is_that_of_float32(make_system, kind):
    system = make_system(kind, dt=1.0)

    found = diagonalize(system, tolerance=1e-3)

    grid = float32_error(system, found)
    assert grid <= found.error * (1 + 1e-6)
    assert kind == "complex" or grid >= 0.5 * found.error


def test_a_complex_defective_system_stays_plain():
    A = np.array([[0.5j, 1.0, 0.2], [0.0, 0.5j, 0.1], [0.0, 0.0, -0.4]])
    system = StateSpace(A, np.ones((3, 1)) + 0j, np.array([[1.0, 0.5j, 1.0]]), dt=1.0)

    found = diagonalize(system, tolerance=1e-5)

    assert not found.system.A.paired
    assert float32_error(system, found) <= 1.2e-5


def test_bases_are_those_of_a_system_near_by():
    system = around(*HARD["real"])

    found = diagonalize(system, tolerance=1e-5)

    identity = 2 * (found.right @ found.left.conj().T).real
    assert np.allclose(identity, np.eye(3), atol=1e-6)
    A = 2 * ((found.right * found.system.A.eigenvalues) @ found.left.conj().T).real
    assert np.allclose(A, system.A, atol=1e-3)
    assert np.allclose(found.left.conj().T @ system.B, found.system.B, rtol=1e-2, atol=1e-2)


def test_a_fit_of_pole_zero_and_of_dead_modes_is_finite():
    system = StateSpace(np.array([[0.0, 1.0], [0.0, 0.0]]), np.array([[0.0], [1.0]]), np.array([[1.0, 0.0]]), dt=1.0)

    found = diagonalize(system, tolerance=1e-5)

    assert found.error <= 1e-5


def test_a_zero_map_has_no_error():
    system = StateSpace(np.diag([0.5, 0.6]), np.zeros((2, 1)), np.zeros((1, 2)), dt=1.0)

    assert diagonalize(system, tolerance=1e-5).error == 0


def test_a_batch_equals_a_loop():
    one, two = around(*HARD["real"]), around(block(0.5, 1), block(0.6j, 1))
    batch = StateSpace(*(np.stack([getattr(one, name), getattr(two, name)]) for name in "ABCD"), 1.0)

    found = diagonalize(batch, tolerance=1e-5)

    assert found.error.shape == (2,)
    assert found.error[0] == diagonalize(one, tolerance=1e-5).error
    s = np.exp(1j * np.linspace(0, np.pi, 50))
    assert np.allclose(found.system.transfer_function(s), batch.transfer_function(s), atol=1e-4)


def test_a_reduced_layer_passes(make_system):
    reduced = balanced_truncation(make_system("paired", dt=1.0), 7).system

    assert diagonalize(reduced, tolerance=1e-5).error <= 1e-5


def test_torch_in_torch_out():
    torch = pytest.importorskip("torch")
    system = around(*HARD["real"])
    tensors = StateSpace(*(torch.asarray(getattr(system, name).copy()) for name in "ABCD"), 1.0)

    found = diagonalize(tensors, tolerance=1e-5)

    assert isinstance(found.system.B, torch.Tensor)
    assert isinstance(found.error, float)


def test_a_cluster_too_deep_is_refused_with_its_size():
    system = around(block(0.8 * np.exp(1j), 4), channels=2)

    with pytest.raises(PrecisionError, match=r"poles near .* share their eigenvectors") as refused:
        diagonalize(system, tolerance=1e-6)

    assert refused.value.error > 1e-6


def test_a_pole_too_near_the_border_is_refused_with_its_distance():
    system = around(block((1 - 1e-7) * np.exp(1.1j), 1), block(0.3, 1))

    with pytest.raises(PrecisionError, match=r"1\.0e-07 from the border"):
        diagonalize(system, tolerance=1e-5)


@pytest.mark.parametrize("tolerance", [0.0, -1e-5, float("nan")])
def test_a_tolerance_that_means_nothing_is_refused(tolerance):
    with pytest.raises(BalanceError, match="tolerance"):
        diagonalize(around(block(0.5, 1)), tolerance=tolerance)


def test_an_unstable_system_has_no_error_to_measure():
    with pytest.raises(InstabilityError, match="unstable"):
        diagonalize(around(block(1.5, 1)), tolerance=1e-5)


@pytest.mark.parametrize("size", [2, 3, 4, 5])
@pytest.mark.parametrize("pole", [0.8, -0.7, 0.0, 0.6 * np.exp(1j)])
def test_separated_poles_are_the_corners_of_a_polygon(size, pole):
    A, spacing = around(block(pole, size)).A, 0.1
    distance = 1 - abs(pole)

    moved = separated(A, spacing, discrete=True)

    offsets = np.linalg.eigvals(moved) - pole
    offsets = offsets[np.abs(offsets) < 0.5 * abs(np.imag(pole)) + (np.imag(pole) == 0)]
    radius = distance * (1e-4 if size == 2 and not np.imag(pole) else spacing)
    assert np.isrealobj(moved)
    assert offsets.size == size
    assert np.allclose(np.abs(offsets), radius, rtol=0.1)
    assert abs(np.prod(offsets - offsets.mean()) ** (1 / size)) == pytest.approx(radius, rel=0.1)


def test_poles_by_themselves_are_no_cluster():
    poles = np.array([0.1, 0.5, 0.5001, 0.9, 0.50005])

    assert [sorted(group) for group in clusters(poles, np.full(5, 1e-3))] == [[1, 2, 4]]
