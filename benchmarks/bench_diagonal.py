"""Diagonal systems: one factor of a million modes, Hankel singular values, and the closed form of many small Gramians.

Peers: pyMOR's low-rank ADI with a sparse diagonal A, NumPy's broadcasting, and eig(P Q). Beside the time stand the
columns and the relative trace that is left, which is the same for both by choice of tolerance.
"""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse
from peers import lowrank

import ssm_gramians as sg

MILLION = 10**6


def left(Z, weights):
    """Return the relative trace that a factor leaves; weights are the diagonal of the Gramian."""
    return float(1 - np.linalg.norm(Z) ** 2 / np.sum(weights))


def test_one_factor_of_a_million_modes(race):
    """Real modes, four decades of time constants, trace error 1e-12."""
    rates, b = np.logspace(-2, 2, MILLION), np.random.default_rng(0).standard_normal((MILLION, 1))
    equation, sparse = sg.Lyapunov(sg.Diagonal(-rates), sg.Gram(b)), scipy.sparse.diags_array(-rates).tocsc()
    solver = sg.Cauchy(rtol=1e-12)

    def ours(backend):
        return sg.solve(equation, solver, backend).unwrap().Z

    contestants = {
        "ours": lambda: ours("numba"),
        "ours, scipy": lambda: ours("scipy"),
        "pyMOR": (lambda: lowrank.lradi(sparse, b, rtol=1e-12)) if lowrank.AVAILABLE else None,
    }
    facts = {}
    for name, call in contestants.items():
        if call:
            Z = call()
            facts[name] = {"columns": Z.shape[1], "trace_left": left(Z, b[:, 0] ** 2 / (2 * rates))}
            assert facts[name]["trace_left"] < 1e-11
            del Z
    race("one factor of a million real modes", contestants, facts, rounds=3)


@pytest.mark.parametrize("discrete", [False, True], ids=["continuous", "discrete"])
def test_the_closed_form_of_many_small_gramians(race, discrete):
    """1024 systems of 64 complex modes and one input."""
    rng = np.random.default_rng(1)
    a = rng.uniform(0.9, 0.99, (1024, 64)) * np.exp(1j * rng.uniform(0, 3, (1024, 64))) - (0 if discrete else 1)
    B = rng.standard_normal((1024, 64, 1)) + 1j * rng.standard_normal((1024, 64, 1))
    kernel, out = sg.get_backend("numba"), np.empty((1024, 64, 64), complex)

    def broadcasting():
        product = a[:, :, None] * a[:, None, :].conj() if discrete else a[:, :, None] + a[:, None, :].conj()
        return (B * B.conj().mT) / (1 - product if discrete else -product)

    contestants = {
        "ours": lambda: kernel.diagonal_gramian(a, B, discrete=discrete, out=out),
        "ours, fresh memory": lambda: kernel.diagonal_gramian(a, B, discrete=discrete),
        "NumPy broadcasting": broadcasting,
    }
    assert np.allclose(contestants["ours"](), broadcasting(), rtol=1e-9)
    time = "discrete" if discrete else "continuous"
    race(f"closed-form Gramians, 1024 x 64², {time}", contestants, rounds=15)


@pytest.mark.parametrize("inputs", [1, 3])
@pytest.mark.parametrize("n", [16, 64, 256])
def test_both_factors(race, n, inputs):
    """The factors whose product has all Hankel singular values right, against the closed form's Cholesky factors."""
    rng = np.random.default_rng(n)
    poles = rng.uniform(0.9, 0.999, n) * np.exp(1j * np.pi * rng.uniform(size=n))
    B, C = rng.standard_normal((n, inputs)) + 0j, rng.standard_normal((2, n)) + 0j
    system = sg.StateSpace(sg.Diagonal(poles), B, C, dt=1.0)
    contestants = {
        "ours": lambda: sg.gramian_factors(system, solver=sg.Cauchy(), backend="numba"),
        "ours, scipy": lambda: sg.gramian_factors(system, solver=sg.Cauchy(), backend="scipy"),
        "ours, closed form": lambda: sg.gramian_factors(system, solver=sg.ClosedForm(), backend="numba"),
    }
    race(f"both factors, {n} modes, {inputs} inputs", contestants, rounds=7)
