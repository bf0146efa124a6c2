import os
from pathlib import Path

import numpy as np
import pytest
from scipy import sparse

from ssm_balance import (
    BalanceError,
    OrderError,
    SingularDescriptorError,
    balanced_truncation,
    difference,
    hankel_singular_values,
    hinf_norm,
    low_rank_truncation,
)
from ssm_gramians import (
    Cauchy,
    ConvergenceError,
    Diagonal,
    GramiansError,
    InstabilityError,
    LowRankADI,
    NonFiniteError,
    StateSpace,
)

with_data = pytest.mark.skipif("SSM_ZOO_DATA" not in os.environ, reason="SSM_ZOO_DATA does not name a folder with rail")


def rod(n, dt=0.0, seed=0):
    """Heat in a rod with lumped masses: E x' = A x + B u, sparse."""
    rng = np.random.default_rng(seed)
    A = sparse.diags_array([np.ones(n - 1), -2.0 * np.ones(n), np.ones(n - 1)], offsets=[-1, 0, 1]) * n
    E = sparse.diags_array([np.ones(n - 1), 4.0 * np.ones(n), np.ones(n - 1)], offsets=[-1, 0, 1]) / (6 * n)
    if dt:
        A, E = E, E - 0.01 * dt * A  # an implicit step
    return StateSpace(A.tocsc(), rng.standard_normal((n, 2)), rng.standard_normal((3, n)), dt=dt, E=E.tocsc())


def modes(kind, n, dt=0.0):
    rng = np.random.default_rng(1)
    decay = np.logspace(-2, 1, n)
    B, C = rng.standard_normal((n, 1)) / n**0.5, rng.standard_normal((1, n)) / n**0.5
    if kind == "real":
        return StateSpace(Diagonal(np.exp(-decay) if dt else -decay), B, C, dt=dt)
    poles = decay * (-1 + 1j * rng.uniform(0, 1, n))
    B, C = B * np.exp(1j * rng.uniform(0, 6, (n, 1))), C * np.exp(1j * rng.uniform(0, 6, (1, n)))
    return StateSpace(Diagonal(np.exp(poles) if dt else poles, paired=kind == "paired"), B, C, dt=dt)


@pytest.mark.parametrize("kind", ["real", "complex", "paired"])
@pytest.mark.parametrize("dt", [0.0, 1.0])
def test_many_modes_are_reduced_within_the_bound(kind, dt):
    system = modes(kind, 20_000, dt)

    reduction = low_rank_truncation(system, 12)

    points = np.exp(1j * np.logspace(-4, 0.4, 60)) if dt else 1j * np.logspace(-3, 2, 60)
    error = np.abs(reduction.system.transfer_function(points) - system.transfer_function(points)).max()
    assert error <= reduction.error_bound <= 1e-3 * reduction.hsv[0]
    assert 12 < reduction.hsv.shape[-1] < 200
    assert reduction.left.shape == (system.order, 12)


@pytest.mark.parametrize("kind", ["real", "complex", "paired"])
def test_the_values_are_those_of_the_whole_gramians(kind):
    system = modes(kind, 300)
    whole = hankel_singular_values(system)

    hsv = low_rank_truncation(system, 5).hsv

    np.testing.assert_allclose(hsv, whole[: hsv.shape[-1]], rtol=0, atol=1e-7 * whole[0])
    assert np.sum(whole) <= np.sum(hsv) * (1 + 1e-6)


@pytest.mark.parametrize("with_descriptor", [False, True])
@pytest.mark.parametrize("dt", [0.0, 1.0])
@pytest.mark.parametrize("balancing_free", [False, True])
def test_a_sparse_system_is_reduced_as_its_dense_one(dt, with_descriptor, balancing_free):
    system = rod(200, dt)
    if not with_descriptor:
        held = system.E.to_dense()
        A = np.linalg.solve(held, system.A.to_dense())
        system = StateSpace(sparse.csc_array(A), np.linalg.solve(held, system.B), system.C, dt=dt)
    dense = balanced_truncation(system.to_dense(), 6)

    reduction = low_rank_truncation(system, 6, balancing_free=balancing_free)

    E = system.E.to_dense() if with_descriptor else np.eye(200)
    np.testing.assert_allclose(reduction.left.T @ E @ reduction.right, np.eye(6), atol=1e-9)
    np.testing.assert_allclose(reduction.hsv[:6], dense.hsv[:6], rtol=1e-7)
    assert hinf_norm(difference(dense.system, reduction.system)) <= 1e-6 * hinf_norm(dense.system)


def test_the_bound_is_not_below_that_of_exact_truncation():
    system = rod(150)
    exact = balanced_truncation(system.to_dense(), 4)

    reduction = low_rank_truncation(system, 4, rtol=1e-6)

    assert reduction.error_bound >= exact.error_bound
    assert hinf_norm(difference(system.to_dense(), reduction.system)) <= reduction.error_bound


def test_an_allowed_error_counts_what_the_factors_left_out():
    system = modes("real", 5000)
    scale = low_rank_truncation(system, 1).hsv[0]

    reduction = low_rank_truncation(system, error=1e-4 * scale)

    assert reduction.error_bound <= 1e-4 * scale
    with pytest.raises(OrderError, match=r"finer than the Gramian factors, .* smaller rtol"):
        low_rank_truncation(system, error=1e-9 * scale)
    assert low_rank_truncation(system, error=1e-9 * scale, rtol=1e-26).error_bound <= 1e-9 * scale


