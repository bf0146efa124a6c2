"""Balancing on states that were really visited."""

import numpy as np
import pytest

from ssm_balance import (
    BalanceError,
    Energy,
    OrderError,
    SingularDescriptorError,
    balanced_truncation,
    data_weighted_truncation,
    snapshot_error,
)
from ssm_gramians import (
    Diagonal,
    EmpiricalGramian,
    InstabilityError,
    NonFiniteError,
    ShapeError,
    StateSpace,
    UnsupportedError,
    observability_gramian,
)


def run(system, inputs):
    """States of a dense discrete system from rest, (sequences, length, n), step by step."""
    states = np.zeros((*inputs.shape[:-1], system.order), dtype=np.result_type(system.A, system.B))
    for t in range(inputs.shape[1] - 1):
        states[:, t + 1] = states[:, t] @ system.A.T + inputs[:, t] @ system.B.T
    return states


def lowpass(inputs=2, sequences=6, length=60, seed=0):
    """Inputs that white noise is not: slow, and mostly along one direction."""
    rng = np.random.default_rng(seed)
    u = np.cumsum(rng.standard_normal((sequences, length, inputs)), axis=1)
    return u * np.array([1.0, 0.05, 0.01])[:inputs]


@pytest.fixture
def layer(make_system):
    return make_system("paired", dt=1.0, n=8, m=2, p=3)


@pytest.fixture
def dense(layer):
    return layer.to_dense()


def outputs(system, inputs):
    return run(system, inputs) @ system.C.T


@pytest.mark.parametrize("order", [1, 3, 6])
def test_it_beats_white_noise_on_new_data(layer, dense, order):
    seen, new = lowpass(seed=0), lowpass(seed=1)

    ours = data_weighted_truncation(layer, order, states=run(dense, seen)).system
    theirs = balanced_truncation(layer, order).system

    y = outputs(dense, new)
    assert np.linalg.norm(outputs(ours, new) - y) < np.linalg.norm(outputs(theirs, new) - y)


def test_values_are_those_of_the_two_moments(layer, dense):
    states = run(dense, lowpass())

    found = data_weighted_truncation(layer, 4, states=states, horizon=20)

    rows = states.reshape(-1, 16)
    P = rows.T @ rows / len(rows)
    Q = observability_gramian(layer, horizon=20, average=True)
    reference = np.sqrt(np.abs(np.sort(np.linalg.eigvals(P @ Q).real)[::-1]))
    seen = reference > 1e-6 * reference[0]
    assert np.allclose(found.hsv[seen], reference[seen], rtol=1e-6)
    assert np.isinf(found.error_bound)


def test_the_horizon_is_the_length_of_the_sequences(layer, dense):
    states = run(dense, lowpass(length=30))

    assert np.allclose(
        data_weighted_truncation(layer, 4, states=states).hsv,
        data_weighted_truncation(layer, 4, states=states, horizon=30).hsv,
    )


def test_basis_balances_both_moments(layer, dense):
    states = run(dense, lowpass())

    found = data_weighted_truncation(layer, 4, states=states, horizon=20)

    rows = states.reshape(-1, 16) @ found.left
    Q = found.right.T @ observability_gramian(layer, horizon=20, average=True) @ found.right
    assert np.allclose(rows.T @ rows / len(rows), np.diag(found.hsv[:4]), atol=1e-9 * found.hsv[0])
    assert np.allclose(Q, np.diag(found.hsv[:4]), atol=1e-9 * found.hsv[0])


