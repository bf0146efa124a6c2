"""Modal truncation: the poles that are kept are poles, the rest is bounded by what it was."""

import numpy as np
import pytest

from ssm_balance import BalanceError, OrderError, difference, hinf_norm, modal_truncation
from ssm_gramians import Diagonal, InstabilityError, NonFiniteError, ShapeError, StateSpace


def dominances(system):
    """By hand, from the eigenvectors of the dense system."""
    dense = system.to_dense()
    poles, V = np.linalg.eig(dense.A)
    sizes = np.linalg.norm(np.linalg.inv(V) @ dense.B, axis=1) * np.linalg.norm(dense.C @ V, axis=0)
    return poles, sizes / (1 - np.abs(poles) if system.is_discrete else -poles.real)


def test_the_most_dominant_poles_are_kept_and_the_bound_holds(system):
    poles, values = dominances(system)
    for order in (1, 4, system.order - 1):
        reduction = modal_truncation(system, order)

        found = reduction.certify()

        kept = reduction.system.poles()
        assert reduction.order in (order, order + 1)
        assert np.allclose(reduction.hsv, np.sort(values)[::-1], rtol=1e-8)
        assert all(np.abs(pole - kept).min() < 1e-8 for pole in poles[np.argsort(-values)[:order]])
        assert reduction.error_bound == pytest.approx(np.sort(values)[::-1][reduction.order :].sum(), abs=1e-9)
        assert found.holds
        assert found.is_stable


def test_a_real_system_stays_real_with_its_pairs_whole(make_system):
    for kind in ("dense", "paired"):
        for order in range(1, 8):
            reduction = modal_truncation(make_system(kind), order)

            poles = reduction.system.poles()

            assert np.isrealobj(reduction.system.A)
            assert np.allclose(np.sort_complex(poles), np.sort_complex(poles.conj()))
            assert np.allclose(reduction.left.T @ reduction.right, np.eye(reduction.order), atol=1e-10)


@pytest.mark.parametrize("dt", [0.0, 1.0])
def test_the_slowest_poles_are_kept(make_system, dt):
    system = make_system("dense", dt=dt)
    poles = system.poles()
    speed = -np.log(np.abs(poles)) if dt else -poles.real

    reduction = modal_truncation(system, 4, by="slowest")

    assert np.allclose(reduction.hsv, np.sort(1 / speed)[::-1])
    kept = reduction.system.poles()
    assert all(np.abs(pole - kept).min() < 1e-9 for pole in poles[np.argsort(speed)[:4]])
    assert reduction.certify().holds


@pytest.mark.parametrize("kind", ["diagonal", "paired"])
def test_a_diagonal_system_is_reduced_like_the_dense_one(make_system, kind, points):
    system = make_system(kind, dt=1.0)

    ours, dense = modal_truncation(system, 6), modal_truncation(system.to_dense(), 6)

    s = points(1.0, 50)
    assert np.allclose(ours.hsv, dense.hsv)
    assert np.allclose(ours.system.transfer_function(s), dense.system.transfer_function(s))


@pytest.mark.parametrize("paired", [False, True])
def test_a_large_diagonal_system_is_no_dense_one(paired):
    rng = np.random.default_rng(0)
    n = 50_000
    poles = -rng.uniform(0.1, 1, n) + 1j * rng.uniform(-5, 5, n)
    system = StateSpace(Diagonal(poles, paired), rng.standard_normal((n, 1)) + 0j, rng.standard_normal((1, n)) + 0j)

    reduction = modal_truncation(system, 6)

    assert reduction.system.A.shape == (6, 6)
    assert np.isrealobj(reduction.system.A) == paired


def test_an_error_is_reached(make_system):
    system = make_system("dense")
    allowed = 2.1 * modal_truncation(system, 8).hsv[5:].sum()

    reduction = modal_truncation(system, error=allowed)

    assert reduction.order < 8
    assert hinf_norm(difference(system, reduction.system)) <= allowed


