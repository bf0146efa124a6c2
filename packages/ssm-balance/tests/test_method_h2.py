"""H2-optimal refinement: never worse, and optimal where it stops."""

import os
from pathlib import Path

import numpy as np
import pytest
from scipy.sparse import csc_array

from ssm_balance import (
    BalanceError,
    OrderError,
    SingularDescriptorError,
    balanced_truncation,
    difference,
    h2_norm,
    h2_optimal,
    low_rank_truncation,
    refine_h2,
)
from ssm_gramians import Diagonal, InstabilityError, NonFiniteError, ShapeError, StateSpace, UnsupportedError

ORDERS = (1, 3, 6)


def proper(system):
    return StateSpace(system.A, system.B, system.C, None, system.dt, system.E)


def error(full, reduced):
    """Lyapunov or Stein equation of the error system, by SciPy."""
    from scipy.linalg import solve_continuous_lyapunov, solve_discrete_lyapunov

    e = difference(full.to_dense(), reduced)
    A, Q = e.A.astype(complex), (e.B @ e.B.conj().T).astype(complex)
    P = solve_discrete_lyapunov(A, Q, method="direct") if e.is_discrete else solve_continuous_lyapunov(A, -Q)
    return np.sqrt(np.trace(e.C @ P @ e.C.conj().T).real)


def conditions(full, reduced):
    """The three of Meier and Luenberger at every pole, relative to the terms that cancel in them."""
    dt = full.dt
    poles, right = np.linalg.eig(reduced.A)
    b = np.linalg.solve(right, reduced.B.astype(complex))
    c = reduced.C @ right
    worst = 0.0
    for k, pole in enumerate(poles):
        at = 1 / pole.conj() if dt else -pole.conj()
        h = 1e-4 * (abs(abs(at) - 1) if dt else at.real)

        def values(s):
            return [G.transfer_function(np.array([s]))[0] for G in (full, reduced)]

        (G, H), (Gp, Hp), (Gm, Hm) = values(at), values(at + h), values(at - h)
        scale = np.linalg.norm(G)
        left, row = c[:, k].conj() / np.linalg.norm(c[:, k]), b[k].conj() / np.linalg.norm(b[k])
        slope = (Gp - Gm - Hp + Hm) / (2 * h)
        worst = max(worst, *(np.linalg.norm(x) / scale for x in ((G - H) @ row, left @ (G - H))))
        worst = max(worst, abs(left @ slope @ row) * h * 1e4 / scale)
    return worst


@pytest.mark.parametrize("order", ORDERS)
def test_the_error_only_falls(system, order):
    full = proper(system)
    start = balanced_truncation(full, order)

    found = h2_optimal(full, order)

    assert error(full, found.system) < error(full, start.system)
    assert found.order == found.system.order == order
    assert np.iscomplexobj(found.system.A) == np.iscomplexobj(start.system.A)


def test_it_stops_where_first_order_conditions_hold(system):
    full = proper(system)

    found = h2_optimal(full, 4).system

    assert conditions(full, found) < 1e-5
    assert conditions(full, balanced_truncation(full, 4).system) > 1e-4


def test_no_pole_or_residue_can_be_moved_to_gain(make_system):
    full = proper(make_system("dense", n=10, m=2, p=2))
    best = h2_optimal(full, 4).system
    rng, least = np.random.default_rng(0), error(full, best)

    for size in (1e-2, 1e-4):
        for _ in range(10):
            A, B, C = (M + size * rng.standard_normal(M.shape) * np.abs(M).max() for M in (best.A, best.B, best.C))

            assert error(full, StateSpace(A, B, C)) > least


def test_one_pole_of_a_symmetric_system_is_found_by_hand():
    full = StateSpace(np.diag([-1.0, -3.0]), np.ones((2, 1)), np.ones((1, 2)))

    found = h2_optimal(full, 1).system

    def squared(a):  # the best residue is 2a G(a): error² = ‖G‖² − 2a G(a)²
        return -2 * a * (1 / (a + 1) + 1 / (a + 3)) ** 2

    grid = np.linspace(1, 3, 200001)
    assert -found.A[0, 0] == pytest.approx(grid[np.argmin(squared(grid))], abs=2e-5)


