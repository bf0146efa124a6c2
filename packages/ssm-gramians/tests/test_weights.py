import numpy as np
import pytest

from ssm_gramians import (
    Diagonal,
    DtypeError,
    NonFiniteError,
    ShapeError,
    StateSpace,
    controllability_gramian,
    observability_gramian,
    weighted,
)
from ssm_gramians.testing import assert_close


def semidefinite(rng, n, rank=None, batch=(), is_complex=False):
    Z = rng.standard_normal((*batch, n, n if rank is None else rank))
    Z = Z + 1j * rng.standard_normal(Z.shape) if is_complex else Z
    return Z @ np.swapaxes(Z, -1, -2).conj()


@pytest.mark.parametrize("paired", [True, False])
@pytest.mark.parametrize("rank", [1, 2])
def test_the_gramians_are_those_of_weighted_inputs_and_outputs(asarray, rng, paired, rank):
    slots = 0.9 * np.exp(1j * np.arange(1.0, 4.0))
    B, C = rng.standard_normal((3, 2)) + 1j * rng.standard_normal((3, 2)), rng.standard_normal((3, 3)) + 0j
    W, V = semidefinite(rng, 2, rank, is_complex=not paired), semidefinite(rng, 3, rank)
    dense = StateSpace(Diagonal(slots, paired), B, C, dt=1.0).to_dense()
    root_W, root_V = np.linalg.svd(W), np.linalg.svd(V)
    plain = StateSpace(
        dense.A,
        dense.B @ (root_W[0] * np.sqrt(root_W[1])),
        (root_V[0] * np.sqrt(root_V[1])).conj().T @ dense.C,
        dt=1.0,
    )

    system = StateSpace(Diagonal(asarray(slots), paired), asarray(B), asarray(C), dt=1.0)
    mine = weighted(system, input_weight=asarray(W), output_weight=asarray(V))

    assert_close(controllability_gramian(mine), controllability_gramian(plain), rtol=1e-12)
    assert_close(observability_gramian(mine), observability_gramian(plain), rtol=1e-12)


def test_without_weights_nothing_changes(rng):
    system = StateSpace(-np.eye(2), rng.standard_normal((2, 1)), rng.standard_normal((1, 2)))

    same = weighted(system)

    assert same.B is system.B
    assert same.C is system.C


def test_the_response_is_weighted_too(rng):
    system = StateSpace(-np.eye(2), rng.standard_normal((2, 2)), rng.standard_normal((1, 2)), np.ones((1, 2)))
    W, V, s = semidefinite(rng, 2), np.array([[4.0]]), np.array([1j])

    G, H = system.transfer_function(s)[0], weighted(system, input_weight=W, output_weight=V).transfer_function(s)[0]

    assert_close(H @ H.conj().T, 4 * G @ W @ G.conj().T, rtol=1e-13)


@pytest.mark.parametrize("own", [True, False])
def test_a_batch_takes_one_weight_or_one_each(rng, own):
    system = StateSpace(np.stack([-np.eye(2)] * 3), rng.standard_normal((3, 2, 2)), rng.standard_normal((3, 1, 2)))
    W = semidefinite(rng, 2, batch=(3,) if own else ())

    P = controllability_gramian(weighted(system, input_weight=W))

    assert_close(P, system.B @ W @ np.swapaxes(system.B, -1, -2) / 2, rtol=1e-13)


SYSTEM = StateSpace(-np.eye(2), np.ones((2, 2)), np.ones((1, 2)))


@pytest.mark.parametrize(
    ("weight", "error", "text"),
    [
        (np.eye(3), ShapeError, "input_weight has shape"),
        (np.array([[1.0, 0.5], [0.4, 1.0]]), ValueError, "not Hermitian"),
        (np.diag([1.0, -1e-3]), ValueError, "eigenvalue -0.001"),
        (np.diag([1.0, np.nan]), NonFiniteError, "NaN"),
        (np.eye(2, dtype=np.float32), DtypeError, "precision"),
    ],
)
def test_bad_weights_are_refused(weight, error, text):
    with pytest.raises(error, match=text):
        weighted(SYSTEM, input_weight=weight)


def test_a_complex_weight_of_a_paired_system_is_refused():
    system = StateSpace(Diagonal(np.array([-1 + 1j]), True), np.ones((1, 1)) + 0j, np.ones((1, 1)) + 0j)

    with pytest.raises(DtypeError, match="real"):
        weighted(system, input_weight=np.ones((1, 1), complex))
