"""Torch: gradients of every kind of solve, what is kept for them, and the modes that Torch can be in."""

import numpy as np
import pytest
import torch

from ssm_gramians import (
    BartelsStewart,
    ConvergenceError,
    Diagonal,
    DtypeError,
    Gram,
    Kronecker,
    Lyapunov,
    SingularEquationError,
    SquaredSmith,
    StateSpace,
    Stein,
    Sylvester,
    controllability_gramian,
    factor,
    get_backend,
    solve,
    solve_discrete_lyapunov,
)
from ssm_gramians.backends.torch import TorchBackend
from ssm_gramians.testing import BackendConformance, SolverConformance

N = 4


class OnAnyDevice(TorchBackend):
    """The code that runs on a GPU, run on the CPU."""


class TestHostBackend(BackendConformance):
    backend = get_backend(torch.zeros(1))

    def asarray(self, array):
        return torch.tensor(array)


class TestBartelsStewartOnTheHost(SolverConformance):
    backend = get_backend(torch.zeros(1))
    solver = BartelsStewart()

    def asarray(self, array):
        return torch.tensor(array)


class TestSmithOnAnyDevice(SolverConformance):
    backend = OnAnyDevice()
    solver = SquaredSmith()
    iterative = True
    test_gradients_match_finite_differences = None  # compared with the host's below, in a tenth of the time

    def asarray(self, array):
        return torch.tensor(array)


def random(*shape, kind="real", seed=0):
    generator = torch.Generator().manual_seed(seed)
    dtype = torch.complex128 if kind == "complex" else torch.float64
    return torch.randn(*shape, dtype=dtype, generator=generator)


def matrices(kind):
    """Return a stable A, Q, a regular E and modes."""
    A, Q = random(N, N, kind=kind) / 6, random(N, N, kind=kind, seed=1)
    E = torch.eye(N, dtype=A.dtype) + random(N, N, kind=kind, seed=2) / 8
    modes = torch.linspace(-0.6, 0.9, N, dtype=torch.float64) + (0.2j * random(N, seed=3) if kind == "complex" else 0)
    return A, Q, E, modes


def case(name, kind, backend):
    """Return a differentiable function and its inputs."""
    A, Q, E, modes = matrices(kind)
    eye = torch.eye(N, dtype=A.dtype)

    def value(equation, solver=None):
        return solve(equation, solver, backend).value

    return {
        "stein": (lambda A, Q: value(Stein(A, Q)), (A, Q)),
        "lyapunov": (lambda A, Q: value(Lyapunov(A - 2 * eye, Q)), (A, Q)),
        "kronecker": (lambda A, Q: value(Stein(A, Q), Kronecker()), (A, Q)),
        "stein with E": (lambda A, Q, E: value(Stein(A, Q, E)), (A, Q, E)),
        "lyapunov with E": (lambda A, Q, E: value(Lyapunov(A - 2 * eye, Q, E)), (A, Q, E)),
        "sylvester": (lambda A, B, Q: value(Sylvester(A + 3 * eye, B + 3 * eye, Q)), (A, A.mT.contiguous(), Q)),
        "one matrix twice": (lambda A, Q: value(Sylvester(A + 3 * eye, A + 3 * eye, Q)), (A, Q)),
        "diagonal": (lambda d, Q: value(Stein(Diagonal(d), Q)), (modes, Q)),
        "diagonal lyapunov": (lambda d, Q: value(Lyapunov(Diagonal(d - 2), Q)), (modes, Q)),
        "from logarithms": (lambda d, Q: value(Stein(Diagonal.from_log(d - 1), Q)), (modes, Q)),
        "paired": (lambda d, Q: value(Stein(Diagonal(d, paired=True), Q)), (modes, random(2 * N, 2 * N))),
        "batch": (lambda A, Q: value(Stein(A, Q)), (torch.stack([A, A / 2]), torch.stack([Q, A]))),
        "one A for a batch": (lambda A, Q: value(Stein(A, Q)), (A, torch.stack([Q, A]))),
        "gram": (lambda A, B: value(Stein(A, Gram(B))).to_dense(), (A, Q[:, :2].clone())),
    }[name]


CASES = [
    *("stein", "lyapunov", "kronecker", "stein with E", "lyapunov with E", "sylvester", "one matrix twice"),
    *("diagonal", "diagonal lyapunov", "from logarithms", "paired", "batch", "one A for a batch", "gram"),
]


@pytest.mark.parametrize("kind", ["real", "complex"])
@pytest.mark.parametrize("name", CASES)
def test_first_and_second_derivatives_match_finite_differences(name, kind):
    function, inputs = case(name, kind, None)
    inputs = [tensor.clone().requires_grad_() for tensor in inputs]

    assert torch.autograd.gradcheck(function, inputs, fast_mode=True)
    assert torch.autograd.gradgradcheck(function, inputs, fast_mode=True)


