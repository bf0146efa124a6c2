"""Mamba is the same function however it is computed: in one piece, in pieces, step by step, padded, compiled."""

import copy
from functools import partial

import numpy as np
import pytest
import torch

from ssm_zoo import DtypeError, OptionError, ShapeError
from ssm_zoo.layers import Mamba, MambaState, gather_moments
from ssm_zoo.scan import set_scan_threads
from ssm_zoo.scan._operation import installed
from ssm_zoo.streaming import stepper

ALL = ["reference", "torch"] + (["numba"] if installed("numba") else [])


@pytest.fixture(autouse=True)
def two_threads(monkeypatch):
    if "numba" in ALL:
        monkeypatch.setattr("ssm_zoo.scan.shares._WORTH_A_THREAD", 1)  # so that even a test's few steps are shared out
    before = set_scan_threads(2)
    yield
    set_scan_threads(before)


def layer(scan="auto", dtype=None, **options):
    torch.manual_seed(0)
    return Mamba(10, 3, scan=scan, dtype=dtype, **options)


def inputs(batch=2, length=40, dtype=None):
    return torch.randn(batch, length, 10, generator=torch.Generator().manual_seed(1), dtype=dtype)


def everything(mamba, x):
    """Return outputs, last state and gradients by name."""
    x = x.clone().requires_grad_()
    y, state = mamba(x, return_state=True)
    loss = (y * y.detach().cos()).sum() + sum((part * part.detach().sin()).sum() for part in state)
    names, tensors = zip(("x", x), *mamba.named_parameters(), strict=True)
    gradients = torch.autograd.grad(loss, tensors)
    return {"y": y, "conv": state.conv, "ssm": state.ssm, **dict(zip(names, gradients, strict=True))}


@pytest.mark.parametrize(
    "options", [{}, {"bias": True, "conv_bias": False, "d_conv": 2, "dt_rank": 4}], ids=["", "options"]
)
@pytest.mark.parametrize("scan", ALL[1:])
def test_every_scan_gives_the_same_outputs_states_and_gradients(scan, options):
    got = everything(layer(scan, torch.float64, **options), inputs(dtype=torch.float64))

    wanted = everything(layer("reference", torch.float64, **options), inputs(dtype=torch.float64))
    for name, value in wanted.items():
        torch.testing.assert_close(got[name], value, msg=lambda text, name=name: f"{name}: {text}")


@pytest.mark.parametrize("scan", ALL)
def test_a_sequence_in_pieces_or_steps_is_the_sequence_in_one(scan):
    mamba, x = layer(scan), inputs()
    whole, last = mamba(x, return_state=True)

    state, pieces = mamba.init_state(2), []
    for piece in x[:, :25].split([1, 2, 0, 22], 1):
        y, state = mamba(piece, state, return_state=True)
        pieces.append(y)
    for t in range(25, 40):
        y, state = mamba.step(x[:, t], state)
        pieces.append(y[:, None])

    torch.testing.assert_close(torch.cat(pieces, 1), whole)
    torch.testing.assert_close(state, last)


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("options", [{}, {"bias": True, "conv_bias": False, "d_conv": 1}], ids=["", "options"])
def test_the_fused_step_is_a_step(batch, options):
    mamba, x = layer(**options), inputs(batch, 9)
    whole, last = mamba(x, return_state=True)

    state = mamba.init_state(batch)
    with torch.no_grad():
        for t in range(9):
            y, state = mamba.step(x[:, t], state)

    torch.testing.assert_close(y, whole[:, -1].detach())
    torch.testing.assert_close(state, MambaState(*(part.detach() for part in last)))


@pytest.mark.skipif("numba" not in ALL, reason="needs Numba")
@pytest.mark.parametrize("lengths", [None, (300, 7, 0)], ids=["full", "padded"])
def test_where_a_tile_ends_does_not_matter(lengths):
    x, lengths = inputs(3, 300, torch.float64), None if lengths is None else torch.tensor(lengths)
    results = []

    for scan in ("numba", "torch"):
        mamba, here = layer(scan, torch.float64, bias=True), x.clone().requires_grad_()
        y, state = mamba(here, MambaState(*map(torch.ones_like, mamba.init_state(3))), lengths, return_state=True)
        loss = y.square().sum() + sum(part.square().sum() for part in state)
        results.append([y, *state, *torch.autograd.grad(loss, [here, *mamba.parameters()])])

    for got, wanted in zip(*results, strict=True):
        torch.testing.assert_close(got, wanted)


