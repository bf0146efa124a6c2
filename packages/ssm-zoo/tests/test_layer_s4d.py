"""S4D: what every layer promises, and what is its own."""

import numpy as np
import pytest
import torch

from ssm_gramians import Diagonal, InstabilityError, StateSpace, controllability_gramian
from ssm_zoo import OptionError, ReductionError, ShapeError, UnsupportedError
from ssm_zoo.layers import S4D, Reducible
from ssm_zoo.layers.hippo import hippo, low_rank
from ssm_zoo.scan.channel.operation import OPERATION
from ssm_zoo.streaming import TorchStepper, stepper
from ssm_zoo.testing import LayerConformance

SCANS = (*(name for name in OPERATION.available() if name != "triton"), "fft")


class TestS4D(LayerConformance):
    scans = SCANS

    def make(self, scan="auto"):
        return S4D(self.d_model, 5, scan=scan)


class TestBilinearS4D(LayerConformance):
    def make(self, scan="auto"):
        return S4D(self.d_model, 3, init="inv", discretization="bilinear", dt_max=0.5, scan=scan)


class TestBidirectionalS4D(LayerConformance):
    scans = SCANS
    streams = False

    def make(self, scan="auto"):
        return S4D(self.d_model, 3, init="lin", bidirectional=True, scan=scan)


def draw(*shape, dtype=torch.float64):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(2), dtype=dtype)


@pytest.fixture
def make():
    def seeded(*arguments, **options):
        torch.manual_seed(0)
        return S4D(*arguments, **options).double()

    return seeded


def by_convolution(layer, x):
    """Return the outputs as the published code computes them: the whole Vandermonde matrix, then a sum over taps."""
    p = {name: value.detach() for name, value in layer.named_parameters()}
    A, dt = torch.complex(-p["log_A_real"].exp(), p["A_imag"]), p["log_dt"].exp()[:, None]
    C = torch.view_as_complex(p["C"]) * ((A * dt).exp() - 1) / A
    kernel = 2 * (C[..., None] * (A * dt)[..., None].mul(torch.arange(x.shape[1])).exp()).sum(1).real  # (H, length)
    lags = torch.arange(x.shape[1])
    shifted = torch.stack([torch.cat([torch.zeros_like(x[:, :k]), x[:, : x.shape[1] - k]], 1) for k in lags], -1)
    return (shifted * kernel).sum(-1) + p["D"] * x


@pytest.mark.parametrize("scan", SCANS)
def test_it_is_the_published_convolution(make, scan):
    layer, x = make(3, 4, init="lin", scan=scan), draw(2, 70, 3)

    torch.testing.assert_close(layer(x), by_convolution(layer, x))


def test_parameters_have_the_published_names_and_shapes():
    layer = S4D(5, 3, bidirectional=True)

    shapes = {name: tuple(value.shape) for name, value in layer.state_dict().items()}

    assert shapes == {
        "D": (5,),
        "log_dt": (5,),
        "log_A_real": (5, 3),
        "A_imag": (5, 3),
        "C": (5, 3, 2),
        "C2": (5, 3, 2),
    }
    assert layer.log_dt._optim == {"weight_decay": 0.0}
    assert layer.D._no_weight_decay
    assert not hasattr(layer.C, "_no_weight_decay")


