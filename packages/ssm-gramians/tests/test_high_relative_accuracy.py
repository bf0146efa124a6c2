"""Hankel singular values from the factors of `Cauchy`, all of them, against arithmetic of many digits."""

import mpmath
import numpy as np
import pytest

from ssm_gramians import Cauchy, ClosedForm, Diagonal, Gram, Lyapunov, Stein, solve

N = 12


def systems(rng):
    """Return name: (eigenvalues, equation)."""
    k = np.arange(N)
    ring = np.sqrt(rng.uniform(0.81, 0.998, N)) * np.exp(1j * rng.uniform(0, 0.3, N))
    return {
        "S4D-Real": (-(k + 1.0), Lyapunov),
        "S4D-Inv": (-0.5 + 1j * N / np.pi * (N / (2 * k + 1) - 1), Lyapunov),
        "log-spaced": (-np.logspace(-1, 1, N), Lyapunov),
        "LRU ring": (ring, Stein),
    }


def values_of(A, B, C, equation, backend=None):
    """Return the singular values of Z_Q^H Z_P."""
    Z_P, Z_Q = (
        solve(equation(matrix, Gram(G)), Cauchy(), backend).unwrap().Z
        for matrix, G in ((A, B), (A.adjoint(), C.conj().T))
    )
    wide = np.float64 if np.isrealobj(Z_P) else np.complex128  # the product itself may underflow in single precision
    return np.linalg.svd(Z_Q.astype(wide).conj().T @ Z_P.astype(wide), compute_uv=False)


def precise_values(A, B, C, equation):
    """Return them from Cholesky factors of the closed form, with 120 digits."""
    with mpmath.workdps(120):
        number = [
            mpmath.mpmathify(complex(z)) for z in (A.eigenvalues if A.log_eigenvalues is None else A.log_eigenvalues)
        ]
        poles = number if A.log_eigenvalues is None else [mpmath.exp(z) for z in number]

        def factor(poles, G):
            G = mpmath.matrix(G.tolist())
            X = G * G.H
            for i, j in np.ndindex(N, N):
                product = poles[i] * mpmath.conj(poles[j]) if equation is Stein else poles[i] + mpmath.conj(poles[j])
                X[i, j] /= 1 - product if equation is Stein else -product
            return mpmath.cholesky(X)

        P = factor(poles, B)
        K = factor([mpmath.conj(z) for z in poles], C.conj().T).H * P
        return np.array([float(mpmath.sqrt(abs(v))) for v in mpmath.eighe(K.H * K, eigvals_only=True)])[::-1]


def digits(got, exact):
    """Return the correct digits of the worst value."""
    return -np.log10(np.max(np.abs(got - exact) / exact) + 1e-17)


@pytest.mark.parametrize("name", ["S4D-Real", "S4D-Inv", "log-spaced", "LRU ring"])
@pytest.mark.parametrize("m", [1, 2])
def test_every_value_has_thirteen_digits(rng, name, m):
    poles, equation = systems(rng)[name]
    A = Diagonal(poles + 0j)
    B, C = (rng.standard_normal(s) + 1j * rng.standard_normal(s) for s in ((N, m), (m, N)))
    exact = precise_values(A, B, C, equation)

    for backend in ("scipy", "numba"):
        assert digits(values_of(A, B, C, equation, backend), exact) > 13


@pytest.mark.parametrize("name", ["S4D-Real", "S4D-Inv", "LRU ring"])
def test_every_value_has_five_digits_in_single_precision(rng, name):
    poles, equation = systems(rng)[name]
    A = Diagonal(poles.astype(np.complex64))
    B, C = ((rng.standard_normal(s) + 1j * rng.standard_normal(s)).astype(np.complex64) for s in ((N, 1), (1, N)))
    exact = precise_values(A, B, C, equation)

    for backend in ("scipy", "numba"):
        assert digits(values_of(A, B, C, equation, backend), exact) > 5


@pytest.mark.parametrize("m", [1, 2])
def test_known_logarithms_keep_the_digits_next_to_the_unit_circle(rng, m):
    logs = -(10 ** rng.uniform(-12, -6, N)) + 1j * rng.uniform(0, 3, N)
    A = Diagonal.from_log(logs)
    B, C = (rng.standard_normal(s) + 1j * rng.standard_normal(s) for s in ((N, m), (m, N)))
    exact = precise_values(A, B, C, Stein)

    assert digits(values_of(A, B, C, Stein), exact) > 13


def test_the_closed_form_heeds_known_logarithms(rng):
    logs = -(10 ** rng.uniform(-12, -6, 5)) + 1j * rng.uniform(0, 3, 5)
    B = rng.standard_normal((5, 2)) + 1j * rng.standard_normal((5, 2))

    X = solve(Stein(Diagonal.from_log(logs), B @ B.conj().T), ClosedForm()).unwrap()

    expected = np.sum(np.abs(B) ** 2, axis=1) / -np.expm1(2 * logs.real)
    assert np.allclose(np.diagonal(X), expected, rtol=1e-15, atol=0)
