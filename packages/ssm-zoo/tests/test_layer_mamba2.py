"""Mamba-2 is the layer of its paper: by every scan, in pieces, in steps, and with the weights of others."""

import numpy as np
import pytest
import torch

from ssm_zoo._errors import DtypeError, OptionError, ShapeError
from ssm_zoo.layers.mamba2 import Mamba2
from ssm_zoo.scan import gated_norm
from ssm_zoo.scan.dual.operation import available_ssd
from ssm_zoo.streaming import stepper
from ssm_zoo.testing import LayerConformance

SCANS = tuple(name for name in available_ssd() if name != "triton")
NUMBA = pytest.mark.skipif("numba" not in SCANS, reason="needs Numba")

VARIANTS = {
    "plain": {},
    "groups": {"ngroups": 2},
    "everything else": {
        "bias": True,
        "conv_bias": False,
        "D_has_hdim": True,
        "norm_before_gate": True,
        "dt_limit": (0.01, 0.05),
        "d_conv": 2,
    },
    "no norm, one tap": {"rmsnorm": False, "d_conv": 1},
}


class TestMamba2(LayerConformance):
    scans = SCANS

    def make(self, scan="auto"):
        return Mamba2(d_model=self.d_model, d_state=5, headdim=2, ngroups=2, bias=True, scan=scan)


class TestMamba2WithLearnedStart(LayerConformance):
    scans = ("reference",)

    def make(self, scan="auto"):
        layer = Mamba2(
            self.d_model, 3, headdim=4, D_has_hdim=True, norm_before_gate=True, learnable_init_states=True, scan=scan
        )
        torch.nn.init.normal_(layer.init_states)
        return layer


def shaken(seed=0, **options):
    """Return a layer whose vectors are not what they are at the start, where half of them are one."""
    torch.manual_seed(seed)
    layer = Mamba2(12, **{"d_state": 5, "headdim": 6, **options})
    with torch.no_grad():
        for value in layer.parameters():
            if value.ndim == 1:
                value.add_(0.1 * torch.randn_like(value))
    return layer


@NUMBA
@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("options", VARIANTS.values(), ids=VARIANTS)
def test_the_kernel_of_a_step_is_the_layer(options, batch):
    layer = shaken(**options)
    x = torch.randn(batch, 9, 12)

    with torch.no_grad():
        wanted, last = layer(x, return_state=True)
        state, outputs = layer.init_state(batch), []
        for x_t in x.unbind(1):
            y_t, state = layer.step(x_t, state)
            outputs.append(y_t)

    assert layer._fused is not None
    torch.testing.assert_close(torch.stack(outputs, 1), wanted, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(state.ssm, last.ssm, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(state.conv, last.conv)


@pytest.mark.parametrize("scan", [scan for scan in SCANS if scan != "reference"])
def test_a_stepper_is_the_layer_and_goes_back_to_its_start(scan):
    layer = shaken(learnable_init_states=True, scan=scan)
    x = torch.randn(2, 5, 12)
    running = stepper(layer, 2)

    first = np.stack([running.step(x_t.numpy()).copy() for x_t in x.unbind(1)], 1)
    held = type(running.state)(*(part.copy() for part in running.state))
    running.reset()
    again = np.stack([running.step(x_t.numpy()).copy() for x_t in x.unbind(1)], 1)
    running.state = held
    after = running.step(x[:, 0].numpy())

    wanted = layer(torch.cat([x, x[:, :1]], 1)).detach().numpy()
    np.testing.assert_allclose(first, wanted[:, :5], rtol=1e-4, atol=1e-6)
    np.testing.assert_array_equal(again, first)
    np.testing.assert_allclose(after, wanted[:, 5], rtol=1e-4, atol=1e-6)


@NUMBA
def test_a_stepper_names_what_does_not_fit():
    running = stepper(shaken(), 2)

    with pytest.raises(ShapeError, match=r"\(2, 12\)"):
        running.step(np.zeros((1, 12), dtype=np.float32))
    with pytest.raises(DtypeError, match="float64"):
        running.step(np.zeros((2, 12)))
    with pytest.raises(ShapeError, match="state"):
        running.state = tuple(part[:1] for part in running.state)


@NUMBA
def test_a_step_sees_a_replaced_map():
    layer, x_t = shaken(), torch.randn(1, 12)
    with torch.no_grad():
        layer.step(x_t, layer.init_state(1))
        layer.out_proj = torch.nn.Linear(24, 12, bias=False)
        got, _ = layer.step(x_t, layer.init_state(1))

        torch.testing.assert_close(got, layer(x_t[:, None])[:, 0])


def test_the_names_and_shapes_are_those_of_mamba_ssm():
    layer = Mamba2(16, 8, headdim=4, ngroups=2, learnable_init_states=True)

    shapes = {name: tuple(value.shape) for name, value in layer.state_dict().items()}

    assert shapes == {
        "dt_bias": (8,),
        "A_log": (8,),
        "D": (8,),
        "init_states": (8, 4, 8),
        "in_proj.weight": (2 * 32 + 2 * 2 * 8 + 8, 16),
        "conv1d.weight": (32 + 2 * 2 * 8, 1, 4),
        "conv1d.bias": (32 + 2 * 2 * 8,),
        "norm.weight": (32,),
        "out_proj.weight": (16, 32),
    }
    assert all(getattr(layer, name)._no_weight_decay for name in ("dt_bias", "A_log", "D", "init_states"))


def test_rates_and_steps_start_where_they_should():
    layer = Mamba2(64, 4, headdim=1, A_init_range=(2, 3), dt_min=0.01, dt_max=0.02)

    A, steps = layer.A_log.exp(), torch.nn.functional.softplus(layer.dt_bias)

    assert 2 <= A.min() < 2.1 < 2.9 < A.max() <= 3
    assert 0.00999 <= steps.min() < 0.0105 < 0.0195 < steps.max() <= 0.02001


def test_a_floor_holds_the_steps_up():
    layer = Mamba2(64, 4, headdim=1, dt_min=1e-6, dt_max=0.1, dt_init_floor=0.05)

    assert torch.nn.functional.softplus(layer.dt_bias).min() >= 0.04999


@pytest.mark.parametrize(
    "options",
    [
        {"d_state": 0},
        {"headdim": 7},
        {"ngroups": 5},
        {"A_init_range": (0, 1)},
        {"dt_min": 0.2},
        {"d_conv": 0},
    ],
    ids=str,
)
def test_sizes_that_do_not_fit_are_named(options):
    with pytest.raises(OptionError, match="wanted"):
        Mamba2(16, **{"headdim": 8, **options})


def test_it_says_which_scan_it_takes_and_why():
    assert "asked for" in Mamba2(8, 4, headdim=4, scan="torch").explain(2, 30)
    assert "one step" in Mamba2(8, 4, headdim=4).explain(2, 1)
    assert "d_state=4" in repr(Mamba2(8, 4, headdim=4))


def test_a_learned_start_gets_a_gradient():
    layer = Mamba2(8, 4, headdim=4, learnable_init_states=True)

    layer(torch.randn(2, 6, 8)).square().sum().backward()

    assert layer.init_states.grad.abs().min() > 0


# The gated norm


@NUMBA
@pytest.mark.parametrize("norm_before_gate", [False, True])
@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.float64, 1e-13)], ids=str)
def test_the_fused_norm_is_its_definition(dtype, tolerance, groups, norm_before_gate):
    packed = torch.randn(3, 7, 2 * 38, dtype=dtype, requires_grad=True)  # rows in the midst of others, no whole lines
    weight = torch.randn(38, dtype=dtype, requires_grad=True)

    found = []
    for implementation in ("numba", "reference"):
        u, z = packed.chunk(2, -1)
        options = {"groups": groups, "norm_before_gate": norm_before_gate, "implementation": implementation}
        y = gated_norm(u, z, weight, **options)
        pull = torch.linspace(-1, 1, y.numel(), dtype=dtype).view_as(y)
        found.append((y, *torch.autograd.grad((y * pull).sum(), (packed, weight))))

    for got, wanted in zip(*found, strict=True):
        assert torch.linalg.vector_norm(got - wanted) <= tolerance * torch.linalg.vector_norm(wanted)