def test_errors_before_and_after_are_those_of_the_systems(make_system):
    full = proper(make_system("dense", n=10))
    start = balanced_truncation(full, 3).system

    found = refine_h2(full, start)

    assert found.before == pytest.approx(error(full, start), rel=1e-9)
    assert found.after == pytest.approx(error(full, found.system), rel=1e-9)
    assert found.after < found.before
    assert found.slope <= 1e-7


def test_an_optimum_stays_what_it_is(make_system, points):
    full = proper(make_system("dense", n=10))
    best = h2_optimal(full, 3).system

    again = refine_h2(full, best)

    s = points(0.0)
    assert np.allclose(again.system.transfer_function(s), best.transfer_function(s), rtol=1e-5, atol=1e-8)
    assert again.after <= again.before


def test_the_order_of_the_start_system_does_not_matter(make_system, points):
    full = proper(make_system("dense", n=10))
    start = balanced_truncation(full, 4).system
    T = np.random.default_rng(1).standard_normal((4, 4))
    other = StateSpace(T @ start.A @ np.linalg.inv(T), T @ start.B, start.C @ np.linalg.inv(T))

    first, second = refine_h2(full, start), refine_h2(full, other)

    assert first.after == pytest.approx(second.after, rel=1e-9)


@pytest.mark.parametrize("dt", [0.0, 1.0])
@pytest.mark.parametrize("target", ["pair", "real"])
def test_a_path_through_a_double_pole_is_found(dt, target):
    """The start has two real poles where a pair is best, or a pair where two real poles are best."""
    pair, real = np.array([[-1.0, -0.6], [0.6, -1.0]]), np.diag([-0.6, -1.6])
    A = np.zeros((3, 3))
    A[:2, :2], A[2, 2] = (pair if target == "pair" else real), -9.0
    start = StateSpace(-real @ -np.eye(2) if target == "pair" else pair, np.ones((2, 1)), np.array([[1.0, 0.5]]), dt=dt)
    full = StateSpace(A, np.ones((3, 1)), np.array([[1.0, -2.0, 0.1]]), dt=dt)
    if dt:
        full, start = (StateSpace(np.eye(len(G.A)) + G.A / 10, G.B, G.C, dt=1.0) for G in (full, start))

    found = refine_h2(full, start)

    assert np.iscomplex(np.linalg.eigvals(found.system.A)).any() == (target == "pair")
    assert found.slope <= 1e-7
    assert found.after < 0.05 * found.before


@pytest.mark.parametrize("dt", [0.0, 1.0])
def test_a_defective_start_is_left_behind(dt):
    full = StateSpace(np.diag([-1.0, -1.3, -2.0, -5.0]), np.ones((4, 1)), np.array([[3.0, -2.0, 1.0, 0.2]]))
    jordan = StateSpace(np.array([[-1.5, 1.0], [0.0, -1.5]]), np.array([[0.0], [1.0]]), np.array([[1.0, 1.0]]))
    if dt:
        full, jordan = (StateSpace(np.eye(len(G.A)) + G.A / 10, G.B, G.C, dt=1.0) for G in (full, jordan))

    found = refine_h2(full, jordan)

    assert found.after < found.before
    assert found.slope <= 1e-7


def test_a_start_with_dead_states_is_taken(make_system):
    full = proper(make_system("dense", n=8, m=1, p=1))
    start = StateSpace(np.diag([-1.0, -2.0]), np.zeros((2, 1)), np.zeros((1, 2)))

    found = refine_h2(full, start)

    assert found.before == pytest.approx(h2_norm(full))
    assert found.after < found.before


def test_a_system_of_full_order_is_left_alone(make_system):
    full = proper(make_system("dense", n=5))

    found = refine_h2(full, full)

    assert found.after <= found.before
    assert found.before < 1e-7 * h2_norm(full)


def test_feedthrough_becomes_that_of_the_system(make_system):
    full = make_system("dense", dt=0.5)
    start = balanced_truncation(proper(full), 3)

    found = h2_optimal(full, start=start)

    assert np.array_equal(found.system.D, full.D)
    assert found.full is full


