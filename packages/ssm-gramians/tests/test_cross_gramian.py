import numpy as np
import pytest
import torch

from ssm_gramians import (
    BartelsStewart,
    Diagonal,
    InstabilityError,
    Kronecker,
    ShapeError,
    StateSpace,
    controllability_gramian,
    cross_gramian,
    gramian_factors,
    observability_gramian,
)
from ssm_gramians.testing import as_numpy, assert_close, assert_same_kind

DTS = pytest.mark.parametrize("dt", [0.0, 1.0], ids=["continuous", "discrete"])


def modal(rng, *, dt, paired=True, batch=(), n=4, m=2):
    slots = rng.uniform(0.4, 0.95, (*batch, n)) * np.exp(1j * rng.uniform(0, np.pi, (*batch, n)))
    slots = slots if dt else slots - 1.2
    B, C = (rng.standard_normal((*batch, *s)) + 1j * rng.standard_normal((*batch, *s)) for s in ((n, m), (m, n)))
    return StateSpace(Diagonal(slots, paired), B, C, dt=dt)


def on(system, asarray):
    A = system.A.map(asarray) if isinstance(system.A, Diagonal) else asarray(system.A)
    return StateSpace(A, asarray(system.B), asarray(system.C), dt=system.dt)


def by_kronecker(system):
    A, BC = system.to_dense().A, system.to_dense().B @ system.to_dense().C
    eye = np.eye(len(A))
    operator = np.kron(A, A.T) - np.kron(eye, eye) if system.dt else np.kron(A, eye) + np.kron(eye, A.T)
    return np.linalg.solve(operator, -BC.ravel()).reshape(A.shape)


@DTS
@pytest.mark.parametrize("paired", [True, False])
@pytest.mark.parametrize("dense", [True, False])
def test_it_solves_its_equation(asarray, rng, dt, paired, dense):
    system = modal(rng, dt=dt, paired=paired)

    X = cross_gramian(on(system.to_dense() if dense else system, asarray))

    assert_close(X, by_kronecker(system), rtol=1e-12)


@DTS
@pytest.mark.parametrize("solver", [BartelsStewart(), Kronecker()])
def test_every_solver_gives_the_same(rng, dt, solver):
    system = modal(rng, dt=dt)

    assert_close(cross_gramian(system, solver=solver), cross_gramian(system), rtol=1e-12)


@DTS
@pytest.mark.parametrize("dense", [True, False])
def test_its_eigenvalues_are_the_hankel_singular_values_of_one_input_and_output(rng, dt, dense):
    system = modal(rng, dt=dt, m=1, n=3)
    Z_P, Z_Q = gramian_factors(system)

    X = cross_gramian(system.to_dense() if dense else system)

    hankel = np.linalg.svd(Z_Q.T @ Z_P, compute_uv=False)
    assert_close(np.sort(abs(np.linalg.eigvals(X)))[::-1], hankel, rtol=1e-9)


@DTS
def test_its_square_is_the_product_of_the_gramians_of_a_symmetric_system(rng, dt):
    A, B = rng.standard_normal((4, 4)), rng.standard_normal((4, 2))
    A = (A + A.T) / 8 - (0 if dt else 2) * np.eye(4)
    T = np.eye(4) + np.triu(rng.standard_normal((4, 4)), 1)  # other coordinates: the system, not A, is symmetric
    system = StateSpace(T @ A @ np.linalg.inv(T), T @ B, B.T @ np.linalg.inv(T), dt=dt)

    X = cross_gramian(system)

    assert_close(X @ X, controllability_gramian(system) @ observability_gramian(system), rtol=1e-11)


@DTS
def test_a_defective_matrix_is_no_exception(dt):
    A = 0.5 * np.eye(4) + np.eye(4, k=1) - (0 if dt else 2) * np.eye(4)
    system = StateSpace(A, np.ones((4, 1)), np.ones((1, 4)), dt=dt)

    assert_close(cross_gramian(system), by_kronecker(system), rtol=1e-11)


@DTS
def test_a_descriptor_system_solves_its_own_equation(rng, dt):
    A, E = rng.standard_normal((3, 3)) / 4, np.eye(3) + rng.standard_normal((3, 3)) / 8
    A = A if dt else A - 2 * np.eye(3)
    B, C = rng.standard_normal((3, 2)), rng.standard_normal((2, 3))

    X = cross_gramian(StateSpace(A, B, C, dt=dt, E=E))

    assert_close(A @ X @ A - E @ X @ E if dt else A @ X @ E + E @ X @ A, -B @ C, rtol=1e-12)


@DTS
@pytest.mark.parametrize("batch", [(0,), (1,), (2, 3)])
@pytest.mark.parametrize("dense", [True, False])
def test_a_batch_equals_a_loop(asarray, rng, dt, batch, dense):
    system = modal(rng, dt=dt, batch=batch)
    system = system.to_dense() if dense else system

    X = as_numpy(cross_gramian(on(system, asarray)))

    assert X.shape == (*batch, 8, 8)
    for index in np.ndindex(batch):
        A = system.A[index] if dense else Diagonal(system.A.eigenvalues[index], True)
        assert_close(X[index], cross_gramian(StateSpace(A, system.B[index], system.C[index], dt=dt)), rtol=1e-12)


@DTS
def test_one_state(dt):
    a = 0.5 if dt else -0.5
    system = StateSpace(np.array([[a]]), np.array([[2.0]]), np.array([[-3.0]]), dt=dt)

    assert_close(cross_gramian(system), np.array([[-6 / (1 - a * a) if dt else -6.0]]), rtol=1e-15)


def test_single_precision_stays_single(asarray, rng):
    system = modal(rng, dt=1.0)
    single = StateSpace(
        Diagonal(system.A.eigenvalues.astype(np.complex64), True),
        *(M.astype(np.complex64) for M in (system.B, system.C)),
        dt=1.0,
    )

    X = cross_gramian(on(single, asarray))

    assert_same_kind(X, asarray(np.float32(0)))
    assert_close(X, by_kronecker(system), rtol=1e-5)


def test_other_than_square_systems_are_refused():
    system = StateSpace(-np.eye(2), np.ones((2, 1)), np.ones((2, 2)))

    with pytest.raises(ShapeError, match="1 inputs and 2 outputs"):
        cross_gramian(system)


def test_unstable_systems_are_refused():
    system = StateSpace(np.diag([-1.0, 0.5]), np.ones((2, 1)), np.ones((1, 2)))

    with pytest.raises(InstabilityError, match=r"0\.5"):
        cross_gramian(system)


@DTS
@pytest.mark.parametrize("dense", [True, False])
def test_gradients_flow_through(dt, dense):
    generator = torch.Generator().manual_seed(3)
    slots = torch.tensor([-0.5 + 1j, -0.1 + 2j, -1.0 + 0j], dtype=torch.complex128)
    slots = torch.exp(slots) if dt else slots
    B = torch.randn(3, 2, dtype=torch.complex128, generator=generator)

    def gramian(slots, B):
        system = StateSpace(Diagonal(slots, True), B, B.mT, dt=dt)
        return cross_gramian(system.to_dense() if dense else system)

    assert torch.autograd.gradcheck(gramian, (slots.requires_grad_(), B.requires_grad_()))
