"""The CUDA kernels of the `cupy` backend, their arithmetic run on the CPU; on a GPU `test_gpu.py` runs them."""

import shutil
import sys
from pathlib import Path

import numpy as np
import pytest

from ssm_gramians import BackendNotAvailableError, Diagonal, SquaredSmith, Stein, get_backend, solve
from ssm_gramians.testing import BackendConformance, SolverConformance

sys.path.insert(0, str(Path(__file__).parent))
from cuda_on_cpu import load_cupy_backend

needs_compiler = pytest.mark.skipif(shutil.which("g++") is None, reason="needs g++ to compile the CUDA source")
BACKEND = load_cupy_backend()
KINDS = ["float32", "float64", "complex64", "complex128"]


def random(*shape, kind, seed=0):
    rng = np.random.default_rng(seed)
    return (rng.standard_normal(shape) + (1j * rng.standard_normal(shape) if "complex" in kind else 0)).astype(kind)


@needs_compiler
class TestCupyOnTheCpu(BackendConformance):
    backend = BACKEND

    def asarray(self, array):
        return np.array(array)


@needs_compiler
class TestSmithOnTheCpu(SolverConformance):
    backend = BACKEND
    solver = SquaredSmith()
    iterative = True

    def asarray(self, array):
        return np.array(array)


@needs_compiler
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shared_memory", [101_376, 0], ids=["shared", "scratch"])
def test_smith_stops_each_system_by_itself(kind, shared_memory):
    backend, eps = load_cupy_backend(shared_memory), float(np.finfo(kind).eps)
    A, Q = random(5, 7, 7, kind=kind), random(5, 7, 7, kind=kind, seed=1)
    A *= (np.array([0, 0.1, 0.5, 0.9, 1.5]) / np.abs(np.linalg.eigvals(A)).max(axis=-1))[:, None, None].astype(kind)

    X, residual, steps, outcome = backend.smith_sums(A, Q, rtol=eps, max_steps=30)

    rest = A @ X @ A.conj().mT - X + Q
    assert X.dtype == np.dtype(kind)
    assert outcome.tolist() == [0, 0, 0, 0, 2]
    assert np.all(np.diff(steps[:4]) > 0)
    assert np.all(np.linalg.norm(rest[:4], axis=(1, 2)) <= 50 * eps * np.linalg.norm(X[:4], axis=(1, 2)))
    assert np.all(residual[:4] < 20 * eps)


@needs_compiler
def test_smith_says_that_its_steps_ran_out():
    A, Q = np.array([[[0.999]]]), np.ones((1, 1, 1))

    *_, steps, outcome = BACKEND.smith_sums(A, Q, rtol=1e-16, max_steps=3)

    assert (steps[0], outcome[0]) == (3, 1)


@needs_compiler
@pytest.mark.parametrize("kind", ["complex64", "complex128"])
def test_a_paired_layer_is_one_kernel(kind):
    slots = (0.9 * np.exp(1j * np.arange(4.0))).astype(kind)
    Q = random(2, 8, 8, kind="float32" if kind == "complex64" else "float64")

    X = BACKEND.paired_stein(Q, np.stack([slots, slots]))

    wanted = solve(Stein(Diagonal(slots, paired=True), Q)).value
    assert np.allclose(X, wanted, rtol=100 * np.finfo(kind).eps, atol=100 * np.finfo(kind).eps)


@needs_compiler
@pytest.mark.parametrize("name", ["stein_quotient", "lyapunov_quotient"])
@pytest.mark.parametrize("kind", KINDS)
def test_one_spectrum_serves_a_batch(name, kind):
    G, a = random(3, 4, 4, kind=kind), random(4, kind=kind, seed=1) / 9 - 1

    together = getattr(BACKEND, name)(G, a, a)

    for k in range(3):
        assert np.array_equal(together[k], getattr(BACKEND, name)(G[k], a, a))


@needs_compiler
def test_no_denominator_underflows():
    G, a = np.ones((1, 1), np.complex64), np.array([-1e-25 + 1e-30j], np.complex64)

    assert np.allclose(BACKEND.lyapunov_quotient(G, a, a), 5e24)


def test_the_false_cupy_leaves_no_trace():
    assert "cupy" not in sys.modules or hasattr(sys.modules["cupy"], "__version__")


@pytest.mark.skipif("cupy" in sys.modules, reason="CuPy is installed here")
def test_a_missing_cupy_says_how_to_install_it():
    with pytest.raises(BackendNotAvailableError, match=r"ssm-gramians\[cupy\]"):
        get_backend("cupy")
