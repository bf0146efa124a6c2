"""A batch of Stein equations, n = 8 to 128, and the factor of one Lyapunov equation with a mild spectrum.

Ours is the public call with every check that it makes, on the compiled loop ("ours") and on NumPy's products alone; the
peer is a loop over SciPy's function. All give the same answer to rounding: the residual stands beside the time. Ours
uses as many threads as Numba has (NUMBA_NUM_THREADS), SciPy's BLAS as many as OMP_NUM_THREADS says.
"""

from __future__ import annotations

import numpy as np
import pytest
from scipy import linalg

import ssm_gramians as sg


def drawn(n, radius, dtype, batch=256):
    """Draw systems of one spectral radius, and positive definite right-hand sides."""
    rng = np.random.default_rng(n)
    A, B = rng.standard_normal((2, batch, n, n))
    A *= (radius / np.abs(np.linalg.eigvals(A)).max(-1))[:, None, None]
    return A.astype(dtype), (B @ B.mT).astype(dtype)


def residual(A, Q, X):
    """Return the worst relative residual of a batch, in double precision."""
    A, Q, X = (M.astype(np.result_type(M.dtype, float)) for M in (A, Q, X))
    rest = A @ X @ A.conj().mT - X + Q
    return float(np.max(np.linalg.norm(rest, axis=(-2, -1)) / (2 * np.linalg.norm(X, axis=(-2, -1)))))


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("radius", [0.95, 0.999])
@pytest.mark.parametrize("n", [8, 16, 32, 64, 128])
def test_stein_batch(race, n, radius, dtype):
    """Solve 256 equations at once."""
    A, Q = drawn(n, radius, dtype)
    contestants = {
        "ours": lambda: sg.solve_discrete_lyapunov(A, Q, backend="numba"),
        "ours, numpy products": lambda: sg.solve_discrete_lyapunov(A, Q, backend="scipy"),
        "SciPy loop": lambda: np.stack([linalg.solve_discrete_lyapunov(a, q) for a, q in zip(A, Q, strict=True)]),
    }
    facts = {name: {"residual": residual(A, Q, call())} for name, call in contestants.items()}
    race(f"Stein, batch of 256, radius {radius}, {dtype}, n={n}", contestants, facts, rounds=5)


@pytest.mark.parametrize("n", [100, 200, 400, 800])
def test_factored_lyapunov(race, n):
    """Find the factor of the solution."""
    rng = np.random.default_rng(n)
    A, B = rng.standard_normal((n, n)) / np.sqrt(n) - 1.5 * np.eye(n), rng.standard_normal((n, 3))
    factored, full = sg.Lyapunov(A, sg.Gram(B)), sg.Lyapunov(A, B @ B.T)
    contestants = {
        "ours": lambda: sg.solve(factored, sg.SquaredSmith()),
        "ours, sign": lambda: sg.solve(factored, sg.SignIteration()),
        "SciPy, full solution": lambda: linalg.solve_continuous_lyapunov(A, -B @ B.T),
    }
    found = {name: call() for name, call in contestants.items()}
    found = {name: X.value.to_dense() if isinstance(X, sg.Solution) else X for name, X in found.items()}
    facts = {name: {"residual": float(sg.Solution(X, sg.Status.CONVERGED, full).residual)} for name, X in found.items()}
    race(f"factored Lyapunov, mild spectrum, n={n}", contestants, facts, rounds=3)