def test_adjoint_states_of_white_gradients_are_the_horizon_gramian(dense):
    """Impulses g at every step of every output: the mean of λ λᵀ over all t is the mean of Gramians of horizons."""
    L, n = 12, dense.order
    adjoint = [np.linalg.matrix_power(dense.A.T, k) @ dense.C.T for k in range(L)]
    rows = np.concatenate([np.sqrt(1 - k / L) * lam.T for k, lam in enumerate(adjoint)]) * np.sqrt(L * dense.outputs)
    states = run(dense, lowpass())

    given = data_weighted_truncation(dense, 4, states=states, adjoint_states=rows.reshape(1, -1, n))
    computed = data_weighted_truncation(dense, 4, states=states, horizon=L)

    assert np.allclose(given.hsv, computed.hsv, rtol=1e-8, atol=1e-12 * computed.hsv[0])
    assert np.allclose(np.linalg.eigvals(given.system.A), np.linalg.eigvals(computed.system.A))


def test_an_output_weight_chooses_the_output(layer, dense):
    u = lowpass()
    W = np.diag([1.0, 1e-8, 1e-8])

    weighted = data_weighted_truncation(layer, 4, states=run(dense, u), output_weight=W).system
    plain = data_weighted_truncation(layer, 4, states=run(dense, u)).system

    y = outputs(dense, u)[..., 0]
    errors = [np.linalg.norm(outputs(system, u)[..., 0] - y) for system in (weighted, plain)]
    assert errors[0] < errors[1]


def test_the_measured_error_is_that_of_a_simulation(layer, dense):
    u = lowpass()
    found = data_weighted_truncation(layer, 4, states=run(dense, u))

    measured = snapshot_error(found, run(dense, u))

    y = outputs(dense, u)
    assert measured == pytest.approx(np.linalg.norm(outputs(found.system, u) - y) / np.linalg.norm(y), rel=1e-9)


def test_refit_lowers_the_error_and_is_least_squares(layer, dense):
    u = lowpass()
    states = run(dense, u)

    fitted = data_weighted_truncation(layer, 4, states=states)
    plain = data_weighted_truncation(layer, 4, states=states, refit=False)

    assert snapshot_error(fitted, states) < snapshot_error(plain, states)
    xi = run(StateSpace(fitted.system.A, fitted.system.B, fitted.system.C, dt=1.0), u)
    gap = states @ dense.C.T - xi @ fitted.system.C.T
    assert np.allclose(np.einsum("stp,str->pr", gap, xi), 0, atol=1e-8 * np.linalg.norm(states) ** 2)


def unstable_case(dt):
    """Projected by states along one direction only, a non-normal system grows."""
    A = np.array([[-1.0, 8.0], [0.0, -1.0]])
    A = np.array([[0.5, 4.0], [0.0, 0.5]]) if dt else A
    states = np.array([[[1.0, 1.0], [1.0, 1.0 + 1e-9], [2.0, 2.0]]])
    return StateSpace(A, np.ones((2, 1)), np.eye(2), dt=dt), states


@pytest.mark.parametrize("dt", [0.0, 1.0])
@pytest.mark.parametrize("margin", [0.1, 1.0])
def test_poles_are_pulled_inside_by_a_visible_margin(dt, margin):
    system, states = unstable_case(dt)

    found = data_weighted_truncation(system, 1, states=states, adjoint_states=states, margin=margin)

    pole = found.system.A[0, 0]
    projected = (found.left.T @ system.A @ found.right)[0, 0]
    assert projected > 1 if dt else projected > 0
    assert pole == pytest.approx(1 - 0.5 * margin if dt else -margin)


def test_stable_poles_are_left_alone(layer, dense):
    found = data_weighted_truncation(layer, 4, states=run(dense, lowpass()), refit=False)

    assert np.allclose(found.system.A, found.left.T @ dense.A @ found.right)
    assert np.allclose(found.system.C, dense.C @ found.right)


def test_complex_slots_and_real_coordinates_are_the_same(layer, dense):
    real = run(dense, lowpass())
    slots = real[..., :8] + 1j * real[..., 8:]

    first, second = (data_weighted_truncation(layer, 4, states=states) for states in (real, slots))

    assert np.allclose(first.hsv, second.hsv)
    assert np.allclose(first.system.A, second.system.A)
    assert np.isrealobj(second.system.A)


