import numpy as np
import pytest

from ssm_balance import BalanceError, Energy, OrderError, balance, project
from ssm_gramians import NonFiniteError, ShapeError


def factors(n=6, k=6, complex_=False, seed=0, batch=()):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((2, *batch, n, k))
    return X + 1j * rng.standard_normal(X.shape) if complex_ else X


def adjoint(X):
    return np.conj(np.swapaxes(X, -1, -2))


@pytest.mark.parametrize("complex_", [False, True])
@pytest.mark.parametrize("k", [3, 6, 40])
def test_both_gramians_become_the_same_diagonal(k, complex_):
    Z_P, Z_Q = factors(k=k, complex_=complex_)

    projection = balance(Z_P, Z_Q, 3)

    sigma = np.diag(projection.hsv[:3])
    P, Q = Z_P @ adjoint(Z_P), Z_Q @ adjoint(Z_Q)
    assert np.allclose(adjoint(projection.left) @ P @ projection.left, sigma, atol=1e-11 * sigma[0, 0])
    assert np.allclose(adjoint(projection.right) @ Q @ projection.right, sigma, atol=1e-11 * sigma[0, 0])
    assert np.allclose(adjoint(projection.left) @ projection.right, np.eye(3), atol=1e-12)


def test_values_are_one_for_each_state_and_descend():
    for k in (2, 6, 9):
        hsv = balance(*factors(k=k), 2).hsv

        assert hsv.shape == (6,)
        assert np.all(np.diff(hsv) <= 0)
        assert np.all(hsv[k:] == 0)


def test_values_are_the_roots_of_the_eigenvalues_of_the_product():
    Z_P, Z_Q = factors()

    expected = np.sqrt(np.sort(np.linalg.eigvals(Z_P @ Z_P.T @ Z_Q @ Z_Q.T).real)[::-1])

    assert np.allclose(balance(Z_P, Z_Q, 1).hsv, expected, rtol=1e-8)


def test_factors_may_have_different_widths():
    Z_P, Z_Q = factors(k=6)[0], factors(k=4)[1]

    assert balance(Z_P, Z_Q, 4).order == 4


def test_a_rule_chooses_the_order_from_the_values():
    Z_P, Z_Q = factors()
    hsv = balance(Z_P, Z_Q, 1).hsv

    assert balance(Z_P, Z_Q, Energy(0.8)).order == Energy(0.8).select(hsv)


def test_order_is_lowered_to_what_is_above_rounding():
    Z_P, Z_Q = factors(k=3)

    projection = balance(Z_P, Z_Q, 6)

    assert projection.order == 3
    assert np.allclose(projection.left.T @ projection.right, np.eye(3), atol=1e-12)


def test_a_batch_equals_a_loop():
    Z_P, Z_Q = factors(batch=(2, 3))

    together = balance(Z_P, Z_Q, 4)

    for index in np.ndindex(2, 3):
        alone = balance(Z_P[index], Z_Q[index], 4)
        assert np.allclose(together.hsv[index], alone.hsv, rtol=1e-12)
        assert np.allclose(
            together.right[index] @ adjoint(together.left[index]), alone.right @ alone.left.T, atol=1e-10
        )


def test_an_empty_batch_gives_an_empty_projection():
    assert balance(*factors(batch=(0,)), 2).left.shape == (0, 6, 2)


def test_a_member_without_rank_is_refused():
    Z_P, Z_Q = factors(batch=(2,))
    Z_P[1, :, 2:] = 0

    with pytest.raises(OrderError, match="got 2 in one member of the batch"):
        balance(Z_P, Z_Q, 4)


def test_a_map_that_is_zero_cannot_be_balanced():
    Z_P, Z_Q = factors()

    with pytest.raises(OrderError, match="does not reach the output"):
        balance(0 * Z_P, Z_Q, 1)


def test_float32_factors_are_worked_on_in_double():
    Z_P, Z_Q = factors().astype(np.float32)

    projection = balance(Z_P, Z_Q, 3)

    assert projection.left.dtype == projection.hsv.dtype == np.float64
    assert np.array_equal(projection.hsv, balance(Z_P.astype(float), Z_Q.astype(float), 3).hsv)


def test_nan_is_refused_and_inputs_stay_as_they_are():
    Z_P, Z_Q = factors()
    Z_P[0, 0] = np.nan
    before = Z_P.copy()

    with pytest.raises(NonFiniteError, match="NaN"):
        balance(Z_P, Z_Q, 2)
    assert np.array_equal(Z_P, before, equal_nan=True)


