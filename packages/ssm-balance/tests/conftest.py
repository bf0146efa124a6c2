"""Random stable systems of every kind, and the gains of their maps."""

import numpy as np
import pytest

from ssm_gramians import Diagonal, StateSpace

KINDS = ("dense", "complex", "diagonal", "paired")


def random_system(kind="dense", *, dt=0.0, n=8, m=2, p=3, batch=(), seed=0):
    """For a paired system n is the number of slots; D is zero in continuous time only if asked for elsewhere."""
    rng = np.random.default_rng(seed)

    def normal(*shape, real=kind == "dense"):
        X = rng.standard_normal((*batch, *shape))
        return X if real else X + 1j * rng.standard_normal((*batch, *shape))

    if kind in ("diagonal", "paired"):
        angles = rng.uniform(0, np.pi if kind == "paired" else 2 * np.pi, (*batch, n))
        A = rng.uniform(0.4, 0.99, (*batch, n)) * np.exp(1j * angles)
        A = Diagonal(A if dt else np.log(A), paired=kind == "paired")
    else:
        A = normal(n, n) / np.sqrt(n)
        poles = np.linalg.eigvals(A)
        if dt:
            A = 0.95 * A / np.abs(poles).max(axis=-1)[..., None, None]
        else:
            A = A - (poles.real.max(axis=-1)[..., None, None] + 0.05) * np.eye(n)
    return StateSpace(A, normal(n, m), normal(p, n), normal(p, m, real=kind in ("dense", "paired")), dt)


def grid(dt, count=400):
    """Points on the imaginary axis, or on the unit circle."""
    angles = np.linspace(-np.pi, np.pi, count)
    return np.exp(1j * angles) if dt else 1j * np.tan(0.49999 * angles)


@pytest.fixture
def make_system():
    return random_system


@pytest.fixture
def points():
    return grid


@pytest.fixture(params=[(kind, dt) for kind in KINDS for dt in (0.0, 0.5)], ids=lambda case: f"{case[0]}-{case[1]}")
def system(request):
    kind, dt = request.param
    return random_system(kind, dt=dt)
