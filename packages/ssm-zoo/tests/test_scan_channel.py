"""`channel_scan`: every implementation is the recurrence, in values, gradients and moments."""

import os
import subprocess
import sys

import pytest
import torch

from ssm_zoo import DtypeError, OptionError, ShapeError
from ssm_zoo.scan import Moments, channel_scan, choose_channel_scan, set_scan_threads
from ssm_zoo.scan._operation import installed
from ssm_zoo.scan.channel.moments import integer_power, state_moment, summed
from ssm_zoo.scan.channel.operation import OPERATION

IMPLEMENTATIONS = [name for name in OPERATION.available() if name != "triton"]
FAST = [name for name in IMPLEMENTATIONS if name != "reference"]
PROBLEMS = {  # batch, length, channels, states, least and largest modulus
    "small": (3, 37, 5, 4, 0.5, 0.99),
    "one of everything": (1, 1, 1, 1, 0.9, 0.9),
    "one state": (2, 70, 3, 1, 0.0, 1.0),
    "whole chunks": (2, 128, 17, 18, 0.2, 0.999),
    "long, next to the circle": (1, 1500, 2, 3, 1 - 1e-7, 1 - 1e-9),
    "a zero eigenvalue": (2, 40, 2, 2, 0.0, 0.0),
    "more channels than a task": (1, 33, 33, 2, 0.5, 1.0),
}


def draw(batch, length, H, n, low, high, dtype=torch.float64, seed=0):
    """Return inputs, eigenvalues, C, D and state, every one a variable."""
    g = torch.Generator().manual_seed(seed)
    modulus = low + (high - low) * torch.rand(H, n, generator=g, dtype=torch.float64)
    eigenvalues = torch.polar(modulus, 6.3 * torch.rand(H, n, generator=g, dtype=torch.float64))
    u, D = (torch.randn(*s, generator=g, dtype=torch.float64) for s in ((batch, length, H), (H,)))
    C, state = (torch.randn(*s, generator=g, dtype=torch.complex128) for s in ((H, n), (batch, H, n)))
    real = (u, D)
    return [
        z.to(dtype if any(z is r for r in real) else dtype.to_complex()).requires_grad_()
        for z in (u, eigenvalues, C, D, state)
    ]


def run(arguments, implementation, lengths=None, moments=None):
    """Return outputs, last state and the gradients of a loss in which every number has a weight of its own."""
    u, eigenvalues, C, D, state = arguments
    y, last = channel_scan(
        u, eigenvalues, C, state, D=D, lengths=lengths, moments=moments, implementation=implementation
    )
    g = torch.Generator().manual_seed(1)
    weights = (
        torch.randn(y.shape, generator=g, dtype=torch.float64),
        torch.randn(*last.shape, 2, generator=g, dtype=torch.float64),
    )
    loss = (weights[0] * y).sum() + (weights[1] * torch.view_as_real(last)).sum()
    inputs = list(arguments) + ([] if moments is None else [moments.tap])
    return [y, last, *torch.autograd.grad(loss, inputs)]


@pytest.mark.parametrize("problem", PROBLEMS.values(), ids=PROBLEMS)
@pytest.mark.parametrize("implementation", FAST)
@pytest.mark.parametrize("padded", [False, True], ids=["whole", "padded"])
def test_every_implementation_is_the_recurrence(problem, implementation, padded):
    arguments = draw(*problem)
    lengths = torch.arange(problem[0]) * 29 % (problem[1] + 1) if padded else None

    wanted = run(arguments, "reference", lengths)

    for a, b in zip(run(arguments, implementation, lengths), wanted, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-9)


def test_the_recurrence_is_the_sum_over_powers():
    u, eigenvalues, C, D, state = (z.detach() for z in draw(2, 9, 3, 4, 0.3, 1.0))

    y, last = channel_scan(u, eigenvalues, C, state, D=D, implementation="reference")

    powers = eigenvalues[..., None] ** torch.arange(10)  # (H, n, k)
    x = powers[..., 9] * state + (powers[..., :9].flip(-1) * u.permute(0, 2, 1)[:, :, None]).sum(-1)
    torch.testing.assert_close(last, x)
    torch.testing.assert_close(y[:, -1], (C * x).sum(-1).real + D * u[:, -1])