def test_neither_inputs_nor_states_are_modified():
    mamba, x = layer(), inputs(3, 300)
    state = MambaState(*(torch.ones_like(part) for part in mamba.init_state(3)))

    _, new = mamba(x, state, return_state=True)
    (new.ssm.sum() + new.conv.sum()).backward()
    with torch.no_grad():
        mamba.step(x[:, 0], state)

    assert torch.equal(x, inputs(3, 300))
    assert all(bool((part == 1).all()) for part in state)


@pytest.mark.skipif("numba" not in ALL, reason="needs Numba")
def test_the_same_inputs_give_the_same_bits():
    first, again = (everything(layer(), inputs(5, 300)) for _ in range(2))

    assert all(torch.equal(first[name], again[name]) for name in first)


def test_the_fused_step_sees_every_change_of_a_parameter():
    mamba, x = layer(), inputs(2, 1)[:, 0]
    with torch.no_grad():
        mamba.step(x, mamba.init_state(2))
        mamba.A_log.add_(1)
        mamba.out_proj.weight = torch.nn.Parameter(2 * mamba.out_proj.weight)

        got, _ = mamba.step(x, mamba.init_state(2))

        torch.testing.assert_close(got, mamba(x[:, None])[:, 0])


def test_a_stepper_is_a_frozen_copy():
    mamba, x = layer(), inputs(2, 5)
    frozen = stepper(mamba, 2)
    wanted = mamba(x).detach().numpy()
    with torch.no_grad():
        mamba.D.zero_()

    got = [frozen.step(x[:, t].numpy()).copy() for t in range(5)]

    np.testing.assert_allclose(np.stack(got, 1), wanted, atol=1e-6)


@pytest.mark.parametrize("padding", ["right", "left"])
@pytest.mark.parametrize("scan", ALL)
def test_padding_counts_for_nothing_on_either_side(scan, padding):
    mamba, x, lengths = layer(scan, bias=True), inputs(3, 12), torch.tensor([12, 7, 0])
    dirty = x.clone()
    real = [slice(12 - n, 12) if padding == "left" else slice(0, n) for n in lengths.tolist()]
    mask = torch.ones(3, 12, dtype=torch.bool)
    for b, span in enumerate(real):
        mask[b, span] = False
    dirty[mask] = torch.nan
    dirty.requires_grad_()

    y, state = mamba(dirty, lengths=lengths, padding=padding, return_state=True)
    y.sum().backward()

    for b, span in enumerate(real):
        alone, last = mamba(x[b : b + 1, span], return_state=True)
        torch.testing.assert_close(y[b, span], alone[0])
        torch.testing.assert_close(state.ssm[b], last.ssm[0])
        torch.testing.assert_close(state.conv[b], last.conv[0])
    assert not y[mask].any()
    assert not dirty.grad[mask].any()
    assert dirty.grad.isfinite().all()


@pytest.mark.parametrize("shape", [(0, 5), (2, 0), (1, 1)], ids=str)
def test_no_sequences_no_steps_and_one_of_each_are_ordinary(shape):
    mamba = layer()

    y, state = mamba(inputs(*shape), return_state=True)
    y.sum().backward()

    assert y.shape == (*shape, 10)
    assert state.ssm.shape == (shape[0], 20, 3)
    assert mamba.A_log.grad is not None


def test_moments_are_gathered_while_the_layer_runs():
    mamba, x = layer(), inputs(2, 6)
    states, state = [], mamba.init_state(2)
    for t in range(6):
        _, state = mamba.step(x[:, t], state)
        states.append(state.ssm)

    with gather_moments(mamba) as gathered:
        mamba(x).sum().backward()

    h = torch.stack(states).detach().double().flatten(0, 2)
    torch.testing.assert_close(gathered[""].states(), h.mT @ h / len(h))
    assert gathered[""].adjoints().diagonal().min() > 0
    assert mamba.moments is None


@pytest.mark.parametrize("scan", ALL)
def test_autocast_lowers_products_but_no_states(scan):
    mamba, x = layer(scan), inputs()
    wanted = mamba(x)

    with torch.autocast("cpu", dtype=torch.bfloat16):
        y, state = mamba(x, return_state=True)
    y.float().sum().backward()

    assert y.dtype == torch.bfloat16
    assert state.ssm.dtype == torch.float32
    torch.testing.assert_close(y.float(), wanted, atol=0.02, rtol=0.02)


