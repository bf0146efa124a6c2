"""Every backend against every other one, on one problem set: `nox -s "cross_backend(scipy-torch)"` runs one pair.

The problems are harder than those of the conformance suite and have no known answer: what counts is that two
implementations, on arrays of two libraries, find the same.
"""

import itertools
from functools import cache

import array_api_strict
import numpy as np
import pytest
import torch

import ssm_gramians as sg
from ssm_gramians.testing import as_numpy, dense_of
from ssm_gramians.testing.problems import convert


def cuda_array(array):
    import cupy

    return cupy.asarray(array)


MAKERS = {
    "array": array_api_strict.asarray,
    "cupy": cuda_array,
    "numba": np.array,
    "scipy": np.array,
    "slycot": np.array,
    "torch": torch.tensor,
}
NAMES = sorted(set(sg.available_backends()) & MAKERS.keys())
PAIRS = list(itertools.combinations(NAMES, 2))
KINDS = ("float32", "float64", "complex64", "complex128")


@cache
def equations(kind):
    """Return equations by name, each with an estimate of its condition, in NumPy arrays of this dtype."""
    rng = np.random.default_rng(4)

    def draw(*shape):
        values = rng.standard_normal(shape) + (1j * rng.standard_normal(shape) if "complex" in kind else 0)
        return values.astype(kind)

    A, B, E = draw(2, 7, 7), draw(2, 7, 2), draw(2, 7, 7)
    A = 0.95 * A / np.abs(np.linalg.eigvals(A)).max(-1)[:, None, None]
    A = A.astype(kind)
    E = (np.eye(7) + E / (3 * np.linalg.norm(E, 2, axis=(-2, -1), keepdims=True))).astype(kind)
    eye = np.eye(7, dtype=kind)
    Q = B @ B.conj().swapaxes(-1, -2)
    drift, wide = A - eye, draw(2, 7, 3)
    W = draw(2, 3, 3) - 4 * np.eye(3, dtype=kind)
    modes = draw(2, 4)
    modes = (0.97 * modes / (0.2 + np.abs(modes))).astype(kind)
    found = {
        "stein": sg.Stein(A, Q),
        "stein with E": sg.Stein(E @ A, Q, E),
        "stein, gram": sg.Stein(A, sg.Gram(B)),
        "stein, gram, with E": sg.Stein(E @ A, sg.Gram(B), E),
        "lyapunov": sg.Lyapunov(drift, Q),
        "lyapunov with E": sg.Lyapunov(E @ drift, Q, E),
        "lyapunov, gram": sg.Lyapunov(drift, sg.Gram(B)),
        "sylvester": sg.Sylvester(drift, W, wide),
        "sylvester with E and F": sg.Sylvester(E @ drift, W, wide, E, np.eye(3, dtype=kind) + W / 20),
        "stein, diagonal": sg.Stein(sg.Diagonal(modes), draw(2, 4, 4)),
        "lyapunov, diagonal": sg.Lyapunov(sg.Diagonal(modes - 1), draw(2, 4, 4)),
        "stein, diagonal, gram": sg.Stein(sg.Diagonal(modes), sg.Gram(draw(2, 4, 1))),
    }
    if "complex" in kind:
        right = draw(2, 8, 8).real
        found["stein, paired"] = sg.Stein(sg.Diagonal(modes, paired=True), right)
        found["lyapunov, paired"] = sg.Lyapunov(sg.Diagonal(modes - 1, paired=True), right)
        found["stein, paired, gram"] = sg.Stein(sg.Diagonal(modes, paired=True), sg.Gram(right[..., :1]))
    return {name: (equation, condition(equation)) for name, equation in found.items()}


def condition(equation):
    """Return the largest ratio of singular values of the operator, from its matrix in double precision."""

    def double(array):
        return array.astype(np.result_type(array.dtype, np.float64))

    operator = convert(equation.with_right_side(None), double).to_dense()
    n, m = equation.shape
    basis = np.eye(n * m).reshape(n * m, 1, n, m)  # the images of all unit matrices, for each of the two systems
    images = sum(operator.with_right_side(np.zeros((n, m))).terms(basis)[:2])
    sizes = np.linalg.svd(images.reshape(n * m, 2, n * m).swapaxes(0, 1), compute_uv=False)
    return float(np.max(sizes[:, 0] / sizes[:, -1]))


@cache
def answer(backend, kind, name):
    equation, _ = equations(kind)[name]
    solution = sg.solve(convert(equation, MAKERS[backend]), backend=backend)
    assert solution.converged, (backend, name, solution.status)
    return as_numpy(dense_of(solution.value))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("a", "b"), PAIRS, ids=["-".join(pair) for pair in PAIRS])
def test_two_backends_find_the_same(a, b, kind):
    for name, (_, cond) in equations(kind).items():
        left, right = answer(a, kind, name), answer(b, kind, name)

        error = np.linalg.norm(left - right, axis=(-2, -1)) / np.linalg.norm(right, axis=(-2, -1))

        assert left.dtype == right.dtype, name
        assert error.max() <= 20 * cond * np.finfo(kind).eps, name


@pytest.mark.parametrize("kind", ["float64", "complex128"])
@pytest.mark.parametrize(("a", "b"), PAIRS, ids=["-".join(pair) for pair in PAIRS])
def test_two_backends_find_the_same_hankel_singular_values(a, b, kind):
    system = sg.StateSpace(*(matrix.astype(kind) for matrix in _system(kind)), dt=1.0)

    values = [_hankel_singular_values(system, name) for name in (a, b)]

    assert np.allclose(*values, rtol=1e-9, atol=1e-13 * values[0].max())


def _system(kind):
    equation, _ = equations(kind)["stein, gram"]
    A, B = equation.A, equation.Q.Z
    return A, B, B.conj().swapaxes(-1, -2)[:, :1, :]


def _hankel_singular_values(system, name):
    moved = sg.StateSpace(*(MAKERS[name](M) for M in (system.A, system.B, system.C)), dt=1.0)
    Z_P, Z_Q = (as_numpy(Z) for Z in sg.gramian_factors(moved, backend=name))
    return np.linalg.svd(Z_Q.conj().swapaxes(-1, -2) @ Z_P, compute_uv=False)
