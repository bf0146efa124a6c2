import numpy as np
import pytest

from ssm_gramians import Diagonal, DtypeError, ShapeError, StateSpace, UnsupportedError
from ssm_gramians.testing import as_numpy, assert_close


def paired(asarray, rng, batch=(), n=3, m=2, p=2):
    slots = 0.9 * np.exp(1j * rng.uniform(0, np.pi, (*batch, n)))
    B, C = (rng.standard_normal((*batch, *s)) + 1j * rng.standard_normal((*batch, *s)) for s in ((n, m), (p, n)))
    D = rng.standard_normal((*batch, p, m))
    return StateSpace(Diagonal(asarray(slots), paired=True), asarray(B), asarray(C), asarray(D), dt=0.5)


@pytest.mark.parametrize("batch", [(), (2,), (0,)])
def test_a_paired_system_is_the_real_dense_one(asarray, rng, batch):
    system = paired(asarray, rng, batch)
    dense = system.to_dense()
    u, x = asarray(rng.standard_normal((*batch, 7, 2))), asarray(rng.standard_normal((*batch, 6)))
    z = asarray(np.exp(1j * np.linspace(0, 3, 4)))

    assert system.order == dense.order == 6
    assert as_numpy(dense.A).dtype == np.float64
    assert_close(system.simulate(u, x), dense.simulate(u, x), rtol=1e-13)
    assert_close(system.impulse_response(5), dense.impulse_response(5), rtol=1e-13)
    assert_close(system.transfer_function(z), dense.transfer_function(z), rtol=1e-12)


def test_the_map_of_a_paired_system_is_twice_the_real_part(rng):
    system = paired(np.asarray, rng)
    x, y = np.zeros(3, complex), []
    u = rng.standard_normal((6, 2))
    for k in range(6):
        y.append(2 * (system.C @ x).real + system.D @ u[k])
        x = system.A.eigenvalues * x + system.B @ u[k]
    assert_close(system.simulate(u), np.stack(y), rtol=1e-14)


def test_the_transfer_function_is_the_transform_of_the_impulse_response(rng):
    system = paired(np.asarray, rng)
    z = 2 * np.exp(1j * np.linspace(0, 3, 4))
    h = system.impulse_response(60)
    assert_close(
        np.einsum("kpm,kz->zpm", h, z[None, :] ** -np.arange(60.0)[:, None]), system.transfer_function(z), rtol=1e-12
    )


@pytest.mark.parametrize("A", [np.diag([0.5, 0.25]), Diagonal(np.array([0.5, 0.25]))], ids=["dense", "diagonal"])
def test_simulate_is_convolution_with_the_impulse_response(rng, A):
    system = StateSpace(A, rng.standard_normal((2, 2)), rng.standard_normal((3, 2)), rng.standard_normal((3, 2)), 1.0)
    u, h = rng.standard_normal((9, 2)), system.impulse_response(9)
    y = np.stack([sum(h[j] @ u[k - j] for j in range(k + 1)) for k in range(9)])
    assert_close(system.simulate(u), y, rtol=1e-13)


def test_a_batch_of_inputs_meets_one_system(rng):
    system = paired(np.asarray, rng)
    u = rng.standard_normal((4, 5, 2))
    assert_close(system.simulate(u), np.stack([system.simulate(v) for v in u]), rtol=1e-14)


def test_poles_come_with_their_conjugates(rng):
    system = paired(np.asarray, rng)
    assert_close(np.sort_complex(system.poles()), np.sort_complex(np.linalg.eigvals(system.to_dense().A)), rtol=1e-12)


def test_the_dual_has_the_transposed_map(rng):
    for system in (paired(np.asarray, rng), paired(np.asarray, rng).to_dense()):
        z = np.exp(1j * np.linspace(0.1, 3, 4))
        transposed = system.transfer_function(z.conj()).conj().swapaxes(-1, -2)
        assert_close(system.dual().transfer_function(z), transposed, rtol=1e-12)


def test_single_precision_stays(rng):
    system = StateSpace(
        np.eye(2, dtype=np.float32) / 2, np.ones((2, 1), np.float32), np.ones((1, 2), np.float32), dt=1.0
    )
    assert system.D.dtype == np.float32
    assert system.simulate(np.ones((3, 1), np.float32)).dtype == np.float32
    assert system.transfer_function(np.ones(1, np.float32)).dtype == np.complex64


def test_continuous_time_has_no_steps():
    system = StateSpace(-np.eye(2), np.ones((2, 1)), np.ones((1, 2)))
    assert not system.is_discrete
    assert_close(system.transfer_function(np.array([0j])), np.full((1, 1, 1), 2.0 + 0j), rtol=1e-15)
    for call in (lambda: system.simulate(np.ones((3, 1))), lambda: system.impulse_response(3)):
        with pytest.raises(UnsupportedError, match="discretise"):
            call()


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"A": np.ones((2, 3))}, ShapeError, r"want A \(\.\.\., n, n\)"),
        ({"B": np.ones((3, 1))}, ShapeError, "2 rows"),
        ({"C": np.ones((1, 3))}, ShapeError, "2 columns"),
        ({"A": Diagonal(np.ones(3))}, ShapeError, "3 rows"),
        ({"B": np.ones((4, 2, 1))}, ShapeError, "batch"),
        ({"D": np.ones((2, 2))}, ShapeError, "D has shape"),
        ({"B": np.ones((2, 1), np.float32)}, DtypeError, "precision"),
        ({"B": np.ones((2, 1), int)}, DtypeError, "B has dtype int"),
        ({"A": Diagonal(np.ones(2), paired=True), "D": np.ones((1, 1), complex)}, DtypeError, "real D"),
        ({"dt": -1.0}, ValueError, "dt is -1"),
        ({"dt": float("nan")}, ValueError, "dt is nan"),
        ({"dt": float("inf")}, ValueError, "dt is inf"),
    ],
)
def test_bad_systems_are_named(change, error, message):
    with pytest.raises(error, match=message):
        StateSpace(**{"A": np.eye(2), "B": np.ones((2, 1)), "C": np.ones((1, 2)), **change})


def test_libraries_do_not_mix():
    import torch

    with pytest.raises(DtypeError, match="one library"):
        StateSpace(np.eye(2), torch.ones((2, 1), dtype=torch.float64), np.ones((1, 2)))


def test_wrong_signals_are_named(rng):
    system = paired(np.asarray, rng)
    with pytest.raises(ShapeError, match=r"want \(\.\.\., length, 2\)"):
        system.simulate(np.ones((5, 3)))
    with pytest.raises(ShapeError, match=r"want \(\.\.\., 6\)"):
        system.simulate(np.ones((5, 2)), np.ones(3))


def test_eigenvalues_need_an_axis():
    with pytest.raises(ShapeError, match="n >= 1"):
        Diagonal(np.float64(0.5) * np.ones(()))


def test_nothing_asked_is_nothing_answered_or_an_error(rng):
    system = paired(np.asarray, rng)
    assert system.transfer_function(np.zeros(0, complex)).shape == (0, 2, 2)
    with pytest.raises(ShapeError, match="length >= 1"):
        system.simulate(np.zeros((0, 2)))
    with pytest.raises(ValueError, match="at least 1"):
        system.impulse_response(0)