def test_torch_in_torch_out():
    torch = pytest.importorskip("torch")
    Z_P, Z_Q = factors(complex_=True, batch=(2,))

    ours, theirs = balance(Z_P, Z_Q, 3), balance(torch.asarray(Z_P), torch.asarray(Z_Q), Energy(0.5))

    assert isinstance(theirs.left, torch.Tensor)
    assert np.allclose(theirs.hsv.numpy(), ours.hsv, rtol=1e-12)


def test_strict_arrays_will_do():
    xp = pytest.importorskip("array_api_strict")
    Z_P, Z_Q = factors(complex_=True)

    projection = balance(xp.asarray(Z_P), xp.asarray(Z_Q), Energy(0.7))

    assert np.allclose(np.asarray(projection.hsv), balance(Z_P, Z_Q, 1).hsv)


def test_projecting_on_everything_changes_nothing(system, points):
    basis = np.linalg.qr(np.random.default_rng(0).standard_normal((system.order, system.order)))[0]

    same = project(system, basis, basis)

    s = points(system.dt)
    assert np.allclose(same.transfer_function(s), system.transfer_function(s), rtol=1e-9, atol=1e-9)


def test_a_paired_system_is_projected_as_the_real_one(make_system):
    system = make_system("paired")
    left, right = np.random.default_rng(0).standard_normal((2, system.order, 3))

    ours, dense = project(system, left, right), project(system.to_dense(), left, right)

    for name in "ABCD":
        assert np.isrealobj(getattr(ours, name))
        assert np.allclose(getattr(ours, name), getattr(dense, name), atol=1e-12)


def test_bases_of_the_wrong_height_are_refused(make_system):
    with pytest.raises(ShapeError, match=r"\(\.\.\., 16, r\)"):
        project(make_system("paired"), np.eye(8), np.eye(8))


def factors_with(spectrum, n=40, seed=0):
    """Factors whose product has the given singular values, in bases that are far from orthogonal."""
    rng = np.random.default_rng(seed)
    U, V, T = (np.linalg.qr(rng.standard_normal((n, n)))[0] for _ in range(3))
    T = T * np.logspace(0, 3, n)
    return T @ V * spectrum, np.linalg.inv(T).T @ U  # Z_Qᵀ Z_P = Uᵀ V Σ


@pytest.mark.parametrize("smallest", [-3, -5, -7, -12])
def test_the_eigh_driver_finds_the_same_projection(smallest):
    Z_P, Z_Q = factors_with(np.logspace(0, smallest, 40))

    exact, quick = (balance(Z_P, Z_Q, 12, driver=driver) for driver in ("svd", "eigh"))

    np.testing.assert_allclose(quick.hsv[:12], exact.hsv[:12], rtol=1e-9)
    for above, rtol in ((1e-5, 1e-5), (2e-7, 1e-2)):
        large = exact.hsv > above
        np.testing.assert_allclose(quick.hsv[large], exact.hsv[large], rtol=rtol)
    assert np.all(quick.hsv[~large] < 4e-7)
    np.testing.assert_allclose(quick.left.T @ quick.right, np.eye(12), atol=1e-10)
    np.testing.assert_allclose(quick.right @ quick.left.T, exact.right @ exact.left.T, atol=1e-5 * np.abs(Z_P).max())


def test_the_eigh_driver_gives_way_where_small_values_are_kept():
    Z_P, Z_Q = factors_with(np.logspace(0, -9, 40))

    quick = balance(Z_P, Z_Q, 38, driver="eigh")

    np.testing.assert_allclose(quick.hsv[:38], np.logspace(0, -9, 40)[:38], rtol=1e-5)


def test_large_factors_give_the_same_projection_by_either_driver():
    Z_P, Z_Q = factors_with(np.logspace(0, -4, 300), n=300)

    exact, quick = (balance(Z_P, Z_Q, 30, driver=driver) for driver in ("svd", "eigh"))

    np.testing.assert_allclose(quick.hsv, exact.hsv, rtol=1e-6)
    np.testing.assert_allclose(quick.left.T @ quick.right, np.eye(30), atol=1e-10)
    np.testing.assert_allclose(quick.right @ quick.left.T, exact.right @ exact.left.T, atol=1e-6 * np.abs(Z_P).max())


def test_a_driver_that_does_not_exist_is_refused():
    with pytest.raises(BalanceError, match="'svd' or 'eigh'"):
        balance(np.eye(2), np.eye(2), 1, driver="qr")
