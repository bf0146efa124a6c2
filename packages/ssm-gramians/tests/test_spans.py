"""Horizons and bands reach every kind of Gramian, factors and systems with E included."""

import numpy as np
import pytest

from ssm_gramians import StateSpace, controllability_gramian, gramian_factors, observability_gramian

SPANS = {
    "all": {},
    "horizon": {"horizon": 3},
    "average": {"horizon": 3, "average": True},
    "band": {"band": (0.2, 1.5)},
}


@pytest.fixture(params=[0.0, 0.5], ids=["continuous", "discrete"])
def descriptor(request, rng):
    """Return a system with E, and E."""
    n = 6
    E, drift = np.eye(n) + 0.2 * rng.normal(size=(n, n)), rng.normal(size=(n, n))
    A = drift / (1.4 * np.linalg.norm(drift, 2)) - (0 if request.param else np.eye(n))
    return StateSpace(E @ A, rng.normal(size=(n, 2)), rng.normal(size=(2, n)), None, request.param, E)


@pytest.mark.parametrize("span", SPANS.values(), ids=SPANS)
def test_factors_are_those_of_the_gramians(descriptor, span):
    Z_P, Z_Q = gramian_factors(descriptor, **span)

    np.testing.assert_allclose(Z_P @ Z_P.T, controllability_gramian(descriptor, **span), atol=1e-11)
    np.testing.assert_allclose(Z_Q @ Z_Q.T, observability_gramian(descriptor, **span), atol=1e-11)


@pytest.mark.parametrize("span", SPANS.values(), ids=SPANS)
def test_gramians_with_e_are_those_of_the_divided_system(descriptor, span):
    E = descriptor.E
    divided = StateSpace(
        np.linalg.solve(E, descriptor.A), np.linalg.solve(E, descriptor.B), descriptor.C, None, descriptor.dt
    )

    P, Q = controllability_gramian(descriptor, **span), observability_gramian(descriptor, **span)

    np.testing.assert_allclose(P, controllability_gramian(divided, **span), atol=1e-11)
    np.testing.assert_allclose(E.T @ Q @ E, observability_gramian(divided, **span), atol=1e-11)