def test_a_norm_that_does_not_fit_is_refused():
    u = torch.zeros(1, 2, 6)

    with pytest.raises(ShapeError, match="weight"):
        gated_norm(u, u, torch.ones(5))
    with pytest.raises(ShapeError, match="groups=4"):
        gated_norm(u, u, torch.ones(6), groups=4)


# The same layer elsewhere


def pair(groups):
    transformers = pytest.importorskip("transformers")
    from transformers.models.mamba2.modeling_mamba2 import Mamba2Mixer

    torch.manual_seed(0)
    config = transformers.Mamba2Config(
        hidden_size=32, state_size=16, head_dim=16, num_heads=4, n_groups=groups, chunk_size=32
    )
    theirs = Mamba2Mixer(config, 0)
    ours = Mamba2(32, 16, headdim=16, ngroups=groups)
    ours.load_state_dict(theirs.state_dict())
    return ours, theirs


@pytest.mark.filterwarnings("ignore")  # of transformers, about itself
@pytest.mark.parametrize("groups", [1, 2])
def test_outputs_and_gradients_are_those_of_transformers(groups):
    ours, theirs = pair(groups)
    x = torch.randn(3, 77, 32, requires_grad=True)

    found = []
    for layer in (ours, theirs):
        y = layer(x)
        names, values = zip(*sorted(layer.named_parameters()), strict=True)
        found.append((names, y, *torch.autograd.grad(y.square().sum(), (x, *values))))

    (names, *got), (wanted_names, *wanted) = found
    assert names == wanted_names
    for a, b in zip(got, wanted, strict=True):
        assert torch.linalg.vector_norm(a - b) <= 2e-5 * torch.linalg.vector_norm(b)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("padding", ["right", "left"])
def test_padded_outputs_are_those_of_transformers(padding):
    ours, theirs = pair(1)
    x, lengths = torch.randn(2, 20, 32), torch.tensor([20, 13])
    real = torch.arange(20) < lengths[:, None]
    real = real.flip(1) if padding == "left" else real

    got = ours(x, lengths=lengths, padding=padding)

    wanted = theirs(x, attention_mask=real.long())
    torch.testing.assert_close(got[real], wanted[real], rtol=1e-4, atol=1e-6)
    assert not got[~real].any()