@pytest.mark.parametrize("name", ["stein", "lyapunov", "sylvester", "paired", "gram"])
def test_the_code_for_other_devices_has_the_same_gradients(name):
    gradients = []
    for backend in (None, OnAnyDevice()):
        function, inputs = case(name, "complex", backend)
        inputs = [tensor.clone().requires_grad_() for tensor in inputs]
        gradients.append(torch.autograd.grad(function(*inputs).abs().sum(), inputs))

    for host, device in zip(*gradients, strict=True):
        torch.testing.assert_close(host, device, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("real_A", [True, False])
def test_gradients_are_real_for_real_inputs(real_A):
    kinds = ("real", "complex") if real_A else ("complex", "real")
    A = (random(N, N, kind=kinds[0]) / 6).requires_grad_()
    Q = random(N, N, kind=kinds[1], seed=1).requires_grad_()

    assert torch.autograd.gradcheck(lambda A, Q: solve(Stein(A, Q)).value, (A, Q))


@pytest.mark.parametrize(
    "A",
    [
        0.5 * torch.eye(N, dtype=torch.float64) + torch.diag(torch.ones(N - 1, dtype=torch.float64), 1),
        torch.triu(9 * torch.ones(N, N, dtype=torch.float64), 1) + 0.3 * torch.eye(N, dtype=torch.float64),
    ],
    ids=["defective", "far from normal"],
)
def test_no_eigenvectors_are_needed(A):
    A.requires_grad_()
    Q = torch.eye(N, dtype=torch.float64)

    def size(A):
        X = solve(Stein(A, Q)).value
        return torch.log(X.diagonal().sum())

    assert torch.autograd.gradcheck(size, (A,), rtol=1e-4)


def saved_bytes(run):
    """Return what Torch keeps for the backward pass of `run()`."""
    total = 0

    def pack(tensor):
        nonlocal total
        total += tensor.numel() * tensor.element_size()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        run()
    return total


@pytest.mark.parametrize("backend", [get_backend(torch.zeros(1)), OnAnyDevice()], ids=["host", "any device"])
@pytest.mark.parametrize("radius", [0.5, 0.999999])
def test_a_backward_pass_keeps_inputs_and_solution_only(radius, backend):
    A = torch.diag(torch.linspace(-radius, radius, N, dtype=torch.float64)).detach().requires_grad_()
    Q = torch.eye(N, dtype=torch.float64).requires_grad_()
    equation = Stein(A, Q)

    assert saved_bytes(lambda: backend.run(equation, SquaredSmith())) == 3 * A.numel() * A.element_size()


def test_the_adjoint_solve_reuses_the_schur_form(monkeypatch):
    calls = []
    backend = get_backend(torch.zeros(1))
    original = type(get_backend("scipy")).schur
    monkeypatch.setattr(type(get_backend("scipy")), "schur", lambda *args: calls.append(1) or original(*args))
    A = (random(N, N) / 6).requires_grad_()
    X = solve(Stein(A, torch.eye(N, dtype=torch.float64)), BartelsStewart(), backend).value
    after_forward = len(calls)

    X.sum().backward()

    assert len(calls) == after_forward > 0


def test_a_factorisation_is_differentiable():
    A = (random(N, N) / 6).requires_grad_()
    P, Q = (random(N, 2, seed=k).requires_grad_() for k in (1, 2))

    def both(A, P, Q):
        work = factor(Stein(A))
        return work.solve(P @ P.mT).value + work.solve_adjoint(Q @ Q.mT).value

    assert torch.autograd.gradcheck(both, (A, P, Q))


def test_a_factorisation_of_constants_passes_gradients_to_the_right_hand_side():
    work = factor(Stein(random(N, N) / 6))
    Q = random(N, N).requires_grad_()

    assert torch.autograd.gradcheck(lambda Q: work.solve(Q).value, (Q,))


def test_a_loss_that_overflowed_has_nan_gradients_and_does_not_raise():
    A = (random(N, N) / 6).requires_grad_()

    (solve_discrete_lyapunov(A, torch.eye(N, dtype=torch.float64)).sum() * float("inf")).backward()

    assert not torch.isfinite(A.grad).any()


@pytest.mark.parametrize(
    ("equation", "error"),
    [
        (lambda one: Stein(one, one), SingularEquationError),
        (lambda one: Lyapunov(0 * one, one), SingularEquationError),
    ],
    ids=["stein", "lyapunov"],
)
def test_failures_raise_the_same_with_gradients(equation, error):
    one = torch.ones(1, 1, dtype=torch.float64, requires_grad=True)

    with pytest.raises((error, ConvergenceError)):
        solve(equation(one)).unwrap()


def test_a_rank_deficient_factor_has_finite_gradients():
    A = torch.diag(torch.tensor([0.5, 0.4, 0.3, 0.2], dtype=torch.float64)).requires_grad_()
    B = torch.tensor([[1.0], [1.0], [0.0], [0.0]], dtype=torch.float64).requires_grad_()

    def trace(A, B):
        return solve(Stein(A, Gram(B))).value.Z.square().sum()

    assert torch.autograd.gradcheck(trace, (A, B), atol=1e-6)


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_no_graph_is_made_where_none_is_wanted(mode):
    A, Q = (random(N, N) / 6).requires_grad_(), torch.eye(N, dtype=torch.float64)

    with mode():
        X = solve_discrete_lyapunov(A, Q)

    assert not X.requires_grad


def test_a_default_device_does_not_matter():
    A, Q = random(N, N) / 6, torch.eye(N, dtype=torch.float64)
    torch.set_default_device("meta")
    try:
        X = solve_discrete_lyapunov(A, Q)
        Y = solve(Stein(A, Q), SquaredSmith(), OnAnyDevice()).value
    finally:
        torch.set_default_device(None)

    assert X.device.type == "cpu"
    torch.testing.assert_close(X, Y)


@pytest.mark.parametrize(
    ("A", "Q", "match"),
    [
        (torch.eye(2) / 2, torch.eye(2, dtype=torch.float64), "one precision"),
        (torch.eye(2, dtype=torch.float16) / 2, torch.eye(2, dtype=torch.float16), "too short"),
        (torch.eye(2, dtype=torch.bfloat16) / 2, torch.eye(2, dtype=torch.bfloat16), "too short"),
        (torch.ones(2, 2, dtype=torch.int64), torch.eye(2), "floating point"),
        (torch.empty(2, 2, device="meta"), torch.empty(2, 2, device="meta"), "meta"),
    ],
    ids=["mixed", "half", "bfloat16", "integer", "meta"],
)
def test_what_cannot_be_solved_is_refused_clearly(A, Q, match):
    with pytest.raises(DtypeError, match=match):
        solve_discrete_lyapunov(A, Q)


def test_tensors_on_the_cpu_share_memory_with_lapack():
    backend, A = get_backend(torch.zeros(1)), random(N, N)

    U, T = backend.schur(A)

    torch.testing.assert_close(U @ T @ U.mT, A)
    with pytest.raises(RuntimeError, match="requires grad"):
        backend.schur(A.requires_grad_())


def dense_loss(A, B):
    X = solve_discrete_lyapunov(A @ A, B @ B.mT)
    return torch.logdet(X + torch.eye(N, dtype=X.dtype))


def diagonal_loss(d, B):
    P = controllability_gramian(StateSpace(Diagonal(torch.tanh(d)), B, B.mT, dt=1.0))
    return torch.logdet(P + torch.eye(N, dtype=P.dtype))


# Dynamo itself warns while it traces a frame whose tensors are no leaves.
@pytest.mark.filterwarnings("default::UserWarning", "default::DeprecationWarning", "default::FutureWarning")
@pytest.mark.parametrize("loss", [dense_loss, diagonal_loss])
def test_compiled_functions_have_the_same_values_and_gradients(loss):
    first = (random(N, N) / 3 if loss is dense_loss else random(N)).requires_grad_()
    B = random(N, 2, seed=1)
    wanted = loss(first, B)
    compiled = torch.compile(loss, backend="aot_eager")

    got = compiled(first, B)

    torch.testing.assert_close(got, wanted)
    torch.testing.assert_close(torch.autograd.grad(got, first), torch.autograd.grad(wanted, first))
    torch._dynamo.reset()


def test_a_batch_of_nothing_has_a_gradient():
    A = torch.empty(0, N, N, dtype=torch.float64, requires_grad=True)

    solve_discrete_lyapunov(A, A).sum().backward()

    assert A.grad.shape == (0, N, N)


def test_single_precision_gradients_are_single():
    A = (random(N, N) / 6).float().requires_grad_()
    X = solve_discrete_lyapunov(A, torch.eye(N))

    X.sum().backward()

    assert A.grad.dtype == X.dtype == torch.float32
    double = A.detach().double().requires_grad_()
    solve_discrete_lyapunov(double, torch.eye(N, dtype=torch.float64)).sum().backward()
    assert np.allclose(A.grad, double.grad, rtol=1e-4)
