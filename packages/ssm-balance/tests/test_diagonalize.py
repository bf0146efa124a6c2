import numpy as np
import pytest

from ssm_balance import balanced_truncation, diagonalize
from ssm_gramians import Diagonal, NonFiniteError, StateSpace


def with_poles(A, seed=0):
    rng = np.random.default_rng(seed)
    n = A.shape[0]
    T = np.eye(n) + 0.3 * rng.standard_normal((n, n))
    return StateSpace(
        T @ A @ np.linalg.inv(T), T @ rng.standard_normal((n, 2)), rng.standard_normal((3, n)), np.ones((3, 2)), 1.0
    )


def rotation(radius, angle):
    return radius * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])


def mixed():
    """One pair, one positive and one negative real pole, and one at zero: order 5, 4 slots."""
    A = np.zeros((5, 5))
    A[:2, :2] = rotation(0.9, 1.0)
    A[2, 2], A[3, 3] = 0.7, -0.8
    return with_poles(A)


@pytest.mark.parametrize("n", [1, 2, 5, 8, 13])
@pytest.mark.parametrize("dt", [0.0, 1.0])
def test_the_map_stays_the_same(make_system, points, n, dt):
    system = make_system("dense", dt=dt, n=n)

    found = diagonalize(system)

    s = points(dt)
    scale = np.abs(system.transfer_function(s)).max()
    assert found.system.A.paired
    assert np.abs(found.system.transfer_function(s) - system.transfer_function(s)).max() <= 1e-10 * scale


def test_a_pair_and_a_real_pole_take_one_slot_each():
    found = diagonalize(mixed())

    poles = found.system.A.eigenvalues
    assert poles.shape == (4,)
    assert np.allclose(poles, [-0.8, 0, 0.7, 0.9 * np.exp(1j)], atol=1e-12)


def test_a_real_pole_is_real_throughout():
    found = diagonalize(mixed())

    real = found.system.A.eigenvalues.imag == 0
    assert real.sum() == 3
    assert np.all(found.system.B[real].imag == 0)
    assert np.all(found.system.C[:, real].imag == 0)
    assert np.all(found.left[:, real].imag == 0)


def test_left_and_right_are_biorthogonal_in_real_coordinates():
    found = diagonalize(mixed())

    assert np.allclose(2 * (found.right @ found.left.conj().T).real, np.eye(5), atol=1e-12)


def test_bases_carry_the_state_there_and_back():
    system, xi = mixed(), np.arange(5.0)
    found = diagonalize(system)

    z = found.left.conj().T @ xi

    assert np.allclose(2 * (found.right @ z).real, xi)
    assert np.allclose(found.left.conj().T @ (system.A @ xi), found.system.A.eigenvalues * z)


def test_rows_of_B_are_as_long_as_columns_of_C():
    found = diagonalize(mixed()).system

    assert np.allclose(np.linalg.norm(found.B, axis=1), np.linalg.norm(found.C, axis=0), rtol=1e-12)


def test_a_dead_mode_is_left_as_it_is():
    system = StateSpace(np.diag([0.5, 0.6]), np.array([[1.0], [0.0]]), np.ones((1, 2)), dt=1.0)

    found = diagonalize(system).system

    assert np.all(np.isfinite(found.B))
    assert np.all(found.B[1] == 0)


def test_slots_are_sorted(make_system):
    poles = diagonalize(make_system("dense", n=9)).system.A.eigenvalues

    assert np.array_equal(poles, poles[np.lexsort((poles.real, poles.imag))])
    assert np.all(poles.imag >= 0)


def test_a_complex_system_becomes_a_plain_diagonal(make_system, points):
    system = make_system("complex", dt=1.0)

    found = diagonalize(system)

    s = points(1.0)
    assert not found.system.A.paired
    assert np.allclose(found.right @ found.left.conj().T, np.eye(8), atol=1e-11)
    assert np.allclose(found.system.transfer_function(s), system.transfer_function(s), atol=1e-9)


