import numpy as np
import pytest

from ssm_balance import (
    BalanceError,
    OrderError,
    StabilityLossError,
    balanced_truncation,
    difference,
    frequency_weighted_truncation,
    hinf_norm,
)
from ssm_gramians import InstabilityError, ShapeError, StateSpace, UnsupportedError


def lowpass(channels, corner, dt=0.0):
    eye = np.eye(channels)
    return (
        StateSpace(np.exp(-corner * dt) * eye, eye, corner * eye, dt=dt)
        if dt
        else StateSpace(-corner * eye, eye, corner * eye)
    )


def gain(matrix, dt=0.0):
    """The constant map, as a system that cannot be reached."""
    outputs, inputs = matrix.shape
    A = np.zeros((1, 1)) if dt else -np.ones((1, 1))
    return StateSpace(A, np.zeros((1, inputs)), np.zeros((outputs, 1)), matrix, dt)


def series(first, second):
    """Second after first, in dense matrices."""
    first, second = first.to_dense(), second.to_dense()
    zeros = np.zeros((first.order, second.order))
    A = np.block([[first.A, zeros], [second.B @ first.C, second.A]])
    B = np.concatenate([first.B, second.B @ first.D])
    C = np.concatenate([second.D @ first.C, second.C], axis=1)
    return StateSpace(A, B, C, second.D @ first.D, first.dt)


def test_the_values_are_those_of_an_integral(make_system):
    system, weight = make_system("dense", n=5), lowpass(2, 0.3)
    angles = (np.arange(800) + 0.5) / 800 * np.pi - np.pi / 2
    P = np.zeros((5, 5))
    for frequency, measure in zip(np.tan(angles), 1 / np.cos(angles) ** 2, strict=True):
        state = np.linalg.solve(1j * frequency * np.eye(5) - system.A, system.B)
        state = state @ weight.transfer_function(np.array([1j * frequency]))[0]
        P += (state @ state.conj().T).real * measure / 1600
    plain = balanced_truncation(system, 5)  # Q is diag(hsv) in these coordinates
    P_b = plain.left.T @ P @ plain.left

    reduction = frequency_weighted_truncation(system, 3, input_weight=weight)

    wanted = np.sort(np.sqrt(np.linalg.eigvals(P_b @ np.diag(plain.hsv)).real))[::-1]
    np.testing.assert_allclose(reduction.hsv, wanted, rtol=1e-6)


def test_weights_of_one_change_nothing(system):
    wanted = balanced_truncation(system, 4)

    reduction = frequency_weighted_truncation(
        system, 4, input_weight=gain(np.eye(2), system.dt), output_weight=gain(np.eye(3), system.dt)
    )

    np.testing.assert_allclose(reduction.hsv, wanted.hsv, rtol=1e-8, atol=1e-12 * wanted.hsv[0])
    assert hinf_norm(difference(wanted.system, reduction.system)) <= 1e-7 * hinf_norm(system)


@pytest.mark.parametrize("dt", [0.0, 1.0])
@pytest.mark.parametrize("seed", range(5))
def test_the_weighted_error_is_lower(make_system, dt, seed):
    system, weight = make_system("dense", dt=dt, seed=seed), lowpass(2, 0.02, dt)
    whole = balanced_truncation(system, 5)

    reduction = frequency_weighted_truncation(system, 5, input_weight=weight)

    errors = [hinf_norm(series(weight, difference(system, r.system))) for r in (reduction, whole)]
    assert errors[0] < errors[1]


@pytest.mark.parametrize("side", ["input_weight", "output_weight"])
@pytest.mark.parametrize("dt", [0.0, 1.0])
def test_one_weight_keeps_stability(make_system, side, dt):
    for seed in range(12):
        system = make_system("dense", dt=dt, n=4, m=1, p=1, seed=seed)
        weight = make_system("dense", dt=dt, n=2, m=1, p=1, seed=seed + 1000)
        for order in (1, 2, 3):
            assert frequency_weighted_truncation(system, order, **{side: weight}).system.order == order