def test_a_layer_in_half_precision_keeps_its_state_in_single():
    mamba = layer(dtype=torch.bfloat16)

    y, state = mamba(inputs().bfloat16(), return_state=True)

    assert y.dtype == torch.bfloat16
    assert state.ssm.dtype == state.conv.dtype == torch.float32


@pytest.mark.parametrize("scan", ALL[1:])
def test_it_compiles_without_a_break_and_exports(scan):
    mamba, x = layer(scan), inputs(2, 3)

    compiled = torch.compile(mamba, fullgraph=True, backend="aot_eager")
    with torch.no_grad():
        exported = torch.export.export(mamba, (x,)).module()

    torch.testing.assert_close(compiled(x), mamba(x))
    torch.testing.assert_close(exported(x), mamba(x))


def test_the_state_dict_is_that_of_mamba_ssm_and_loads_back():
    mamba, other = layer(), Mamba(10, 3)
    names = "A_log D in_proj.weight conv1d.weight conv1d.bias x_proj.weight dt_proj.weight dt_proj.bias out_proj.weight"

    other.load_state_dict(mamba.state_dict())

    assert sorted(mamba.state_dict()) == sorted(names.split())
    assert torch.equal(other(inputs()), mamba(inputs()))
    assert mamba.A_log._no_weight_decay
    assert mamba.D._no_weight_decay


def test_step_sizes_start_where_they_were_asked_to():
    mamba = Mamba(64, 4, dt_min=0.01, dt_max=0.02, dt_init="constant", dt_scale=0.5)

    dt = torch.nn.functional.softplus(mamba.dt_proj.bias)

    assert dt.min() >= 0.0099
    assert dt.max() <= 0.0201
    assert torch.equal(mamba.dt_proj.weight, torch.full((128, 4), 0.25))


def test_a_copy_runs_by_itself():
    mamba, x = layer(), inputs(1, 3)
    with torch.no_grad():
        mamba.step(x[:, 0], mamba.init_state(1))

        other = copy.deepcopy(mamba)
        mamba.D.zero_()

        assert not torch.equal(other.step(x[:, 0], other.init_state(1))[0], mamba.step(x[:, 0], mamba.init_state(1))[0])


def test_it_computes_what_the_mixer_of_transformers_does():
    transformers = pytest.importorskip("transformers")
    from transformers.models.mamba.modeling_mamba import MambaMixer

    config = transformers.MambaConfig(hidden_size=10, state_size=3, num_hidden_layers=1, time_step_rank=1)
    mixer, mamba, x = MambaMixer(config, layer_idx=0), layer(), inputs(2, 7)
    mixer.load_state_dict(mamba.state_dict())

    theirs = mixer(x)
    (theirs * theirs.detach().cos()).sum().backward()
    ours = mamba(x)
    (ours * ours.detach().cos()).sum().backward()

    torch.testing.assert_close(ours, theirs)
    for name, parameter in mixer.named_parameters():
        torch.testing.assert_close(mamba.get_parameter(name).grad, parameter.grad, atol=1e-6, rtol=1e-4)


BAD = {
    "x without batch": (lambda: layer()(torch.zeros(5, 10)), ShapeError, r"\(batch, length, 10\)"),
    "x too narrow": (lambda: layer()(torch.zeros(2, 5, 9)), ShapeError, r"\(2, 5, 9\)"),
    "x in double precision": (lambda: layer()(inputs(dtype=torch.float64)), DtypeError, "torch.float32"),
    "x_t with time": (lambda: layer().step(inputs(), layer().init_state(2)), ShapeError, r"\(batch, 10\)"),
    "state of another batch": (lambda: layer()(inputs(), layer().init_state(3)), ShapeError, r"state.conv must be \(2"),
    "no states": (partial(Mamba, 10, 0), OptionError, "d_state=0"),
    "dt_min above dt_max": (partial(Mamba, 10, dt_min=1.0), OptionError, "dt_min=1.0"),
    "unknown start": (partial(Mamba, 10, dt_init="zero"), OptionError, "'random' or 'constant'"),
    "unknown scan": (lambda: layer("cuda")(inputs()), OptionError, "'reference'"),
}


@pytest.mark.parametrize(("call", "error", "message"), BAD.values(), ids=BAD)
def test_arguments_that_do_not_fit_are_named(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_explain_says_what_runs_and_why():
    assert f"4 x 100 steps on cpu: {ALL[-1]}" in layer().explain(4, 100)
    assert "asked for" in layer("torch").explain(4, 100)