def test_a_second_moment_is_enough(layer, dense):
    states = run(dense, lowpass())
    moment = EmpiricalGramian.of(states, axis=(0, 1))

    found = data_weighted_truncation(layer, 4, states=moment, horizon=60)
    reference = data_weighted_truncation(layer, 4, states=states, horizon=60, refit=False)

    assert np.allclose(found.hsv, reference.hsv, atol=1e-10 * reference.hsv[0])
    assert np.allclose(np.abs(found.system.A), np.abs(reference.system.A), atol=1e-6)
    y = states @ dense.C.T
    projected = states @ found.left @ found.system.C.T
    assert snapshot_error(found, moment) == pytest.approx(np.linalg.norm(projected - y) / np.linalg.norm(y), rel=1e-6)


def test_padding_does_not_count(layer, dense):
    states = run(dense, lowpass(length=40))
    padded = np.concatenate([states, np.full((6, 5, 16), np.nan)], axis=1)
    mask = np.ones((6, 45), dtype=bool)
    mask[:, 40:] = False

    found = data_weighted_truncation(layer, 4, states=padded, mask=mask, horizon=40)
    reference = data_weighted_truncation(layer, 4, states=states, horizon=40)

    assert np.allclose(found.system.C, reference.system.C)
    assert snapshot_error(found, padded, mask=mask) == pytest.approx(snapshot_error(reference, states))


def test_a_start_from_a_carried_state_is_followed(layer, dense):
    states = run(dense, lowpass(length=60))[:, 20:]

    found = data_weighted_truncation(layer, 12, states=states)

    assert snapshot_error(found, states) < 1e-3


def test_states_of_low_rank_lower_the_order(layer, dense):
    states = np.zeros((1, 5, 16))
    states[0, :, 3] = np.arange(5.0)

    found = data_weighted_truncation(layer, 6, states=states)

    assert found.order == 1


def test_energy_and_rules_choose_the_order(layer, dense):
    states = run(dense, lowpass())

    first = data_weighted_truncation(layer, energy=0.9, states=states)
    second = data_weighted_truncation(layer, Energy(0.9), states=states)

    assert first.order == second.order == Energy(0.9).select(first.hsv)


def test_continuous_time_takes_samples(make_system):
    full = make_system("dense", n=6, m=1, p=2)
    full = StateSpace(full.A, full.B, full.C)
    states = np.random.default_rng(0).standard_normal((50, 6)) * 10.0 ** -np.arange(6)

    found = data_weighted_truncation(full, 4, states=states)

    assert found.system.dt == 0
    assert np.all(np.linalg.eigvals(found.system.A).real < 0)
    assert snapshot_error(found, states) < 0.05


@pytest.mark.parametrize("horizon", [None, 30])
def test_a_descriptor_system_equals_the_divided_one(dense, horizon):
    states = run(dense, lowpass())
    E = np.eye(16) + 0.1 * np.random.default_rng(2).standard_normal((16, 16))
    descriptor = StateSpace(E @ dense.A, E @ dense.B, dense.C, dense.D, 1.0, E)

    found = data_weighted_truncation(descriptor, 4, states=states, horizon=horizon)
    reference = data_weighted_truncation(dense, 4, states=states, horizon=horizon)

    assert np.allclose(found.hsv[:8], reference.hsv[:8], rtol=1e-6)
    assert np.allclose(np.abs(found.system.A), np.abs(reference.system.A), atol=1e-8)
    assert snapshot_error(found, states) == pytest.approx(snapshot_error(reference, states))


def test_a_complex_system_stays_complex(make_system):
    full = make_system("diagonal", dt=1.0, n=8, m=2, p=3)
    states = run(full.to_dense(), lowpass())

    found = data_weighted_truncation(full, 5, states=states)

    assert np.iscomplexobj(found.system.A)
    assert snapshot_error(found, states) < snapshot_error(data_weighted_truncation(full, 2, states=states), states)


def test_certificates_can_be_had(layer, dense):
    certificate = data_weighted_truncation(layer, 4, states=run(dense, lowpass())).certify()

    assert certificate.is_stable
    assert certificate.h2 > 0