@pytest.mark.parametrize("kind", ["dense", "paired"])
def test_a_batch_equals_a_loop(make_system, points, kind):
    batch = proper(make_system(kind, dt=1.0, batch=(2, 2)))
    A = batch.A if kind == "dense" else batch.A.eigenvalues

    found = h2_optimal(batch, 3)

    one = A[1, 0] if kind == "dense" else Diagonal(A[1, 0], paired=True)
    alone = h2_optimal(StateSpace(one, batch.B[1, 0], batch.C[1, 0], dt=1.0), 3)
    s = points(1.0, 50)
    assert found.system.A.shape == (2, 2, 3, 3)
    assert np.all(np.isinf(found.error_bound))
    assert np.allclose(found.system.transfer_function(s)[1, 0], alone.system.transfer_function(s), atol=1e-6)


def test_a_descriptor_system_equals_the_divided_one(make_system):
    dense = proper(make_system("dense"))
    E = np.eye(8) + 0.1 * np.random.default_rng(2).standard_normal((8, 8))
    descriptor = StateSpace(E @ dense.A, E @ dense.B, dense.C, None, 0.0, E)
    start = balanced_truncation(dense, 3).system

    assert refine_h2(descriptor, start).after == pytest.approx(refine_h2(dense, start).after, rel=1e-9)


@pytest.mark.parametrize("dt", [0.0, 1.0])
def test_a_sparse_system_equals_the_dense_one(make_system, dt):
    dense = proper(make_system("dense", dt=dt))
    E = np.diag(np.linspace(1, 2, 8))
    sparse = StateSpace(csc_array(E @ dense.A), E @ dense.B, dense.C, None, dt, csc_array(E))
    start = balanced_truncation(dense, 3).system

    assert refine_h2(sparse, start).after == pytest.approx(refine_h2(dense, start).after, rel=1e-6)


def fom():
    """Penzl's example: 1006 states, as slots of a paired system; a real pole counts twice there."""
    poles = np.concatenate([[-1 + 100j, -1 + 200j, -1 + 400j], -np.arange(1.0, 1001.0)])
    B = np.concatenate([np.full(3, 10 * (1 + 1j) / np.sqrt(2)), np.ones(1000)])[:, None]
    C = np.concatenate([np.full(3, 10 * (1 - 1j) / np.sqrt(2)), np.full(1000, 0.5)])[None, :]
    return StateSpace(Diagonal(poles, paired=True), B + 0j, C + 0j)


@pytest.mark.parametrize("order", [6, 8, 10])
def test_a_thousand_modes_are_summed_not_stored(order):
    full = fom()
    start = low_rank_truncation(full, order).system

    found = refine_h2(full, start)

    assert found.after < found.before
    assert np.all(np.linalg.eigvals(found.system.A).real < 0)


SLICOT = Path(os.environ.get("SSM_ZOO_DATA", "")) / "slicot"


@pytest.mark.skipif("SSM_ZOO_DATA" not in os.environ, reason="SSM_ZOO_DATA does not name a folder with slicot/NAME.npz")
@pytest.mark.parametrize(
    ("name", "order"),
    [("build", 4), ("build", 10), ("heat-cont", 4), ("heat-cont", 6), ("pde", 2), ("random", 4), ("random", 10)],
)
def test_benchmarks_come_nearer(name, order):
    with np.load(SLICOT / f"{name}.npz") as file:
        A, B, C = (dense(file, key) for key in "ABC")
    full = StateSpace(A, B, C)

    found = refine_h2(full, balanced_truncation(full, order).system)

    assert found.after < found.before


def dense(file, key):
    if key in file:
        return file[key]
    parts = (file[f"{key}_{part}"] for part in ("data", "indices", "indptr"))
    return csc_array(tuple(parts), shape=file[f"{key}_shape"]).toarray()


@pytest.mark.parametrize("channels", [1, 2])
def test_a_fixed_point_of_pymor_is_found(make_system, channels):
    """TF-IRKA; its IRKA stops at systems that do not interpolate where there are several channels."""
    models = pytest.importorskip("pymor.models.iosys")
    reductors = pytest.importorskip("pymor.reductors.h2")
    from pymor.core.logger import set_log_levels

    set_log_levels({"pymor": "ERROR"})
    full = proper(make_system("dense", n=16, m=channels, p=channels))
    reductor = reductors.TFIRKAReductor(models.LTIModel.from_matrices(full.A, full.B, full.C))
    A, B, C, _, E = reductor.reduce(4, tol=1e-6, maxit=200).to_matrices()
    E = np.eye(4) if E is None else E
    theirs = StateSpace(np.linalg.solve(E, A).real, np.linalg.solve(E, B).real, C.real)

    ours = h2_optimal(full, 4).system

    assert error(full, ours) == pytest.approx(error(full, theirs), rel=1e-6)


