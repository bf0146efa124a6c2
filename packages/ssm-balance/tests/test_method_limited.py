import numpy as np
import pytest

from ssm_balance import (
    OrderError,
    StabilityLossError,
    balanced_truncation,
    difference,
    frequency_limited_truncation,
    hankel_singular_values,
    hinf_norm,
    horizon_gain,
    linf_bracket,
    time_limited_truncation,
)
from ssm_gramians import InstabilityError, MatrixFree, NonFiniteError, StateSpace, UnsupportedError

BAND = (0.5, 1.5)


def limited(which, system, order=None, **options):
    if which == "time":
        return time_limited_truncation(system, order, horizon=4, **options)
    return frequency_limited_truncation(system, order, band=BAND, **options)


@pytest.fixture(params=["time", "frequency"])
def which(request):
    return request.param


def values(P, Q):
    return np.sort(np.sqrt(np.abs(np.linalg.eigvals(P @ Q))))[::-1]


def test_the_values_of_a_band_are_those_of_an_integral(make_system):
    system = make_system("dense", n=5)
    nodes, weights = np.polynomial.legendre.leggauss(200)
    P, Q = np.zeros((5, 5)), np.zeros((5, 5))
    for node, weight in zip(nodes, weights, strict=True):
        resolvent = np.linalg.inv(1j * (1 + node / 2) * np.eye(5) - system.A)
        P += (resolvent @ system.B @ system.B.T @ resolvent.conj().T).real * weight / (2 * np.pi)
        Q += (resolvent.conj().T @ system.C.T @ system.C @ resolvent).real * weight / (2 * np.pi)

    reduction = limited("frequency", system, 3)

    np.testing.assert_allclose(reduction.hsv, values(P, Q), rtol=1e-8)


def test_the_values_of_a_horizon_are_those_of_a_sum(make_system):
    system = make_system("dense", n=5, dt=1.0)
    powers = [np.linalg.matrix_power(system.A, k) for k in range(4)]
    P = sum(M @ system.B @ system.B.T @ M.T for M in powers)
    Q = sum(M.T @ system.C.T @ system.C @ M for M in powers)

    reduction = limited("time", system, 3)

    np.testing.assert_allclose(reduction.hsv, values(P, Q), rtol=1e-8)


@pytest.mark.parametrize("stable", [False, True])
@pytest.mark.parametrize("dt", [0.0, 1.0])
def test_all_of_time_and_all_frequencies_are_balanced_truncation(make_system, dt, stable):
    system = make_system("dense", dt=dt, n=6)
    wanted = balanced_truncation(system, 3)

    late = time_limited_truncation(system, 3, horizon=2000, stable=stable)
    wide = frequency_limited_truncation(system, 3, band=(0.0, np.pi if dt else np.inf), stable=stable)

    for found in (late, wide):
        assert hinf_norm(difference(wanted.system, found.system)) <= 1e-6 * hinf_norm(system)


def test_the_error_on_the_band_is_lower():
    system = two_resonances()
    whole = balanced_truncation(system, 2)

    reduction = frequency_limited_truncation(system, 2, band=(8.0, 12.0))

    errors = [linf_bracket(difference(system, r.system), (8.0, 12.0)).upper for r in (reduction, whole)]
    assert errors[0] <= 0.1 * errors[1]


@pytest.mark.parametrize("dt", [0.0, 0.5])
def test_the_error_on_the_band_is_lower_though_stability_is_asked_for(make_system, dt):
    system = make_system("dense", dt=dt)
    whole = balanced_truncation(system, 4)

    reduction = frequency_limited_truncation(system, 4, band=BAND, stable=True)

    errors = [linf_bracket(difference(system, r.system), BAND).upper for r in (reduction, whole)]
    assert errors[0] <= 0.9 * errors[1]


def two_resonances():
    """A strong mode at 1 rad/s and a weak one at 10 rad/s."""
    A = np.zeros((4, 4))
    A[:2, :2], A[2:, 2:] = [[-0.002, 1.0], [-1.0, -0.002]], [[-0.02, 10.0], [-10.0, -0.02]]
    return StateSpace(A, np.array([[1.0], [0.0], [1.0], [0.0]]), np.array([[1.0, 0.0, 1.0, 0.0]]))


@pytest.mark.parametrize("stable", [False, True])
def test_the_error_up_to_the_horizon_is_lower(stable):
    poles = np.array([0.999, 0.9, 0.5, 0.2])  # the slow mode has hardly begun after 8 steps
    C = np.array([[0.02, 1.0, 1.0, 0.5]])
    system = StateSpace(np.diag(poles), np.ones((4, 1)), C, dt=1.0)
    whole = balanced_truncation(system, 1)

    reduction = time_limited_truncation(system, 1, horizon=8, stable=stable)

    errors = [horizon_gain(difference(system, r.system), 8) for r in (reduction, whole)]
    assert errors[0].upper < 0.7 * errors[1].lower


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("dt", [0.0, 1.0])
def test_a_stable_result_is_stable_and_within_its_bound(make_system, which, dt, seed):
    system = make_system("dense", dt=dt, n=4, m=1, p=1, seed=seed)
    for order in (1, 2, 3):
        reduction = limited(which, system, order, stable=True)

        assert reduction.certify().margin > 0
        assert hinf_norm(difference(system, reduction.system)) <= reduction.error_bound * (1 + 1e-8)


