import os
from pathlib import Path

import numpy as np
import pytest
from scipy import linalg

from ssm_balance import (
    OrderError,
    RiccatiError,
    SingularDescriptorError,
    coprime_error_bound,
    difference,
    hankel_singular_values,
    hinf_norm,
    linf_bracket,
    lqg_truncation,
)
from ssm_gramians import NonFiniteError, StateSpace

# Of `build` pyMOR is 3.3e-8 from Riccati solutions refined and factored in extended precision; ours, 4e-13.
TOLERANCES = {"build": 1e-7, "pde": 1e-8}


def unstable_system(dt, seed=0, n=6, m=2, p=3):
    rng = np.random.default_rng(seed)
    A = rng.standard_normal((n, n)) / np.sqrt(n)
    A = A * 1.2 / np.abs(np.linalg.eigvals(A)).max() if dt else A
    return StateSpace(A, *(rng.standard_normal(s) for s in ((n, m), (p, n), (p, m))), dt)


def coprime_factors(system):
    """[N; M] with G = N M⁻¹, normalised: from the regulator u = F x + R^(-1/2) v, by SciPy alone."""
    A, B, C, D = system.A, system.B, system.C, system.D
    R = np.eye(D.shape[1]) + D.T @ D
    solve = linalg.solve_discrete_are if system.is_discrete else linalg.solve_continuous_are
    X = solve(A, B, C.T @ C, R, s=C.T @ D)
    weight = R + B.T @ X @ B if system.is_discrete else R
    F = -np.linalg.solve(weight, B.T @ X @ (A if system.is_discrete else np.eye(len(A))) + D.T @ C)
    return F, np.linalg.inv(linalg.sqrtm(weight)).real


def closed(system, F, root):
    feedthrough = np.concatenate([system.D @ root, root])
    return StateSpace(
        system.A + system.B @ F, system.B @ root, np.concatenate([system.C + system.D @ F, F]), feedthrough, system.dt
    )


@pytest.mark.parametrize("dt", [0.0, 1.0])
def test_the_values_are_those_of_the_normalised_coprime_factors(dt):
    system = unstable_system(dt)
    factors = closed(system, *coprime_factors(system))

    hsv = lqg_truncation(system, 3).hsv

    assert hinf_norm(factors) == pytest.approx(1, rel=1e-7)
    np.testing.assert_allclose(hsv / np.sqrt(1 + hsv**2), hankel_singular_values(factors), rtol=1e-8)


@pytest.mark.parametrize("dt", [0.0, 1.0])
@pytest.mark.parametrize("order", [2, 4])
def test_the_coprime_factors_are_within_their_bound(dt, order):
    system = unstable_system(dt)
    F, root = coprime_factors(system)

    reduction = lqg_truncation(system, order)

    small = closed(reduction.system, F @ reduction.right, root)
    error = hinf_norm(difference(closed(system, F, root), small))
    assert error <= coprime_error_bound(reduction.hsv, order) * (1 + 1e-8)
    assert reduction.error_bound == np.inf


@pytest.mark.parametrize("dt", [0.0, 1.0])
def test_unstable_poles_are_kept(dt):
    system = unstable_system(dt, n=8)
    unstable = system.poles()[np.abs(system.poles()) > 1 if dt else system.poles().real > 0]

    reduction = lqg_truncation(system, 7)

    found = reduction.system.poles()
    assert np.sum(np.abs(found) > 1 if dt else found.real > 0) == unstable.size > 0


def test_full_order_reproduces_every_kind(system, points):
    s = points(system.dt)

    reduction = lqg_truncation(system, system.order)

    error = np.abs(reduction.system.transfer_function(s) - system.transfer_function(s)).max()
    assert error <= 1e-9 * hinf_norm(system)


@pytest.mark.parametrize("kind", ["dense", "paired"])
def test_a_batch_is_a_loop(make_system, kind):
    batch = make_system(kind, n=4, batch=(2, 2))

    together = lqg_truncation(batch, 3)

    for index in np.ndindex(2, 2):
        A = batch.A[index] if kind == "dense" else batch.A.map(lambda array, index=index: array[index])
        alone = lqg_truncation(StateSpace(A, batch.B[index], batch.C[index], batch.D[index]), 3)
        np.testing.assert_allclose(together.hsv[index], alone.hsv, rtol=1e-10)
    assert together.error_bound.shape == (2, 2)


