"""One input and one output: the product of the factors is symmetric, and only the vectors that stay are computed."""

import numpy as np
import pytest

from ssm_balance import BalanceError, balance, balanced_truncation, diagonalize
from ssm_balance._symmetric import symmetric_triplets
from ssm_balance._twisted import tridiagonal_vectors
from ssm_gramians import Diagonal, StateSpace, gramian_factors


def symmetric(values, seed=0):
    """Return symmetric matrices with these eigenvalues, a row for each."""
    Q = np.linalg.qr(np.random.default_rng(seed).standard_normal((*values.shape, values.shape[-1])))[0]
    M = Q * values[..., None, :] @ Q.mT
    return (M + M.mT) / 2


def paired(batch=(), n=12, seed=0, dt=1.0):
    rng = np.random.default_rng(seed)
    values = (0.9 + 0.09 * rng.random((*batch, n))) * np.exp(1j * rng.uniform(0, np.pi, (*batch, n)))
    B, C = rng.standard_normal((2, *batch, n)) + 1j * rng.standard_normal((2, *batch, n))
    return StateSpace(Diagonal(values if dt else np.log(values), True), B[..., None], C[..., None, :], dt=dt)


SPECTRA = {
    "graded": np.logspace(0, -18, 40) * np.tile([1, -1], 20),
    "twins": np.repeat(np.logspace(0, -3, 20), 2) * np.tile([1, -1], 20),
    "equal": np.repeat([3.0, -2.0, 1.0, 1e-9], 10),
    "close": 1 + 1e-12 * np.arange(40),
    "one": np.array([-4.0]),
    "low rank": np.append(np.ones(5), np.zeros(35)),
}


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("name", SPECTRA)
def test_triplets_are_singular_ones(name, threads):
    M = symmetric(np.tile(SPECTRA[name], (3, 1)))
    order, top = min(M.shape[-1], 5), np.abs(SPECTRA[name]).max()

    sigma, triplets = symmetric_triplets(M.copy(), threads)
    U, kept, V = triplets(order)

    assert np.allclose(sigma, np.linalg.svdvals(M), rtol=0, atol=40e-16 * top)
    assert np.allclose(kept, sigma[:, :order], rtol=0, atol=40e-16 * top)
    assert np.allclose(M @ V, U * kept[:, None, :], rtol=0, atol=1e-14 * top)
    for basis in (U, V):
        assert np.allclose(basis.mT @ basis, np.eye(order), rtol=0, atol=1e-14)


def test_a_matrix_that_is_not_symmetric_is_left_to_others():
    M = symmetric(np.tile(np.arange(1.0, 9.0), (2, 1)))
    M[1, 5, 6] += 1e-10

    assert symmetric_triplets(M, 1) is None
    assert symmetric_triplets(M[..., :5], 1) is None
    assert symmetric_triplets(M + 0j, 1) is None


def test_vectors_that_are_wrong_are_noticed():
    diagonal, beside = np.ones((2, 6)), np.full((2, 6), 0.3)
    values = np.linalg.eigvalsh(np.diag(diagonal[0]) + np.diag(beside[0, :5], 1) + np.diag(beside[0, :5], -1))
    values = np.stack([values[-2:], values[-2:] + 1e-9])

    good = tridiagonal_vectors(diagonal, beside, values, np.empty((2, 2, 6)))

    assert good.tolist() == [True, False]


@pytest.mark.parametrize("dt", [0.0, 1.0])
def test_factors_give_a_symmetric_product(dt):
    Z_P, Z_Q = gramian_factors(paired((2, 3), dt=dt))
    M = Z_Q.mT @ Z_P

    assert np.allclose(M, M.mT, rtol=0, atol=1e-14 * np.abs(M).max())


@pytest.mark.parametrize("order", [3, 9, 24])
@pytest.mark.parametrize("batch", [(5,), (2, 3)])
def test_a_batch_equals_a_loop(batch, order):
    system, points = paired(batch), np.exp(1j * np.linspace(0, 3, 20))

    reduction = balanced_truncation(system, order)
    G = diagonalize(reduction.system).system.transfer_function(points)

    for index in np.ndindex(batch):
        A, B, C = system.A.eigenvalues[index], system.B[index], system.C[index]
        alone = balanced_truncation(StateSpace(Diagonal(A, True), B, C, dt=1.0), order)
        assert np.allclose(alone.hsv, reduction.hsv[index], rtol=0, atol=1e-14 * alone.hsv[0])
        alone = alone.system.transfer_function(points)
        assert np.allclose(alone, G[index], rtol=0, atol=1e-10 * np.abs(alone).max())


def test_threads_change_nothing():
    Z_P, Z_Q = gramian_factors(paired((40,)))

    one, two = (balance(Z_P, Z_Q, 5, threads=threads) for threads in (1, 2))

    for name in ("left", "right", "hsv"):
        assert np.allclose(getattr(one, name), getattr(two, name), rtol=1e-12, atol=1e-12)


def test_the_general_way_gives_the_same_map():
    system, points = paired((4,)), np.exp(1j * np.linspace(0, 3, 20))
    twice = StateSpace(system.A, np.tile(system.B, 2) * [1, 0.5], system.C, dt=1.0)  # two inputs: no symmetry

    one, two = (balanced_truncation(StateSpace(s.A, s.B, s.C, dt=1.0), 6) for s in (system, twice))

    G, H = one.system.transfer_function(points), two.system.transfer_function(points)
    assert np.allclose(two.hsv, np.sqrt(1.25) * one.hsv, rtol=0, atol=1e-12 * one.hsv.max())
    assert np.allclose(H, G * [1, 0.5], rtol=0, atol=1e-9 * np.abs(G).max())


def test_threads_leave_tensors_to_torch():
    torch = pytest.importorskip("torch")
    Z_P, Z_Q = np.random.default_rng(0).standard_normal((2, 3, 6, 4))

    found = balance(torch.tensor(Z_P), torch.tensor(Z_Q), 2, threads=2)

    assert np.allclose(found.hsv, balance(Z_P, Z_Q, 2).hsv, rtol=1e-12)
    assert isinstance(found.left, torch.Tensor)


def test_no_thread_is_refused():
    Z_P, Z_Q = np.random.default_rng(0).standard_normal((2, 3, 6, 4))

    with pytest.raises(BalanceError, match="want at least 1"):
        balance(Z_P, Z_Q, 2, threads=0)