@pytest.mark.parametrize(("dt", "seed"), [(0.0, 10), (1.0, 169)])
def test_two_weights_may_lose_stability_unless_it_is_asked_for(make_system, dt, seed):
    system, first, second = (
        make_system("dense", dt=dt, n=n, m=1, p=1, seed=s) for n, s in ((4, seed), (2, seed + 1000), (2, seed + 2000))
    )
    with pytest.raises(StabilityLossError, match="pass stable=True"):
        frequency_weighted_truncation(system, 1, input_weight=first, output_weight=second)

    reduction = frequency_weighted_truncation(system, 1, input_weight=first, output_weight=second, stable=True)

    assert reduction.certify().margin > 0


def test_a_stable_result_is_within_its_bound(make_system, system):
    first = make_system("dense", dt=system.dt, n=3, m=2, p=2, seed=3)
    second = make_system("dense", dt=system.dt, n=3, m=3, p=2, seed=4)

    reduction = frequency_weighted_truncation(system, 5, input_weight=first, output_weight=second, stable=True)

    certificate = reduction.certify()
    assert certificate.holds
    assert certificate.margin > 0
    assert np.isfinite(reduction.error_bound)


def test_a_descriptor_is_divided_out(make_system):
    plain, weight = make_system("dense"), make_system("dense", n=2, m=3, p=3, seed=1)
    E = np.eye(8) + 0.2 * np.random.default_rng(1).standard_normal((8, 8))
    held = StateSpace(E @ plain.A, E @ plain.B, plain.C, plain.D, 0.0, E)

    first, second = (frequency_weighted_truncation(system, 4, output_weight=weight) for system in (held, plain))

    np.testing.assert_allclose(first.left.T @ E @ first.right, np.eye(4), atol=1e-9)
    assert hinf_norm(difference(first.system, second.system)) <= 1e-8 * hinf_norm(plain)


def test_one_weight_serves_a_batch(make_system):
    batch, weight = make_system("dense", batch=(3,)), lowpass(2, 0.5)

    together = frequency_weighted_truncation(batch, 4, input_weight=weight)

    for k in range(3):
        alone = StateSpace(batch.A[k], batch.B[k], batch.C[k], batch.D[k])
        hsv = frequency_weighted_truncation(alone, 4, input_weight=weight).hsv
        np.testing.assert_allclose(together.hsv[k], hsv, rtol=1e-8)


def test_torch_comes_back(make_system):
    torch = pytest.importorskip("torch")
    system, weight = make_system("dense"), lowpass(2, 0.5)
    ours = frequency_weighted_truncation(system, 4, input_weight=weight, stable=True)

    theirs = frequency_weighted_truncation(
        StateSpace(*(torch.tensor(M) for M in (system.A, system.B, system.C, system.D))),
        4,
        input_weight=StateSpace(*(torch.tensor(M) for M in (weight.A, weight.B, weight.C))),
        stable=True,
    )

    np.testing.assert_allclose(theirs.hsv.numpy(), ours.hsv, rtol=1e-8)
    assert theirs.error_bound == pytest.approx(ours.error_bound, rel=1e-6)
    assert isinstance(theirs.system.A, torch.Tensor)


def test_bad_weights_are_refused(make_system):
    system = make_system("dense")
    with pytest.raises(BalanceError, match="got no weight"):
        frequency_weighted_truncation(system, 3)
    with pytest.raises(ShapeError, match=r"input_weight has 3 outputs .* want 2"):
        frequency_weighted_truncation(system, 3, input_weight=lowpass(3, 1.0))
    with pytest.raises(ShapeError, match=r"output_weight has 2 inputs .* want 3"):
        frequency_weighted_truncation(system, 3, output_weight=lowpass(2, 1.0))
    with pytest.raises(UnsupportedError, match="dt = 1"):
        frequency_weighted_truncation(system, 3, input_weight=lowpass(2, 1.0, 1.0))
    with pytest.raises(InstabilityError, match="unstable"):
        frequency_weighted_truncation(system, 3, input_weight=StateSpace(np.eye(2), np.eye(2), np.eye(2)))


def test_bad_wishes_and_unstable_systems_are_refused(make_system):
    system, weight = make_system("dense"), lowpass(2, 1.0)
    with pytest.raises(OrderError, match="from 1 to 8"):
        frequency_weighted_truncation(system, 9, input_weight=weight)
    with pytest.raises(OrderError, match="exactly one"):
        frequency_weighted_truncation(system, input_weight=weight)
    with pytest.raises(InstabilityError, match="unstable"):
        frequency_weighted_truncation(StateSpace(-system.A, system.B, system.C), 3, input_weight=weight)
