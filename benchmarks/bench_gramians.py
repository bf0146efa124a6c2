"""Whole tasks: the Hankel singular values of a system, and both of its Gramians; accuracy beside speed.

Ours (`gramian_factors` by `Cauchy`, and what `ssm_balance.hankel_singular_values` does without being told; one
factorisation for both Gramians, and two calls) against python-control, pyMOR, slycot and the textbook's eig(P Q) on
SciPy's Gramians. `digits` are the correct decimal digits
of the worst of *all* Hankel singular values against mpmath, `six_digits` how many have at least six; `residual` is the
worse of the two equations'. Peers get the dense real system, ours the diagonal one where it is diagonal.
"""

from __future__ import annotations

import warnings

import mpmath
import numpy as np
import pytest
from peers import hankel

import ssm_gramians as sg
from ssm_balance import hankel_singular_values


def random_maps(n, kind):
    """One input and one output, drawn."""
    rng = np.random.default_rng(n)
    B, C = rng.standard_normal((n, 1)), rng.standard_normal((1, n))
    if kind is complex:
        B, C = B + 1j * rng.standard_normal((n, 1)), C + 1j * rng.standard_normal((1, n))
    return B, C


def s4d_real(n):
    """Decay rates 1, 2, ..., n."""
    return sg.StateSpace(sg.Diagonal(-np.arange(1.0, n + 1)), *random_maps(n, float))


def log_spaced(n):
    """Decay rates over six decades."""
    return sg.StateSpace(sg.Diagonal(-np.logspace(-3, 3, n)), *random_maps(n, float))


def s4d_inv(n):
    """N modes of S4D-Inv, and their conjugates."""
    slots = -0.5 + 1j * n / np.pi * (n / (2 * np.arange(n) + 1) - 1)
    return sg.StateSpace(sg.Diagonal(slots, paired=True), *random_maps(n, complex))


def lru_ring(n):
    """N modes next to the unit circle, as an LRU starts with, and their conjugates."""
    rng = np.random.default_rng(1)
    slots = rng.uniform(0.9, 0.999, n) * np.exp(1j * np.pi / 10 * rng.uniform(size=n))
    return sg.StateSpace(sg.Diagonal(slots, paired=True), *random_maps(n, complex), dt=1.0)


def exact_values(system, decimals=400):
    """Square roots of the eigenvalues of Lᴴ Q L with P = L Lᴴ, all of it in mpmath, from the modes and conjugates."""
    paired = system.A.paired
    modes, B, C = system.A.eigenvalues, system.B, system.C
    if paired:
        modes, B, C = (np.concatenate((M, M.conj()), axis) for M, axis in ((modes, 0), (B, 0), (C, 1)))
    n = len(modes)
    with mpmath.workdps(decimals):
        lam, b, c = ([mpmath.mpmathify(x) for x in M.ravel().tolist()] for M in (modes, B, C))
        bar = mpmath.conj

        def weight(x, y):
            return 1 / (1 - x * bar(y)) if system.is_discrete else -1 / (x + bar(y))

        P = mpmath.matrix(n, n)
        Q = mpmath.matrix(n, n)
        for i in range(n):
            for j in range(n):
                P[i, j] = b[i] * bar(b[j]) * weight(lam[i], lam[j])
                Q[i, j] = bar(c[i]) * c[j] * weight(bar(lam[i]), bar(lam[j]))
        L = mpmath.cholesky(P)
        squares = mpmath.eighe(L.H * Q * L, eigvals_only=True)
        return np.array(sorted((float(mpmath.sqrt(abs(x))) for x in squares), reverse=True))


def digits(got, wanted):
    """Correct decimal digits of each value; a peer that returns fewer values has none for the rest."""
    got = np.concatenate((got, np.zeros(max(0, len(wanted) - len(got)))))[: len(wanted)]
    error = np.abs(np.sort(got)[::-1] / wanted - 1)
    return np.clip(-np.log10(np.maximum(error, 1e-17)), 0, 16) + 0.0  # no -0


def residual(equation, X):
    """Norm of the sum of the terms over the sum of their norms."""
    terms = equation.terms(X)
    return np.linalg.norm(sum(terms)) / sum(np.linalg.norm(term) for term in terms)


SYSTEMS = {
    "S4D-Real, order 16": lambda: s4d_real(16),
    "S4D-Inv, order 32": lambda: s4d_inv(16),
    "log-spaced, order 32": lambda: log_spaced(32),
    "LRU ring, order 32": lambda: lru_ring(16),
}


@pytest.mark.parametrize("name", SYSTEMS)
def test_hankel_singular_values(race, name):
    """All Hankel singular values of a diagonal system, down to the smallest."""
    system = SYSTEMS[name]()
    wanted, real = exact_values(system), system.to_dense()
    peers = {"eig(PQ)": hankel.eigenvalues_of_pq, "pyMOR": hankel.pymor(), "slycot": hankel.slycot()}
    if not system.is_discrete:
        peers["python-control"] = hankel.python_control()

    def from_accurate_factors():
        Z_P, Z_Q = sg.gramian_factors(system, solver=sg.Cauchy())
        return np.linalg.svd(Z_Q.conj().T @ Z_P, compute_uv=False)

    contestants = {"ours": from_accurate_factors, "ours, default": lambda: hankel_singular_values(system)}
    contestants |= {
        label: peer and (lambda peer=peer: peer(real.A, real.B, real.C, system.is_discrete))
        for label, peer in peers.items()
    }
    facts = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for label, call in contestants.items():
            if call:
                right = digits(np.asarray(call(), dtype=float), wanted)
                facts[label] = {
                    "digits": round(float(right.min()), 1),
                    "six_digits": f"{(right >= 6).sum()}/{len(wanted)}",
                }
        race(f"Hankel singular values, {name}", contestants, facts, rounds=15)


@pytest.mark.parametrize("n", [50, 200])
@pytest.mark.parametrize("discrete", [False, True], ids=["continuous", "discrete"])
def test_both_gramians(race, n, discrete):
    """Both Gramians of a dense system with a mild spectrum."""
    rng = np.random.default_rng(n)
    A = rng.standard_normal((n, n))
    A = 0.9 * A / np.abs(np.linalg.eigvals(A)).max() - (0 if discrete else 1.5) * np.eye(n)
    B, C = rng.standard_normal((n, 3)), rng.standard_normal((2, n))
    system, kind = sg.StateSpace(A, B, C, dt=float(discrete)), sg.Stein if discrete else sg.Lyapunov

    def held():
        once = sg.factor(kind(A))
        return once.solve(B @ B.T).unwrap(), once.solve_adjoint(C.T @ C).unwrap()

    contestants = {
        "ours": held,
        "ours, two calls": lambda: (sg.controllability_gramian(system), sg.observability_gramian(system)),
        "SciPy": lambda: hankel.scipy_gramians(A, B, C, discrete),
        "pyMOR": hankel.pymor_gramians(A, B, C, discrete),
        "slycot": hankel.slycot_gramians(A, B, C, discrete),
    }
    facts = {}
    for label, call in contestants.items():
        if call:
            P, Q = call()
            both = (residual(kind(A, B @ B.T), P), residual(kind(A.T, C.T @ C), Q))
            facts[label] = {"residual": float(max(both))}
            assert facts[label]["residual"] < 1e-11
    time = "discrete" if discrete else "continuous"
    race(f"both Gramians, dense, {time}, n={n}", contestants, facts, rounds=9, loops=10 if n == 50 else 1)