def test_torch_comes_back(make_system):
    torch = pytest.importorskip("torch")
    system = make_system("dense")
    ours = lqg_truncation(system, 4)

    theirs = lqg_truncation(StateSpace(*(torch.tensor(M) for M in (system.A, system.B, system.C, system.D))), 4)

    assert isinstance(theirs.system.A, torch.Tensor)
    np.testing.assert_allclose(theirs.hsv.numpy(), ours.hsv, rtol=1e-10)


def test_a_descriptor_is_divided_out():
    plain = unstable_system(0.0)
    E = np.eye(6) + 0.2 * np.random.default_rng(1).standard_normal((6, 6))
    held = StateSpace(E @ plain.A, E @ plain.B, plain.C, plain.D, 0.0, E)

    first, second = lqg_truncation(held, 3), lqg_truncation(plain, 3)

    np.testing.assert_allclose(first.left.T @ E @ first.right, np.eye(3), atol=1e-9)
    assert linf_bracket(difference(first.system, second.system)).upper <= 1e-8 * linf_bracket(plain).upper


def test_an_allowed_error_is_one_of_the_coprime_factors():
    system = unstable_system(0.0)

    reduction = lqg_truncation(system, error=0.5)

    assert coprime_error_bound(reduction.hsv, reduction.order) <= 0.5
    assert coprime_error_bound(reduction.hsv, reduction.order - 1) > 0.5


@pytest.mark.skipif("SSM_ZOO_DATA" not in os.environ, reason="SSM_ZOO_DATA does not name a folder with slicot/NAME.npz")
@pytest.mark.parametrize("name", ["build", "pde"])
def test_pymor_finds_the_same(name):
    iosys, bt = pytest.importorskip("pymor.models.iosys"), pytest.importorskip("pymor.reductors.bt")
    with np.load(Path(os.environ["SSM_ZOO_DATA"]) / "slicot" / f"{name}.npz") as file:
        A, B, C = (file[key] if key in file else dense(file, key) for key in "ABC")
    points = 1j * np.logspace(-1, 3, 20)
    theirs = bt.LQGBTReductor(iosys.LTIModel.from_matrices(A, B, C)).reduce(6)

    ours = lqg_truncation(StateSpace(A, B, C), 6).system.transfer_function(points)

    wanted = np.array([theirs.transfer_function.eval_tf(point) for point in points])
    assert np.abs(ours - wanted).max() <= TOLERANCES[name] * np.abs(wanted).max()


def dense(file, key):
    from scipy.sparse import csc_array

    parts = tuple(file[f"{key}_{part}"] for part in ("data", "indices", "indptr"))
    return csc_array(parts, shape=tuple(file[f"{key}_shape"])).toarray()


@pytest.mark.parametrize("dt", [0.0, 1.0])
def test_an_unstable_mode_out_of_reach_is_refused(dt):
    A = np.diag([2.0, 0.5 if dt else -1.0])
    system = StateSpace(A, np.array([[0.0], [1.0]]), np.ones((1, 2)), dt=dt)

    with pytest.raises(RiccatiError, match="no stabilising solution"):
        lqg_truncation(system, 1)


def test_bad_wishes_and_matrices_are_refused():
    system = unstable_system(0.0)
    with pytest.raises(OrderError, match="from 1 to 6"):
        lqg_truncation(system, 7)
    with pytest.raises(OrderError, match="exactly one"):
        lqg_truncation(system)
    with pytest.raises(NonFiniteError, match="A holds NaN"):
        lqg_truncation(StateSpace(system.A * np.inf, system.B, system.C), 3)
    with pytest.raises(SingularDescriptorError, match="smallest singular value"):
        lqg_truncation(StateSpace(system.A, system.B, system.C, E=np.diag([0.0, 1, 1, 1, 1, 1])), 3)
