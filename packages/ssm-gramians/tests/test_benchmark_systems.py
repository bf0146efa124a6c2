"""SLICOT's benchmark examples and the steel rail, where SSM_ZOO_DATA names a folder that has them.

The SLICOT files bring Hankel singular values computed by others; singular E must be refused.
"""

import os
from pathlib import Path

import numpy as np
import pytest
from scipy import sparse

import ssm_gramians as sg

DATA = Path(os.environ.get("SSM_ZOO_DATA", "nowhere"))
pytestmark = pytest.mark.skipif(not (DATA / "slicot").is_dir(), reason="SSM_ZOO_DATA names no folder with slicot/")
EPS = np.finfo(float).eps


def load(name):
    """Return the matrices of a file, sparse ones as SciPy's, and B, C, the Hankel singular values where it has them."""
    if not (DATA / f"{name}.npz").exists():
        pytest.skip(f"{name}.npz is not there")
    with np.load(DATA / f"{name}.npz") as file:
        found = dict(file)
    for letter in "AE":
        if f"{letter}_data" in found:
            parts = [found[f"{letter}_{part}"] for part in ("data", "indices", "indptr")]
            found[letter] = sparse.csc_array(tuple(parts), shape=tuple(found[f"{letter}_shape"]))
    found.setdefault("C", found["B"].T)
    return found


def dense(M):
    return M.toarray() if sparse.issparse(M) else M


def backward_error(A, B, X, E=None, *, discrete):
    E = np.eye(len(A)) if E is None else E
    a, e, x, q = (np.linalg.norm(M) for M in (A, E, X, B @ B.T))
    rest = A @ X @ A.T - E @ X @ E.T if discrete else A @ X @ E.T + E @ X @ A.T
    return np.linalg.norm(rest + B @ B.T) / ((a * a + e * e if discrete else 2 * a * e) * x + q)


@pytest.mark.parametrize("name", ["build", "pde", "heat-cont", "random"])
def test_both_gramians_solve_their_equations(name):
    found = load(f"slicot/{name}")
    A, B, C = dense(found["A"]), found["B"], found["C"]
    system = sg.StateSpace(A, B, C)

    P, Q = sg.controllability_gramian(system), sg.observability_gramian(system)

    assert backward_error(A, B, P, discrete=False) < 10 * EPS
    assert backward_error(A.T, C.T, Q, discrete=False) < 10 * EPS


@pytest.mark.parametrize(("name", "floor"), [("build", 1e-10), ("pde", 1e-8), ("heat-cont", 1e-8)])
def test_hankel_singular_values_are_those_of_the_file(name, floor):
    found = load(f"slicot/{name}")
    wanted = np.sort(found["hsv"].ravel())[::-1]

    Z_P, Z_Q = sg.gramian_factors(sg.StateSpace(dense(found["A"]), found["B"], found["C"]))

    got = np.linalg.svd(Z_Q.T @ Z_P, compute_uv=False)[: len(wanted)]
    large = wanted > floor * wanted[0]  # below it the values of the file are noise
    assert np.max(np.abs(got[large[: len(got)]] / wanted[large] - 1)) < 1e-6


def test_a_discrete_system_with_e_has_the_hankel_singular_values_of_the_file():
    found = load("slicot/heat-disc")
    A, E, B, C = dense(found["A"]), dense(found["E"]), found["B"], found["C"]
    wanted = np.sort(found["hsv"].ravel())[::-1]

    held = sg.factor(sg.Stein(A, E=E))
    Z_P, Z_Q = held.solve(sg.Gram(B)).unwrap().Z, held.solve_adjoint(sg.Gram(C.T)).unwrap().Z

    got = np.linalg.svd(Z_Q.T @ E @ Z_P, compute_uv=False)
    large = wanted > 1e-6 * wanted[0]
    assert backward_error(A, B, Z_P @ Z_P.T, E, discrete=True) < 100 * EPS
    assert np.max(np.abs(got[: large.sum()] / wanted[large] - 1)) < 1e-5


@pytest.mark.parametrize("name", ["peec", "MNA_1"])
def test_a_singular_e_is_refused_by_the_status(name):
    found = load(f"slicot/{name}")
    B = found["B"].astype(float)

    solution = sg.solve(sg.Lyapunov(dense(found["A"]), B @ B.T, dense(found["E"])))

    assert not solution.converged
    with pytest.raises((sg.SingularEquationError, sg.ConvergenceError)):
        solution.unwrap()


@pytest.mark.parametrize("name", ["rail_371", "rail_1357"])
def test_the_rail_has_a_thin_factor(name):
    found = load(f"rail/{name}")

    solution = sg.solve(sg.Lyapunov(found["A"], sg.Gram(np.asarray(found["B"], float)), found["E"]), sg.LowRankADI())

    assert solution.converged
    assert float(solution.residual) < 1e-9
    assert solution.value.rank < found["A"].shape[0]


@pytest.mark.parametrize("solver", [None, sg.LowRankADI(), sg.RationalKrylov()], ids=str)
def test_the_factor_of_the_smallest_rail_is_that_of_the_direct_method(solver):
    found = load("rail/rail_109")
    B = np.asarray(found["B"], float)
    exact = sg.solve(sg.Lyapunov(dense(found["A"]), B @ B.T, dense(found["E"]))).unwrap()

    X = sg.solve(sg.Lyapunov(found["A"], sg.Gram(B), found["E"]), solver).unwrap().to_dense()

    assert np.linalg.norm(X - exact) < 1e-7 * np.linalg.norm(exact)
