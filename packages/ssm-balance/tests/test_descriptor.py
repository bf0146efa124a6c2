"""Systems with E: the same map as with E divided out, and a refusal where E is singular."""

import numpy as np
import pytest

from ssm_balance import SingularDescriptorError, balanced_truncation, difference, hankel_singular_values, hinf_norm
from ssm_gramians import StateSpace


@pytest.fixture
def rng():
    return np.random.default_rng(5)


@pytest.fixture(params=[0.0, 0.5], ids=["continuous", "discrete"])
def pair(request, rng):
    """Return a system with E, and the same one without."""
    n = 9
    E = np.eye(n) + 0.3 * rng.normal(size=(n, n))
    drift = rng.normal(size=(n, n))
    A = drift / (1.3 * np.linalg.norm(drift, 2)) - (0 if request.param else 1.5 * np.eye(n))
    B, C = rng.normal(size=(n, 2)), rng.normal(size=(3, n))
    return StateSpace(E @ A, E @ B, C, None, request.param, E), StateSpace(A, B, C, None, request.param)


def test_hankel_singular_values_are_those_of_the_map(pair):
    held, divided = pair
    np.testing.assert_allclose(hankel_singular_values(held), hankel_singular_values(divided), rtol=1e-9)


@pytest.mark.parametrize("balancing_free", [False, True])
def test_the_reduced_map_is_the_same(pair, balancing_free):
    held, divided = pair

    first = balanced_truncation(held, 4, balancing_free=balancing_free)
    second = balanced_truncation(divided, 4)

    np.testing.assert_allclose(np.conj(first.left).T @ held.E @ first.right, np.eye(4), atol=1e-10)
    assert hinf_norm(difference(first.system, second.system)) < 1e-9 * hinf_norm(divided)
    assert hinf_norm(difference(held, first.system)) <= first.error_bound * (1 + 1e-9)


def test_balancing_free_bases_are_orthonormal_on_the_right(pair):
    reduction = balanced_truncation(pair[1], 4, balancing_free=True)
    np.testing.assert_allclose(reduction.right.T @ reduction.right, np.eye(4), atol=1e-12)


def test_a_singular_descriptor_is_refused_with_its_singular_value():
    system = StateSpace(-np.eye(2), np.ones((2, 1)), np.ones((1, 2)), None, 0.0, np.diag([1.0, 0.0]))
    with pytest.raises(SingularDescriptorError, match=r"smallest singular value is 0\.0e\+00"):
        balanced_truncation(system, 1)
