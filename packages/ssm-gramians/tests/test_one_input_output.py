"""One input and one output: both factors of a diagonal system come from one elimination."""

import numpy as np
import pytest

import ssm_gramians as sg


def system(kind, discrete, batch, n=8, seed=0):
    rng = np.random.default_rng(seed)
    radius = rng.uniform(0.3, 0.99, (*batch, n))
    values = radius * np.where(rng.random(n) < 0.5, -1, 1) if kind == "real" else radius * np.exp(1j * 3 * radius)
    if kind == "real slots":
        values[..., :3] = values[..., :3].real
    values = values if discrete else (values - 1) / (values + 1)
    b, c = rng.standard_normal((2, *batch, n)) * 10.0 ** rng.uniform(-3, 3, (2, *batch, n))
    if kind != "real":
        b, c = b * np.exp(1j * rng.uniform(0, 6, n)), c * np.exp(1j * rng.uniform(0, 6, n))
    A = sg.Diagonal(values, kind != "real")
    return sg.StateSpace(A, b[..., None], c[..., None, :], dt=1.0 if discrete else 0.0)


@pytest.mark.parametrize("backend", sorted({"scipy", "numba"} & set(sg.available_backends())))
@pytest.mark.parametrize("batch", [(), (3,), (2, 2)])
@pytest.mark.parametrize("discrete", [False, True])
@pytest.mark.parametrize("kind", ["real", "slots", "real slots"])
def test_both_factors_are_those_of_the_gramians(kind, discrete, batch, backend):
    S = system(kind, discrete, batch)

    Z_P, Z_Q = sg.gramian_factors(S, backend=backend)

    for Z, X in ((Z_P, sg.controllability_gramian(S)), (Z_Q, sg.observability_gramian(S))):
        size = np.sqrt(np.linalg.diagonal(X))
        assert np.max(np.abs(Z @ Z.mT - X) / size[..., :, None] / size[..., None, :]) < 1e-12


def test_a_mode_that_is_not_reached_is_no_obstacle():
    S = system("slots", True, ())
    B = S.B.copy()
    B[2] = 0

    Z_P, Z_Q = sg.gramian_factors(sg.StateSpace(S.A, B, S.C, dt=1.0))

    assert np.all(Z_P[[2, 10]] == 0)
    assert np.linalg.norm(Z_Q[2]) > 0


def test_inputs_stay_as_they_are():
    S = system("slots", True, (2,))
    before = [M.copy() for M in (S.A.eigenvalues, S.B, S.C)]

    sg.gramian_factors(S)

    assert all(np.array_equal(M, old) for M, old in zip((S.A.eigenvalues, S.B, S.C), before, strict=True))
