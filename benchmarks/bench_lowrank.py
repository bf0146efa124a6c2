"""Low-rank factors of large sparse Lyapunov equations, to a residual of 1e-10, against pyMOR's `lradi`.

The 2-D heat equation (five-point Laplacian, random inputs), heat carried by a flow (nonsymmetric), and the steel rail
(sparse E, 7 inputs; from the folder SSM_ZOO_DATA). Every factor is judged by one function: the Frobenius norm of its
residual, relative to that of B Bᵀ. pyMOR runs with its default and with its Wachspress shifts.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from peers import lowrank
from scipy import sparse

import ssm_gramians as sg

RAIL = Path(os.environ.get("SSM_ZOO_DATA", "nowhere")) / "rail"
SOLVERS = {
    "ours": sg.ExtendedKrylov(),
    "ours, ADI": sg.LowRankADI(),
    "ours, rational Krylov": sg.RationalKrylov(),
}


def heat(k):
    """Return the five-point Laplacian on a k x k grid."""
    T = sparse.diags_array([np.ones(k - 1), -2 * np.ones(k), np.ones(k - 1)], offsets=[-1, 0, 1]) * (k + 1) ** 2
    eye = sparse.eye_array(k)
    return sparse.csc_matrix(sparse.kron(T, eye) + sparse.kron(eye, T))


def transport(k, speed):
    """Return heat carried along both axes."""
    D = sparse.diags_array([-np.ones(k - 1), np.ones(k - 1)], offsets=[-1, 1]) * (k + 1) / 2
    eye = sparse.eye_array(k)
    return sparse.csc_matrix(heat(k) - speed * sparse.kron(D, eye) - 2 * speed * sparse.kron(eye, D))


def rail(n):
    """Return A, B, E of the steel rail."""
    with np.load(RAIL / f"rail_{n}.npz") as file:
        data = dict(file)
    E, A = (
        sparse.csc_matrix((data[f"{x}_data"], data[f"{x}_indices"], data[f"{x}_indptr"]), shape=data[f"{x}_shape"])
        for x in "EA"
    )
    return A, data["B"], E


def residual(A, B, E, Z):
    """Return the Frobenius norm of the residual over that of B Bᵀ, by a QR decomposition of all columns."""
    R = np.linalg.qr(np.hstack([A @ Z, Z if E is None else E @ Z, B]), mode="r")
    a, e, b = np.split(R, [Z.shape[1], 2 * Z.shape[1]], axis=1)
    return float(np.linalg.norm(a @ e.T + e @ a.T + b @ b.T) / np.linalg.norm(b @ b.T))


def compare(race, group, A, B, E, names, rounds):
    """Let our solvers and pyMOR take turns on one equation."""
    calls = {
        name: lambda solver=SOLVERS[name]: sg.solve(sg.Lyapunov(A, sg.Gram(B), E), solver).unwrap().Z for name in names
    }
    for shifts in ("projection", "wachspress"):
        if shifts == "projection" or (A != A.T).nnz == 0:
            call = lambda shifts=shifts: lowrank.lradi(A, B, E, shifts=f"{shifts}_shifts")  # noqa: E731
            calls[f"pyMOR, {shifts}"] = call if lowrank.AVAILABLE else None
    facts = {}
    for name, call in calls.items():
        if call:
            Z = call()
            facts[name] = {"residual": residual(A, B, E, Z), "rank": Z.shape[1]}
            assert facts[name]["residual"] <= 1.5e-10, name
    race(group, calls, facts, rounds=rounds)


@pytest.mark.parametrize("m", [1, 5])
@pytest.mark.parametrize("k", [100, 316])
def test_heat(race, k, m):
    """The five-point Laplacian."""
    B = np.random.default_rng(0).standard_normal((k * k, m))
    names = list(SOLVERS) if k == 100 else ["ours"]
    compare(race, f"low rank, heat, n={k * k}, m={m}", heat(k), B, None, names, rounds=3 if k == 100 else 1)


@pytest.mark.parametrize("speed", [50, 500])
def test_transport(race, speed):
    """Heat in a flow: nonsymmetric, complex spectrum."""
    B = np.random.default_rng(0).standard_normal((10_000, 1))
    compare(race, f"low rank, transport {speed}, n=10000, m=1", transport(100, speed), B, None, list(SOLVERS), rounds=3)


@pytest.mark.skipif(not RAIL.is_dir(), reason="SSM_ZOO_DATA has no rail data")
@pytest.mark.parametrize("n", [371, 1357])
def test_rail(race, n):
    """Oberwolfach steel profile: sparse E, seven inputs."""
    A, B, E = rail(n)
    compare(race, f"low rank, steel rail, n={n}, m=7", A, B, E, list(SOLVERS), rounds=5)
