"""One dense equation: the full solution, the factor, with E, in discrete time; residuals beside speed.

Ours is the public call, with every check that it makes. Peers are SciPy, slycot (SB03MD, SB03OD, SG03AD),
python-control and pyMOR. The systems are SLICOT's examples where SSM_ZOO_DATA names a folder that has them, HiPPO-LegS
and random ones.
"""

from __future__ import annotations

import os
import warnings
from pathlib import Path

import numpy as np
import pytest
from peers import lyapunov as peers

import ssm_gramians as sg

DATA = Path(os.environ.get("SSM_ZOO_DATA", "nowhere")) / "slicot"


def legs(n=256):
    """HiPPO-LegS, lower triangular."""
    k = np.arange(n)
    root = np.sqrt(2 * k + 1.0)
    return -np.tril(np.outer(root, root), -1) - np.diag(k + 1.0), root[:, None]


def drawn(n):
    """Draw a well-conditioned system with three inputs."""
    rng = np.random.default_rng(n)
    return rng.standard_normal((n, n)) / np.sqrt(n) - 1.5 * np.eye(n), rng.standard_normal((n, 3))


def slicot(name):
    """One of SLICOT's examples, dense."""
    with np.load(DATA / f"{name}.npz") as found:
        return tuple(_dense(found, key) for key in "AB")


def _dense(found, key):
    if key in found:
        return np.ascontiguousarray(found[key], dtype=float)
    from scipy import sparse

    parts = tuple(found[f"{key}_{part}"] for part in ("data", "indices", "indptr"))
    return sparse.csc_matrix(parts, shape=found[f"{key}_shape"]).toarray().astype(float)


def systems():
    """Name each system; those that need files only if there are any."""
    found = {f"random {n}": lambda n=n: drawn(n) for n in (50, 100, 200, 400)} | {"LegS 256": legs}
    if DATA.is_dir():
        found |= {name: lambda name=name: slicot(name) for name in ("build", "pde", "heat-cont", "random", "fom")}
    return found


SYSTEMS = systems()


def facts(equation, contestants, make=lambda X: X):
    """Return the relative residual of each contestant."""
    found = {}
    for name, call in contestants.items():
        if call is not None:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                X = make(call())
            found[name] = {"residual": float(sg.Solution(X, sg.Status.CONVERGED, equation).residual)}
    return found


def bound(run, *arguments):
    """Return the call, or None where the peer is not installed."""
    return None if run is None else lambda: run(*arguments)


@pytest.mark.parametrize("name", SYSTEMS)
def test_full(race, name):
    """Race for X."""
    A, B = SYSTEMS[name]()
    Q = B @ B.T
    contestants = {
        "ours": lambda: sg.solve_continuous_lyapunov(A, -Q),
        "ours, Bartels-Stewart": lambda: sg.solve(sg.Lyapunov(A, Q), sg.BartelsStewart()).unwrap(),
        "SciPy": lambda: peers.scipy_full(A, B),
        "slycot": bound(peers.slycot_full(), A, B),
        "python-control": bound(peers.python_control(), A, B),
        "pyMOR": bound(peers.pymor(), A, B),
    }
    rounds = 3 if len(A) > 500 else 11
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        race(f"Lyapunov, dense, {name}", contestants, facts(sg.Lyapunov(A, Q), contestants), rounds=rounds)


@pytest.mark.parametrize("name", SYSTEMS)
def test_factor(race, name):
    """Race for Z with X = Z Zᵀ."""
    A, B = SYSTEMS[name]()
    equation = sg.Lyapunov(A, sg.Gram(B))
    native = "slycot" if "slycot" in sg.available_backends() else None
    contestants = {
        "ours": lambda: sg.solve(equation, sg.Hammarling(native=False)).unwrap().Z,
        "ours on slycot": None if native is None else lambda: sg.solve(equation, sg.Hammarling(), native).unwrap().Z,
        "slycot": bound(peers.slycot_factor(), A, B),
    }
    found = facts(sg.Lyapunov(A, B @ B.T), contestants, lambda Z: Z @ Z.T)
    race(f"Lyapunov, factor, {name}", contestants, found, rounds=3 if len(A) > 500 else 11)


@pytest.mark.parametrize("n", [50, 100, 200, 400])
def test_stein(race, n):
    """Race in discrete time."""
    A, B = drawn(n)
    A = (A + 1.5 * np.eye(n)) * 0.9
    Q = B @ B.T
    contestants = {
        "ours": lambda: sg.solve_discrete_lyapunov(A, Q),
        "ours, Bartels-Stewart": lambda: sg.solve(sg.Stein(A, Q), sg.BartelsStewart()).unwrap(),
        "SciPy": lambda: peers.scipy_full(A, B, discrete=True),
        "slycot": bound(peers.slycot_full(), A, B, True),
        "pyMOR": bound(peers.pymor(), A, B, True),
    }
    race(f"Stein, dense, random {n}", contestants, facts(sg.Stein(A, Q), contestants))


@pytest.mark.parametrize("n", [50, 100, 200])
def test_generalised(race, n):
    """Race with E."""
    A, B = drawn(n)
    rng = np.random.default_rng(1)
    E = np.eye(n) + rng.standard_normal((n, n)) / (3 * np.sqrt(n))
    Q = B @ B.T
    equation = sg.Lyapunov(A, Q, E)
    contestants = {
        "ours": lambda: sg.solve(equation).unwrap(),
        "ours, Bartels-Stewart": lambda: sg.solve(equation, sg.BartelsStewart()).unwrap(),
        "slycot": bound(peers.slycot_generalised(), A, E, Q),
    }
    race(f"Lyapunov with E, dense, random {n}", contestants, facts(equation, contestants))