def test_a_real_map_with_a_real_A_and_complex_B_keeps_pairs(make_system):
    system = make_system("dense")
    turned = StateSpace(system.A, system.B * np.exp(0.3j), system.C, system.D)

    assert modal_truncation(turned, 4).certify().holds


def test_a_batch_equals_a_loop(make_system, points):
    batch = make_system("diagonal", dt=1.0, batch=(3,))

    together = modal_truncation(batch, 4)

    s = points(1.0, 40)
    for k in range(3):
        alone = modal_truncation(StateSpace(Diagonal(batch.A.eigenvalues[k]), batch.B[k], batch.C[k], batch.D[k], 1), 4)
        assert np.allclose(together.system.transfer_function(s)[k], alone.system.transfer_function(s))


def test_a_cut_through_a_defective_eigenvalue_is_refused():
    A = np.array([[-1.0, 1.0, 0.0], [0.0, -1.0, 0.0], [0.0, 0.0, -5.0]])
    system = StateSpace(A, np.array([[0.3], [1.0], [1.0]]), np.array([[1.0, 0.2, 1.0]]))

    with pytest.raises(OrderError, match=r"coincide|magnified"):
        modal_truncation(system, 1)
    kept = modal_truncation(system, 2)
    assert np.allclose(kept.system.poles(), -1, atol=1e-6)
    assert kept.certify().holds


def test_a_descriptor_matrix_is_divided_out(make_system):
    plain = make_system("dense")
    E = np.eye(8) + 0.3 * np.random.default_rng(1).standard_normal((8, 8))
    system = StateSpace(E @ plain.A, E @ plain.B, plain.C, plain.D, 0.0, E)

    found = modal_truncation(system, 4)

    assert np.allclose(found.left.T @ E @ found.right, np.eye(found.order), atol=1e-10)
    assert np.allclose(found.left.T @ system.A @ found.right, found.system.A, atol=1e-9)
    assert found.certify().holds


@pytest.mark.parametrize(("by", "which"), [("slowest", "LR"), ("dominance", "NR")])
def test_the_map_is_that_of_pymor(make_system, by, which):
    pytest.importorskip("pymor")
    from pymor.models.iosys import LTIModel
    from pymor.reductors.mt import MTReductor

    rng = np.random.default_rng(2)
    T = np.eye(8) + 0.3 * rng.standard_normal((8, 8))
    A = T @ np.diag(-np.arange(1.0, 9)) @ np.linalg.inv(T)  # real poles: of others pyMOR mixes up the dominances
    system = StateSpace(A, rng.standard_normal((8, 1)), rng.standard_normal((1, 8)))

    ours = modal_truncation(system, 3, by=by).system

    model = LTIModel.from_matrices(system.A, system.B, system.C)
    theirs = MTReductor(model).reduce(3, decomposition="eig", which=which)
    s = 1j * np.logspace(-2, 1, 20)
    found = np.array([theirs.transfer_function.eval_tf(point) for point in s])
    assert np.allclose(ours.transfer_function(s), found, rtol=1e-9, atol=1e-9)


def test_bad_input_is_refused(make_system):
    system = make_system("dense")

    with pytest.raises(OrderError, match="from 1 to 8"):
        modal_truncation(system, 9)
    with pytest.raises(OrderError, match="exactly one"):
        modal_truncation(system)
    with pytest.raises(OrderError, match="fraction"):
        modal_truncation(system, energy=1.2)
    with pytest.raises(BalanceError, match="by is 'size'"):
        modal_truncation(system, 3, by="size")
    with pytest.raises(OrderError, match="time constants"):
        modal_truncation(system, error=0.1, by="slowest")
    with pytest.raises(InstabilityError, match="unstable"):
        modal_truncation(StateSpace(-system.A, system.B, system.C), 3)
    with pytest.raises(NonFiniteError, match="D holds"):
        modal_truncation(StateSpace(system.A, system.B, system.C, np.nan * system.D), 3)
    with pytest.raises(ShapeError, match="empty batch"):
        modal_truncation(make_system("dense", batch=(0,)), 3)