def test_inputs_stay_what_they_are(layer, dense):
    states = run(dense, lowpass())
    before = states.copy()

    data_weighted_truncation(layer, 4, states=states)

    assert np.array_equal(states, before)


def test_torch_in_torch_out(layer, dense):
    torch = pytest.importorskip("torch")
    states = run(dense, lowpass())
    A = Diagonal(torch.asarray(layer.A.eigenvalues), paired=True)
    tensors = StateSpace(A, torch.asarray(layer.B), torch.asarray(layer.C), torch.asarray(layer.D.copy()), 1.0)

    found = data_weighted_truncation(tensors, 4, states=torch.asarray(states))

    assert isinstance(found.system.A, torch.Tensor)
    assert np.allclose(found.hsv.numpy(), data_weighted_truncation(layer, 4, states=states).hsv)


STATES = np.random.default_rng(0).standard_normal((2, 9, 2))


def small(A=((0.5, 0.1), (0.0, 0.3)), batch=(), E=None):
    A = np.broadcast_to(np.array(A), (*batch, 2, 2))
    return StateSpace(A, np.ones((*batch, 2, 1)), np.ones((*batch, 1, 2)), None, 1.0, E)


@pytest.mark.parametrize(
    ("changes", "kind", "match"),
    [
        ({"order": None}, OrderError, "exactly one"),
        ({"order": 0}, OrderError, "at least 1"),
        ({"order": 3}, OrderError, "1 to 2"),
        ({"order": None, "energy": 1.2}, OrderError, "energy"),
        ({"order": None, "error": 0.1}, OrderError, "no error is promised"),
        ({"margin": 0.0}, BalanceError, "margin"),
        ({"margin": float("nan")}, BalanceError, "margin"),
        ({"states": STATES[..., :1]}, ShapeError, "states have shape"),
        ({"states": STATES[:, :0]}, ShapeError, "at least one"),
        ({"states": STATES * np.nan}, NonFiniteError, "states hold NaN"),
        ({"adjoint_states": STATES[0, 0]}, ShapeError, "adjoint_states have shape"),
        ({"adjoint_states": STATES, "horizon": 4}, BalanceError, "either"),
        ({"adjoint_states": STATES, "output_weight": np.eye(1)}, BalanceError, "either"),
        ({"mask": np.ones((2, 3), dtype=bool)}, ShapeError, "mask"),
        ({"mask": np.zeros((2, 9), dtype=bool)}, ShapeError, "at least one"),
        ({"output_weight": np.eye(2)}, ShapeError, "output_weight"),
        ({"output_weight": -np.eye(1)}, ValueError, "output_weight"),
        ({"horizon": 0}, ValueError, "horizon"),
        ({"states": np.zeros((1, 3, 2))}, OrderError, "does not reach"),
    ],
)
def test_bad_input_is_refused_with_the_reason(changes, kind, match):
    with pytest.raises(kind, match=match):
        data_weighted_truncation(small(), **({"order": 1, "states": STATES} | changes))


@pytest.mark.parametrize(
    ("system", "kind", "match"),
    [
        (small(A=((1.5, 0.0), (0.0, 0.3))), InstabilityError, "unstable"),
        (small(A=((np.nan, 0.0), (0.0, 0.3))), NonFiniteError, "A holds NaN"),
        (small(E=np.diag([1.0, 0.0])), SingularDescriptorError, "smallest singular value"),
        (small(batch=(3,)), UnsupportedError, "one system"),
    ],
)
def test_bad_systems_are_refused(system, kind, match):
    with pytest.raises(kind, match=match):
        data_weighted_truncation(system, 1, states=STATES)


def test_only_projections_can_be_measured_on_snapshots():
    from ssm_balance import h2_optimal

    with pytest.raises(ShapeError, match="left basis"):
        snapshot_error(h2_optimal(small(), 1), STATES)