def test_legs_starts_at_the_normal_part_of_hippo():
    layer = S4D(2, 6, init="legs").double()

    A, P = hippo("legs", 12)[0], low_rank("legs", 12)
    wanted = torch.linalg.eigvals(A + P @ P.mT)
    wanted = wanted[wanted.imag > 0]
    torch.testing.assert_close(layer.A_imag[0].sort().values, wanted.imag.sort().values, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(layer.log_A_real.exp(), torch.full((2, 6), 0.5).double(), rtol=1e-6, atol=0)


@pytest.mark.parametrize(
    ("init", "wanted"),
    [
        ("lin", [-0.5, -0.5 + 1j * np.pi]),
        ("inv", [-0.5 + 12j / np.pi, -0.5 + (4 / 3 - 1) * 4j / np.pi]),
        ("quad", [-0.5 + 1j / np.pi, -0.5 + 9j / np.pi]),
        ("real", [-1, -2]),
    ],
)
def test_the_published_starts(init, wanted):
    layer = S4D(1, 2, init=init)

    got = torch.complex(-layer.log_A_real.exp(), layer.A_imag)[0]

    torch.testing.assert_close(got, torch.tensor(wanted, dtype=torch.complex64))


@pytest.mark.parametrize("discretization", ["zoh", "bilinear"])
def test_small_steps_lose_no_digits(discretization):
    layer = S4D(1, 1, init="real", discretization=discretization, dt_min=1e-5, dt_max=1e-5)

    scale = layer.input_scale(layer).item()

    assert scale == pytest.approx(1e-5, rel=1e-5 + 1e-6)


@pytest.mark.parametrize("options", [{}, {"discretization": "bilinear"}, {"bidirectional": True}], ids=str)
def test_the_system_is_the_layer_one_step_late(make, options):
    layer, x = make(3, 4, **options), draw(1, 40, 3)

    system = layer.system()
    pulses = system.impulse_response(41)[:, 1:, :, 0]  # (H, steps, outputs)

    y = torch.stack(
        [
            torch.nn.functional.conv1d(
                torch.nn.functional.pad(x.mT, (39, 0)), pulses[..., k].flip(1)[:, None], groups=3
            ).mT
            for k in range(pulses.shape[-1])
        ]
    )
    if layer.bidirectional:
        flipped = x.flip(1)
        backward = torch.nn.functional.conv1d(
            torch.nn.functional.pad(flipped.mT, (39, 0)), pulses[..., 1].flip(1)[:, None], groups=3
        ).mT.flip(1)
        y = y[:1] + backward
    torch.testing.assert_close(layer(x), y[0] + layer.D * x, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("options", [{}, {"discretization": "bilinear"}, {"bidirectional": True}], ids=str)
def test_a_system_is_loaded_whatever_its_size(make, options):
    layer, source, x = make(3, 6, **options), make(3, 2, init="inv", **options), draw(2, 30, 3)
    system = source.system()
    scale = torch.complex(1 + draw(3, 2).abs(), draw(3, 2))

    layer.load_system(StateSpace(system.A, system.B * scale[..., None], system.C / scale[:, None], system.D, dt=1.0))

    assert layer.d_state == 2
    assert isinstance(layer, Reducible)
    assert layer.log_dt._optim == {"weight_decay": 0.0}
    torch.testing.assert_close(layer(x), source(x))


def test_what_no_layer_can_be_is_refused(make):
    layer = make(3, 4)
    system = layer.system()
    with pytest.raises(ShapeError, match="batch of 3"):
        layer.load_system(make(2, 4).system())
    with pytest.raises(InstabilityError, match="unit circle"):
        layer.load_system(StateSpace(Diagonal(1.5 * system.A.eigenvalues, True), system.B, system.C, dt=1.0))
    with pytest.raises(ReductionError, match="NaN"):
        layer.load_system(StateSpace(system.A, system.B * torch.nan, system.C, dt=1.0))
    with pytest.raises(ShapeError, match="left"):
        layer.surgery(system, system.C, system.C)
    with pytest.raises(OptionError, match="init='hippo'"):
        S4D(2, 3, init="hippo")
    with pytest.raises(OptionError, match="'fast'"):
        S4D(2, 3, scan="fast")
    with pytest.raises(OptionError, match="dt_min"):
        S4D(2, 3, dt_min=0.2)
    with pytest.raises(UnsupportedError, match="both ends"):
        S4D(2, 3, bidirectional=True).init_state(1)


@pytest.mark.parametrize("options", [{}, {"bidirectional": True}], ids=str)
def test_moments_of_the_optimiser_move_like_gradients(make, options):
    """A change of coordinates alone: the transported gradient is the gradient of the new layer."""
    layer, x = make(3, 4, **options), draw(2, 25, 3)
    order, scale = torch.tensor([2, 0, 3, 1]), torch.complex(1 + draw(3, 4).abs(), draw(3, 4))
    old = layer.system()
    new = StateSpace(
        Diagonal(old.A.eigenvalues[:, order], True), old.B[:, order] * scale[..., None],
        old.C[..., order] / scale[:, None], old.D, dt=1.0,
    )  # fmt: skip
    T = torch.diag_embed(scale) @ torch.eye(4, dtype=scale.dtype)[order]  # z = T x
    left = torch.cat([T, 1j * T], -1).mH
    right = torch.cat([torch.linalg.inv(T), -1j * torch.linalg.inv(T)], -2) / 2
    names = ["log_A_real", "A_imag", *(name for name in ("C", "C2") if hasattr(layer, name))]
    layer(x).square().sum().backward()
    before = {name: layer.get_parameter(name).grad.clone() for name in names}

    surgery = layer.surgery(new, left, right)
    twin = make(3, 4, **options)
    twin.load_system(new)
    twin(x).square().sum().backward()

    for name in names:
        torch.testing.assert_close(surgery.parameters[name], twin.get_parameter(name).detach())
    for name in names[2:]:
        torch.testing.assert_close(surgery.moments[name](before, 1), twin.get_parameter(name).grad)
    torch.testing.assert_close(surgery.moments["A_imag"](before, 2), before["A_imag"][:, order])
    assert not surgery.moments["log_A_real"](before, 1).any()


def test_the_second_moment_of_noise_is_the_gramian(make):
    layer = make(2, 2, init="lin", dt_min=0.3, dt_max=0.5)

    moment = layer.second_moment(draw(4, 20_000, 2))

    P = controllability_gramian(layer.system())
    assert torch.linalg.matrix_norm(moment - P).max() <= 0.03 * torch.linalg.matrix_norm(P).max()


def test_the_second_moment_is_that_of_both_directions_and_of_real_steps(make):
    layer, x = make(2, 3, bidirectional=True), draw(2, 30, 2)
    lengths = torch.tensor([30, 11])
    one_way = make(2, 3)

    got = layer.second_moment(x, lengths)

    parts = [one_way.second_moment(z) for z in (x[:1], x[:1].flip(1), x[1:, :11], x[1:, :11].flip(1))]
    torch.testing.assert_close(got, (30 * (parts[0] + parts[1]) + 11 * (parts[2] + parts[3])) / 82)
    assert layer.moments is None


@pytest.mark.skipif("numba" not in SCANS, reason="Numba is not installed")
def test_the_stepper_is_the_layer():
    torch.manual_seed(0)
    layer, x = S4D(5, 3), draw(2, 30, 5, dtype=torch.float32)
    run = stepper(layer, batch=2)
    y, last = layer(x, return_state=True)

    steps = np.stack([run.step(u).copy() for u in x.numpy().swapaxes(0, 1)], 1)

    assert not isinstance(run, TorchStepper)
    np.testing.assert_allclose(steps, y.detach().numpy(), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(run.state, last.detach().numpy(), rtol=1e-4, atol=1e-5)
    run.state = layer.init_state(2).numpy()
    np.testing.assert_array_equal(run.step(x[:, 0].numpy()), steps[:, 0])
    run.reset()
    assert not run.state.any()
    with pytest.raises(ShapeError, match="x_t"):
        run.step(np.zeros((3, 5), dtype=np.float32))
    with pytest.raises(ShapeError, match="state"):
        run.state = np.zeros((2, 5), dtype=np.complex64)


def test_a_double_layer_steps_by_itself(make):
    assert isinstance(stepper(make(2, 3)), TorchStepper)


def test_auto_says_what_it_takes():
    layer = S4D(3, 4)

    assert "one step" in layer.explain(2, 1)
    assert layer.choose(8, 2048, stateful=True).implementation != "fft"
    assert S4D(1, 200).choose(8, 4096, stateful=False).implementation == "fft"
    assert "asked for" in S4D(3, 4, scan="fft").explain(2, 100)


def test_half_precision_keeps_the_recurrence_in_single():
    torch.manual_seed(0)
    layer, x = S4D(3, 4), draw(2, 60, 3, dtype=torch.float32)
    wanted = layer(x)

    y = layer.bfloat16()(x.bfloat16())

    assert y.dtype == torch.bfloat16
    assert torch.linalg.vector_norm(y.float() - wanted) <= 0.05 * torch.linalg.vector_norm(wanted)