def test_condition_is_that_of_the_unit_eigenvectors(make_system):
    system = make_system("dense", n=7)

    _, vectors = np.linalg.eig(system.A)

    assert diagonalize(system).condition == pytest.approx(np.linalg.cond(vectors), rel=1e-10)


def test_a_normal_matrix_has_condition_one():
    system = StateSpace(rotation(0.9, 0.3), np.ones((2, 1)), np.ones((1, 2)), dt=1.0)

    assert diagonalize(system).condition == pytest.approx(1)


def test_repeated_poles_with_all_their_vectors_are_harmless(points):
    A = np.diag([0.5, 0.5, 0.5, -0.2])
    system = with_poles(A)

    found = diagonalize(system)

    s = points(1.0)
    assert found.condition < 1e3
    assert np.allclose(found.system.transfer_function(s), system.transfer_function(s), atol=1e-9)


@pytest.mark.parametrize("split", [0.0, 1e-300, 1e-14, 1e-8])
def test_a_defective_pole_is_told_by_the_condition(split):
    A = np.array([[0.5, 1.0], [0.0, 0.5 + split]])

    found = diagonalize(StateSpace(A, np.ones((2, 1)), np.ones((1, 2)), dt=1.0))

    assert found.condition >= 1e7
    for array in (found.left, found.right, found.system.B, found.system.C, found.system.A.eigenvalues):
        assert np.all(np.isfinite(array))


@pytest.mark.parametrize("A", [np.zeros((2, 2)), np.array([[0.0, 1.0], [0.0, 0.0]])])
def test_poles_at_zero_give_finite_numbers(A):
    found = diagonalize(StateSpace(A, np.ones((2, 1)), np.ones((1, 2)), dt=1.0))

    assert np.all(np.isfinite(found.left))
    assert np.isfinite(found.system.B).all()


def test_a_batch_equals_a_loop_and_short_members_are_filled(points):
    one, two = mixed(), with_poles(np.diag([0.1, 0.2, 0.3, -0.4, 0.5]))
    batch = StateSpace(*(np.stack([getattr(one, name), getattr(two, name)]) for name in "ABCD"), 1.0)

    found = diagonalize(batch)

    s = points(1.0, 50)
    assert found.system.A.eigenvalues.shape == (2, 5)
    assert np.allclose(found.system.transfer_function(s), batch.transfer_function(s), atol=1e-10)
    assert found.condition[0] == diagonalize(one).condition
    assert np.all(found.system.B[0, 4] == 0)
    assert np.all(np.abs(found.system.poles()) < 1)


def test_a_batch_of_one_stays_a_batch(make_system):
    found = diagonalize(make_system("dense", batch=(1,)))

    assert found.system.batch_shape == (1,)
    assert found.condition.shape == (1,)


def test_a_layer_can_be_cut_and_written_back(make_system, points):
    layer = make_system("paired", dt=1.0)

    reduced = balanced_truncation(layer, 7).system

    back, s = diagonalize(reduced), points(1.0)
    assert np.allclose(back.system.transfer_function(s), reduced.transfer_function(s), atol=1e-9)


def test_a_diagonal_system_is_taken_as_the_dense_one(make_system, points):
    system, s = make_system("paired", dt=1.0), points(1.0)

    found = diagonalize(system)

    assert found.left.shape == (16, 8)
    assert np.allclose(found.system.transfer_function(s), system.transfer_function(s), atol=1e-10)


def test_torch_in_torch_out():
    torch = pytest.importorskip("torch")
    system = mixed()
    tensors = StateSpace(*(torch.asarray(np.array(getattr(system, name))) for name in "ABCD"), 1.0)

    found = diagonalize(tensors)

    assert isinstance(found.left, torch.Tensor)
    assert isinstance(found.system.A, Diagonal)
    assert np.allclose(found.system.B.numpy(), diagonalize(system).system.B)


def test_nan_is_refused():
    with pytest.raises(NonFiniteError, match="A holds NaN"):
        diagonalize(StateSpace(np.array([[np.nan]]), np.eye(1), np.eye(1)))