@pytest.mark.parametrize("implementation", FAST)
def test_single_precision_is_near_double(implementation):
    double = draw(2, 500, 16, 8, 0.9, 0.9999)
    single = [z.detach().to(torch.complex64 if z.is_complex() else torch.float32).requires_grad_() for z in double]
    double = [z.detach().to(torch.complex128 if z.is_complex() else torch.float64).requires_grad_() for z in single]

    for a, b in zip(run(single, implementation), run(double, "reference"), strict=True):
        assert torch.linalg.vector_norm(a.to(b.dtype) - b) <= 2e-4 * torch.linalg.vector_norm(b)


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
def test_padding_is_never_looked_at(implementation):
    arguments = draw(3, 80, 2, 3, 0.5, 1.0)
    lengths = torch.tensor([80, 0, 33])
    clean = run(arguments, implementation, lengths)
    with torch.no_grad():
        arguments[0][1], arguments[0][2, 33:] = torch.nan, torch.inf

    spoilt = run(arguments, implementation, lengths)

    for a, b in zip(spoilt, clean, strict=True):
        torch.testing.assert_close(a, b)
    assert not spoilt[2][1].any()
    assert torch.equal(spoilt[1][1], arguments[4][1])


@pytest.mark.parametrize("implementation", FAST)
@pytest.mark.parametrize("padded", [False, True], ids=["whole", "padded"])
@pytest.mark.parametrize("high", [0.999, 1.0], ids=["inside", "on the circle"])
def test_moments_are_the_sums_of_the_definition(implementation, padded, high):
    arguments = draw(3, 70, 2, 3, high if high == 1 else 0.3, high)
    lengths = torch.tensor([70, 0, 21]) if padded else None
    found = {}
    for name in ("reference", implementation):
        moments = Moments((2, 6, 6))
        found[name] = run(arguments, name, lengths, moments)[-1], moments.states()

    for a, b in zip(found[implementation], found["reference"], strict=True):
        torch.testing.assert_close(a, b, rtol=1e-8, atol=1e-8)


def test_the_tap_is_the_sum_over_adjoint_states():
    u, eigenvalues, C, _, state = draw(2, 12, 2, 3, 0.3, 1.0)
    moments = Moments((2, 6, 6))
    x, outputs, states = state, [], []
    for u_t in u.unbind(1):
        x = eigenvalues * x + u_t[..., None]
        x.retain_grad()
        states.append(x)
        outputs.append((C * x).sum(-1).real)
    (torch.stack(outputs, 1).square().sum() + x.real.sum()).backward()
    wanted = sum(
        torch.einsum("bhi,bhj->hij", a, a) for a in (torch.cat([z.grad.real, z.grad.imag], -1) for z in states)
    )

    y, last = channel_scan(u, eigenvalues, C, state, moments=moments)
    (y.square().sum() + last.real.sum()).backward()

    torch.testing.assert_close(moments.tap.grad, wanted)


def test_moments_of_a_sharp_resonance_keep_their_digits():
    u, eigenvalues, *_ = (z.detach() for z in draw(1, 400, 1, 4, 1 - 1e-6, 1 - 1e-7))
    zero, one = torch.zeros(1, 1, 4, dtype=torch.complex128), torch.ones(1, 4, dtype=torch.complex128)

    moment = state_moment(u, eigenvalues, one, zero, None)

    torch.testing.assert_close(moment, summed(u, eigenvalues, one, zero, None), rtol=1e-7, atol=1e-7)


def test_integer_powers_know_zero():
    base = torch.tensor([[0.0, 0.5 + 0.5j]], dtype=torch.complex128)

    powers = integer_power(base, torch.tensor([0, 1, 5]))

    torch.testing.assert_close(powers[:, 0], torch.stack([base[0] ** 0, base[0], base[0] ** 5]))


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
def test_gradients_are_finite_differences(implementation):
    arguments = draw(2, 5, 2, 3, 0.3, 1.0)
    lengths = torch.tensor([5, 3])

    def scan(u, eigenvalues, C, D, state):
        return channel_scan(u, eigenvalues, C, state, D=D, lengths=lengths, implementation=implementation)

    assert torch.autograd.gradcheck(scan, arguments)


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
def test_an_operation_without_time_hands_the_state_on(implementation):
    _, eigenvalues, C, D, state = draw(2, 1, 3, 4, 0.3, 1.0)

    y, last = channel_scan(eigenvalues.new_zeros(2, 0, 3).real, eigenvalues, C, state, D=D)

    assert y.shape == (2, 0, 3)
    assert torch.equal(last, state)


@pytest.mark.skipif("numba" not in IMPLEMENTATIONS, reason="Numba is not installed")
@pytest.mark.parametrize("channels", [40, 3])
def test_threads_change_nothing_but_rounding(channels, monkeypatch):
    monkeypatch.setattr("ssm_zoo.scan.channel.numba._WORTH_A_THREAD", 1)
    arguments = draw(5, 100, channels, 3, 0.5, 1.0)
    alone = run(arguments, "numba")

    before = set_scan_threads(3)
    try:
        together, again = run(arguments, "numba"), run(arguments, "numba")
    finally:
        set_scan_threads(before)

    for a, b, c in zip(alone, together, again, strict=True):
        torch.testing.assert_close(a, b)
        assert torch.equal(b, c)


