"""Torch on CUDA and CuPy run the public suites; without a device nothing here runs (`nox -s gpu` asks for one)."""

import itertools
from importlib import import_module

import numpy as np
import pytest

from ssm_gramians import (
    Auto,
    ClosedForm,
    Diagonal,
    Kronecker,
    Lyapunov,
    SquaredSmith,
    StateSpace,
    Stein,
    get_backend,
    gramian_factors,
    solve,
)
from ssm_gramians.testing import BackendConformance, SolverConformance, as_numpy, assert_close, assert_same_kind

pytestmark = pytest.mark.gpu
SOLVERS = (Auto(), ClosedForm(), Kronecker(), SquaredSmith())


def devices():
    """Return, for each library that sees a GPU, how a NumPy array becomes one of its arrays there."""
    found = {}
    torch = import_module("torch")
    if torch.cuda.is_available():
        found["torch"] = lambda array: torch.tensor(array, device="cuda")
    try:
        cupy = import_module("cupy")
        if cupy.cuda.runtime.getDeviceCount():
            found["cupy"] = cupy.asarray
    except Exception:  # not installed, no driver, no device: CuPy has a class of its own for each
        return found
    return found


DEVICES = devices()

for name in DEVICES:

    class _Backend(BackendConformance):
        backend = name

        def asarray(self, array):
            return DEVICES[self.backend](array)

    globals()[f"TestBackend_{name}"] = _Backend

for solver, name in itertools.product(SOLVERS, DEVICES):

    class _Solver(SolverConformance):
        backend = name
        iterative = not isinstance(solver, ClosedForm | Kronecker)

        def asarray(self, array):
            return DEVICES[self.backend](array)

    _Solver.solver = solver
    globals()[f"TestSolver_{type(solver).__name__}_{name}"] = _Solver

if DEVICES:
    del _Backend, _Solver  # only the named subclasses are collected


@pytest.fixture(params=["torch", "cupy"])
def to_device(request):
    """Return the maker of arrays on the device."""
    if request.param not in DEVICES:
        pytest.skip(f"no GPU that {request.param} can use")
    return DEVICES[request.param]


def batch(n, systems=50, *, kind="float64", radius=0.95):
    rng = np.random.default_rng(n)
    A = rng.standard_normal((systems, n, n)) + (1j * rng.standard_normal((systems, n, n)) if "complex" in kind else 0)
    A *= radius / np.abs(np.linalg.eigvals(A)).max(axis=-1)[:, None, None]
    return A.astype(kind), np.broadcast_to(np.eye(n, dtype=kind), A.shape).copy()


@pytest.mark.parametrize("kind", ["float32", "float64", "complex64", "complex128"])
@pytest.mark.parametrize("n", [1, 3, 16, 64, 96, 130])
def test_a_batch_agrees_with_the_host(to_device, n, kind):
    A, Q = batch(n, kind=kind)

    X = solve(Stein(to_device(A), to_device(Q))).unwrap()

    assert_same_kind(X, to_device(Q))
    assert_close(X, solve(Stein(A, Q)).unwrap(), rtol=1e4 * np.finfo(kind).eps)


def test_a_diagonal_layer_agrees_with_the_host(to_device):
    slots = 0.99 * np.exp(1j * np.linspace(0, 3, 64))
    Q = np.eye(128) + 0.1

    X = solve(Stein(Diagonal(to_device(slots), paired=True), to_device(Q))).unwrap()

    assert_close(X, solve(Stein(Diagonal(slots, paired=True), Q)).unwrap(), rtol=1e-13)


def test_factors_stay_on_the_device(to_device):
    A, _ = batch(8)
    B, C = np.ones((50, 8, 2)), np.ones((50, 1, 8))

    Z_P, Z_Q = gramian_factors(StateSpace(*(to_device(M) for M in (A, B, C)), dt=1.0))

    assert_same_kind(Z_P, to_device(B))
    host_P, host_Q = gramian_factors(StateSpace(A, B, C, dt=1.0))
    for device, host in ((Z_P, host_P), (Z_Q, host_Q)):
        factor = as_numpy(device)
        assert_close(factor @ factor.mT, host @ host.mT, rtol=1e-10)


def test_torch_solves_on_the_current_stream():
    torch = pytest.importorskip("torch")
    if "torch" not in DEVICES:
        pytest.skip("no GPU that torch can use")
    A, Q = (torch.tensor(M, device="cuda") for M in batch(32))
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())

    with torch.cuda.stream(side):
        X = solve(Stein(A, Q)).unwrap()
    torch.cuda.current_stream().wait_stream(side)

    torch.testing.assert_close(X, solve(Stein(A, Q)).unwrap())


def test_cupy_solves_on_the_current_stream():
    if "cupy" not in DEVICES:
        pytest.skip("no GPU that cupy can use")
    cupy = import_module("cupy")
    A, Q = (cupy.asarray(M) for M in batch(32))
    cupy.cuda.get_current_stream().synchronize()

    with cupy.cuda.Stream(non_blocking=True) as side:
        X = solve(Stein(A, Q)).unwrap()
    side.synchronize()

    assert_close(X, solve(Stein(A, Q)).unwrap(), rtol=1e-14)


@pytest.mark.parametrize("equation", [Stein, Lyapunov])
def test_torch_has_the_gradients_of_the_host(equation):
    torch = pytest.importorskip("torch")
    if "torch" not in DEVICES:
        pytest.skip("no GPU that torch can use")
    A, Q = batch(6, systems=4)
    A = A - 2 * np.eye(6) if equation is Lyapunov else A
    gradients = []
    for device in ("cpu", "cuda"):
        inputs = [torch.tensor(M, device=device, requires_grad=True) for M in (A, Q)]
        found = torch.autograd.grad(solve(equation(*inputs)).unwrap().square().sum(), inputs)
        gradients.append([gradient.cpu() for gradient in found])

    for host, there in zip(*gradients, strict=True):
        torch.testing.assert_close(there, host, rtol=1e-9, atol=1e-11)


def test_a_tensor_on_a_gpu_has_no_schur_form():
    torch = pytest.importorskip("torch")
    if "torch" not in DEVICES:
        pytest.skip("no GPU that torch can use")

    assert "schur" not in get_backend(torch.zeros(1, device="cuda")).provides