def test_every_kind_has_a_stable_result_within_its_bound(system, which):
    reduction = limited(which, system, 4, stable=True)

    certificate = reduction.certify()

    assert certificate.holds
    assert certificate.margin > 0


def test_an_allowed_error_is_kept_by_a_stable_result(make_system, which):
    system = make_system("dense")
    bound = limited(which, system, 5, stable=True).error_bound

    reduction = limited(which, system, error=bound * (1 + 1e-9), stable=True)

    assert reduction.order == 5
    assert reduction.error_bound <= bound * (1 + 1e-9)


@pytest.mark.parametrize("stable", [False, True])
def test_a_descriptor_is_divided_out(make_system, which, stable):
    plain = make_system("dense")
    E = np.eye(8) + 0.2 * np.random.default_rng(1).standard_normal((8, 8))
    held = StateSpace(E @ plain.A, E @ plain.B, plain.C, plain.D, 0.0, E)

    first, second = (limited(which, system, 4, stable=stable) for system in (held, plain))

    np.testing.assert_allclose(first.left.T @ E @ first.right, np.eye(4), atol=1e-9)
    np.testing.assert_allclose(first.hsv, second.hsv, rtol=1e-7)
    assert linf_bracket(difference(first.system, second.system)).upper <= 1e-7 * hinf_norm(plain)


@pytest.mark.parametrize("kind", ["dense", "paired"])
def test_a_batch_is_a_loop(make_system, which, kind):
    batch = make_system(kind, dt=1.0, n=4, batch=(3,))

    together = limited(which, batch, 3, stable=True)

    for k in range(3):
        A = batch.A[k] if kind == "dense" else batch.A.map(lambda array, k=k: array[k])
        alone = limited(which, StateSpace(A, batch.B[k], batch.C[k], batch.D[k], 1.0), 3, stable=True)
        np.testing.assert_allclose(together.hsv[k], alone.hsv, rtol=1e-9, atol=1e-12)
        assert together.error_bound[k] == pytest.approx(alone.error_bound, rel=1e-6)


@pytest.mark.parametrize(("dt", "seed", "order"), [(0.0, 0, 1), (1.0, 0, 2)])
def test_stability_lost_by_a_horizon_is_refused(make_system, dt, seed, order):
    system = make_system("dense", dt=dt, n=4, m=1, p=1, seed=seed)
    with pytest.raises(StabilityLossError, match="pass stable=True"):
        time_limited_truncation(system, order, horizon=2)

    assert time_limited_truncation(system, order, horizon=2, stable=True).certify().margin > 0


@pytest.mark.parametrize("dt", [0.0, 1.0])
def test_stability_lost_by_a_band_is_refused(make_system, dt):
    system = make_system("dense", dt=dt, n=4, m=1, p=1, seed=14)
    with pytest.raises(StabilityLossError, match="pass stable=True"):
        frequency_limited_truncation(system, 1, band=BAND)

    assert frequency_limited_truncation(system, 1, band=BAND, stable=True).certify().margin > 0


def test_an_unstable_system_is_reduced(make_system, which):
    stable = make_system("dense")
    system = StateSpace(stable.A + 0.3 * np.eye(8), stable.B, stable.C)

    reduction = limited(which, system, 8)

    assert linf_bracket(difference(system, reduction.system)).upper <= 1e-8 * linf_bracket(system).upper
    with pytest.raises(InstabilityError, match="unstable"):
        limited(which, system, 4, stable=True)


def test_the_order_follows_the_values_that_count():
    system = two_resonances()

    reduction = frequency_limited_truncation(system, energy=0.9, band=(8.0, 12.0))

    assert reduction.order == 2
    assert hankel_singular_values(reduction.system)[0] < hankel_singular_values(system)[2] * 1.1


@pytest.mark.parametrize("horizon", [0, -1.0, np.inf])
def test_a_horizon_without_meaning_is_refused(make_system, horizon):
    with pytest.raises(ValueError, match=r"horizon is .*; want"):
        time_limited_truncation(make_system("dense"), 3, horizon=horizon)


def test_a_part_of_a_step_is_refused(make_system):
    with pytest.raises(ValueError, match="whole number of steps"):
        time_limited_truncation(make_system("dense", dt=1.0), 3, horizon=2.5)


@pytest.mark.parametrize("band", [(2.0, 1.0), (-1.0, 1.0), (1.0, 1.0)])
def test_an_empty_band_is_refused(make_system, band):
    with pytest.raises(ValueError, match="band"):
        frequency_limited_truncation(make_system("dense"), 3, band=band)


def test_bad_wishes_and_matrices_are_refused(make_system, which):
    system = make_system("dense")
    with pytest.raises(OrderError, match="from 1 to 8"):
        limited(which, system, 9)
    with pytest.raises(OrderError, match="exactly one"):
        limited(which, system, 3, energy=0.9)
    with pytest.raises(NonFiniteError, match="C holds NaN"):
        limited(which, StateSpace(system.A, system.B, system.C * np.nan), 3)


def test_a_matrix_free_system_is_refused(which):
    A = MatrixFree(3, lambda X: -X, lambda X: -X)

    with pytest.raises(UnsupportedError, match="matrix-free"):
        limited(which, StateSpace(A, np.ones((3, 1)), np.ones((1, 3))), 2)