@pytest.mark.skipif("numba" not in IMPLEMENTATIONS, reason="Numba is not installed")
def test_long_sequences_are_scanned_span_by_span(monkeypatch):
    monkeypatch.setattr("ssm_zoo.scan.channel.numba._TILE_ROWS", 2)
    arguments, lengths = draw(3, 150, 2, 3, 0.5, 1.0), torch.tensor([150, 64, 65])
    for each in (None, lengths):
        wanted = run(arguments, "reference", each)

        for a, b in zip(run(arguments, "numba", each), wanted, strict=True):
            torch.testing.assert_close(a, b)


def test_half_precision_is_raised():
    u, eigenvalues, C, _, state = (z.detach() for z in draw(2, 40, 3, 4, 0.3, 1.0, torch.float32))

    with torch.autocast("cpu", dtype=torch.bfloat16):
        y, last = channel_scan(u.bfloat16(), eigenvalues, C, state)

    assert (y.dtype, last.dtype) == (torch.float32, torch.complex64)
    torch.testing.assert_close(y, channel_scan(u.bfloat16().float(), eigenvalues, C, state)[0])


def test_what_does_not_fit_is_named():
    u, eigenvalues, C, D, state = (z.detach() for z in draw(2, 5, 3, 4, 0.3, 1.0))
    with pytest.raises(ShapeError, match=r"C must be \(3, 4\)"):
        channel_scan(u, eigenvalues, C[:, 1:])
    with pytest.raises(ShapeError, match="unsqueeze"):
        channel_scan(u[0], eigenvalues, C)
    with pytest.raises(ShapeError, match="state must be"):
        channel_scan(u, eigenvalues, C, state[:1])
    with pytest.raises(ShapeError, match="lengths"):
        channel_scan(u, eigenvalues, C, lengths=torch.tensor([6, 1]))
    with pytest.raises(DtypeError, match="eigenvalues must be complex"):
        channel_scan(u, eigenvalues.real, C)
    with pytest.raises(DtypeError, match=r"inputs must be torch\.float64"):
        channel_scan(u.float(), eigenvalues, C)
    with pytest.raises(DtypeError, match=r"D must be torch\.float64"):
        channel_scan(u, eigenvalues, C, D=D.float())
    with pytest.raises(OptionError, match="'fast' is not one of"):
        channel_scan(u, eigenvalues, C, implementation="fast")


def test_auto_takes_the_fused_kernel_but_for_one_step():
    assert choose_channel_scan(torch.zeros(2, 1, 3)).implementation == "reference"
    assert (
        choose_channel_scan(torch.zeros(2, 9, 3)).implementation == OPERATION.fused(torch.device("cpu")).implementation
    )


INTERPRETED = """
import torch
from ssm_zoo.scan.channel import reference, triton
torch.manual_seed(0)
for batch, length, H, n, lengths in ((2, 37, 2, 3, [37, 11]), (1, 33, 1, 1, [0])):
    eigenvalues = torch.polar(torch.rand(H, n), 6 * torch.rand(H, n))
    state, C = torch.randn(batch, H, n, dtype=torch.complex64), torch.randn(H, n, dtype=torch.complex64)
    arguments = [z.requires_grad_() for z in (torch.randn(batch, length, H), eigenvalues, C, torch.randn(H), state)]
    ends = torch.tensor(lengths)
    real = (torch.arange(length) < ends[:, None])[..., None]
    found = []
    for each in (reference, triton):
        y, last = each.run(*arguments, ends)
        loss = torch.where(real, y, 0).square().sum() + last.abs().square().sum() + last.imag.sum()
        found.append((torch.where(real, y, 0), last, *torch.autograd.grad(loss, arguments)))
    for a, b in zip(*found):
        torch.testing.assert_close(b, a, rtol=1e-4, atol=1e-5)
"""


@pytest.mark.skipif(not installed("triton"), reason="Triton is not installed")
def test_the_triton_kernels_are_the_recurrence_in_the_interpreter():
    environment = {**os.environ, "TRITON_INTERPRET": "1"}  # which Triton reads once, when it is imported

    done = subprocess.run([sys.executable, "-c", INTERPRETED], env=environment, capture_output=True, text=True)

    assert done.returncode == 0, done.stderr