def test_an_order_above_the_rank_is_lowered():
    system = modes("real", 3000)

    reduction = low_rank_truncation(system, 200)

    assert reduction.order <= reduction.hsv.shape[-1] < 200


def test_a_solver_brings_its_own_tolerance():
    reduction = low_rank_truncation(rod(300), 5, solver=LowRankADI(rtol=1e-4))

    assert reduction.hsv.shape[-1] < low_rank_truncation(rod(300), 5).hsv.shape[-1]
    assert reduction.error_bound > 1e-3 * reduction.hsv[0]


def test_a_batch_of_modes_gets_one_order():
    one = modes("real", 400)
    batch = StateSpace(
        Diagonal(np.stack([one.A.eigenvalues, 2 * one.A.eigenvalues])), np.stack([one.B] * 2), np.stack([one.C] * 2)
    )

    reduction = low_rank_truncation(batch, 5)

    assert reduction.system.batch_shape == (2,)
    np.testing.assert_allclose(reduction.hsv[0], 2 * reduction.hsv[1], rtol=1e-6, atol=1e-9)
    assert np.all(reduction.error_bound > 0)


@with_data
@pytest.mark.parametrize("n", [371, 1357])
def test_pymor_finds_the_same_steel_profile(n):
    iosys, bt = pytest.importorskip("pymor.models.iosys"), pytest.importorskip("pymor.reductors.bt")
    with np.load(Path(os.environ["SSM_ZOO_DATA"]) / "rail" / f"rail_{n}.npz") as file:
        A, E = (
            sparse.csc_matrix(tuple(file[f"{k}_{part}"] for part in ("data", "indices", "indptr")), file[f"{k}_shape"])
            for k in "AE"
        )
        B, C = file["B"], file["C"]
    points = 1j * np.logspace(-6, 0, 20)
    rom = bt.BTReductor(iosys.LTIModel.from_matrices(A, B, C, E=E)).reduce(15)
    wanted = np.array([rom.transfer_function.eval_tf(point) for point in points])

    reduction = low_rank_truncation(StateSpace(A, B, C, E=E), 15)

    ours = reduction.system.transfer_function(points)
    full = StateSpace(A, B, C, E=E).transfer_function(points)
    assert np.abs(ours - wanted).max() <= 1e-8 * np.abs(wanted).max()
    assert np.linalg.norm(ours - full, 2, axis=(-2, -1)).max() <= reduction.error_bound


def test_a_singular_sparse_descriptor_is_refused():
    system = rod(40)
    E = system.E.matrix.tolil()
    E[0, :] = 0
    with pytest.raises(SingularDescriptorError, match="E is singular"):
        low_rank_truncation(StateSpace(system.A, system.B, system.C, E=E.tocsc()), 4)
    E[0, 0] = 1e-20
    with pytest.raises(SingularDescriptorError, match="its condition is"):
        low_rank_truncation(StateSpace(system.A, system.B, system.C, E=E.tocsc()), 4)


@pytest.mark.parametrize(("n", "message"), [(60, "eigenvalue 20"), (510, "is every mode of A stable")])
def test_an_unstable_sparse_system_is_refused(n, message):
    system = rod(n)
    A = system.A.matrix + 30 * system.E.matrix
    with pytest.raises(GramiansError, match=message):
        low_rank_truncation(StateSpace(sparse.csc_array(A), system.B, system.C, E=system.E), 4, solver=LowRankADI())


def test_an_unstable_mode_is_named():
    system = modes("real", 1000)
    poles = system.A.eigenvalues.copy()
    poles[7] = 0.25
    with pytest.raises(InstabilityError, match=r"eigenvalue 0\.25"):
        low_rank_truncation(StateSpace(Diagonal(poles), system.B, system.C), 4)


def test_modes_that_have_no_low_rank_are_refused():
    rng = np.random.default_rng(0)
    poles = -1e-3 + 1j * np.linspace(0, 1000, 4000)  # all of them resonate by themselves
    system = StateSpace(Diagonal(poles), rng.standard_normal((4000, 1)) + 0j, rng.standard_normal((1, 4000)) + 0j)
    with pytest.raises(ConvergenceError):
        low_rank_truncation(system, 4, solver=Cauchy(rtol=1e-14, max_rank=50))


def test_bad_wishes_are_refused():
    system = modes("real", 50)
    with pytest.raises(OrderError, match="from 1 to 50"):
        low_rank_truncation(system, 51)
    with pytest.raises(OrderError, match="exactly one"):
        low_rank_truncation(system)
    with pytest.raises(BalanceError, match="want rtol between 0 and 1"):
        low_rank_truncation(system, 4, rtol=2.0)
    with pytest.raises(BalanceError, match="or a solver that brings its own"):
        low_rank_truncation(system, 4, rtol=1e-8, solver=Cauchy(rtol=1e-8))
    with pytest.raises(NonFiniteError, match="B holds NaN"):
        low_rank_truncation(StateSpace(system.A, system.B * np.nan, system.C), 4)