def test_single_precision_is_refined_in_double(make_system):
    full = proper(make_system("dense"))
    single = StateSpace(*(M.astype(np.float32) for M in (full.A, full.B, full.C)))

    found = h2_optimal(single, 3)

    assert found.system.A.dtype == np.float64
    assert error(full, found.system) == pytest.approx(error(full, h2_optimal(full, 3).system), rel=1e-4)


def lag(**changes):
    parts = {"A": np.diag([-1.0, -2.0, -3.0]), "B": np.ones((3, 1)), "C": np.ones((1, 3)), "dt": 0.0} | changes
    return StateSpace(**parts)


def unit(a, inputs=1, dt=0.0, batch=()):
    return StateSpace(np.full((*batch, 1, 1), a), np.ones((*batch, 1, inputs)), np.ones((*batch, 1, 1)), dt=dt)


@pytest.mark.parametrize(
    ("system", "options", "kind", "match"),
    [
        (lag(), {}, OrderError, "exactly one"),
        (lag(), {"order": 0}, OrderError, "at least 1"),
        (lag(), {"order": 4}, OrderError, "1 to 3"),
        (lag(), {"energy": 1.2}, OrderError, "energy"),
        (lag(), {"order": 2, "start": unit(-1.0)}, OrderError, "order 1"),
        (lag(), {"energy": 0.9, "start": unit(-1.0)}, OrderError, "energy"),
        (lag(), {"order": 1, "max_steps": -1}, BalanceError, "max_steps"),
        (lag(), {"order": 1, "rtol": float("nan")}, BalanceError, "rtol"),
        (lag(A=np.eye(3)), {"order": 1}, InstabilityError, "unstable"),
        (lag(E=np.diag([1.0, 1.0, 0.0])), {"start": unit(-1.0)}, SingularDescriptorError, "smallest singular value"),
        (lag(A=np.full((3, 3), np.nan)), {"order": 1}, NonFiniteError, "A holds NaN"),
        (lag(), {"start": unit(1.0)}, InstabilityError, "unstable"),
        (lag(), {"start": unit(-1.0, inputs=2)}, ShapeError, "outputs and inputs"),
        (lag(), {"start": unit(0.5, dt=1.0)}, UnsupportedError, "dt"),
        (
            lag(),
            {"start": unit(-1.0, batch=(2,))},
            ShapeError,
            "batch",
        ),
    ],
)
def test_bad_input_is_refused_with_the_reason(system, options, kind, match):
    with pytest.raises(kind, match=match):
        h2_optimal(system, **options)


def test_refinement_takes_one_system(make_system):
    batch = make_system("dense", batch=(2,))

    with pytest.raises(UnsupportedError, match="one by one"):
        refine_h2(batch, batch)


def test_an_empty_batch_is_refused(make_system):
    with pytest.raises(ShapeError, match="empty batch"):
        h2_optimal(make_system("dense", batch=(0,)), start=make_system("dense", batch=(0,)))


def test_torch_in_torch_out(make_system):
    torch = pytest.importorskip("torch")
    full = proper(make_system("dense"))
    tensors = StateSpace(*(torch.asarray(getattr(full, name)) for name in "ABC"))

    found = h2_optimal(tensors, 3)

    assert isinstance(found.system.A, torch.Tensor)
    assert error(full, StateSpace(*(getattr(found.system, name).numpy() for name in "ABC"))) == pytest.approx(
        error(full, h2_optimal(full, 3).system), rel=1e-6
    )


@pytest.mark.parametrize("dt", [0.0, 1.0])
def test_a_mode_that_is_not_read_does_not_keep_the_others_from_their_optimum(dt):
    poles = np.array([0.5, 0.2, -0.3]) if dt else np.array([-1.0, -2.0, -3.0])
    B, C = np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]]), np.array([[1.0, 0.0, 0.0], [0.0, 0.0, 0.0]])
    full = StateSpace(np.diag(poles), B, C, None, dt)
    start = StateSpace(np.diag(0.9 * poles[:2]), B[:2], C[:, :2], None, dt)

    refined = refine_h2(full, start)

    assert refined.after < 1e-7 * refined.before  # one mode is read, and the reduced system has two
