"""Every implementation of the causal convolution is the loop that defines it, in its outputs and in every gradient."""

import pytest
import torch
from torch.nn.functional import conv1d, pad, silu

from ssm_zoo import DtypeError, OptionError, ShapeError
from ssm_zoo.scan import causal_conv, choose_conv, scan_threads, set_scan_threads
from ssm_zoo.scan._operation import installed

ALL = ["reference", "torch"] + (["numba"] if installed("numba") else [])
FAST = ALL[1:]
TOLERANCE = {torch.float32: 1e-5, torch.float64: 1e-12}
SHAPES = {  # batch, length, channels, taps
    "plain": (2, 5, 3, 4),
    "part of a line, more than a chunk": (3, 70, 37, 4),
    "whole lines": (1, 130, 64, 2),
    "one step": (2, 1, 16, 4),
    "one tap": (2, 3, 20, 1),
    "no steps": (2, 0, 3, 4),
    "no sequences": (0, 5, 3, 4),
}


@pytest.fixture(autouse=True)
def two_threads(monkeypatch):
    if "numba" in ALL:
        monkeypatch.setattr("ssm_zoo.scan.shares._WORTH_A_THREAD", 1)  # so that even a test's few steps are shared out
    before = set_scan_threads(2)
    yield
    set_scan_threads(before)


def problem(shape, dtype=torch.float64):
    batch, length, channels, taps = shape
    random = torch.Generator().manual_seed(0)
    sizes = {
        "inputs": (batch, length, channels),
        "weight": (channels, taps),
        "bias": (channels,),
        "state": (batch, taps - 1, channels),
    }
    return {name: torch.randn(size, generator=random, dtype=dtype).requires_grad_() for name, size in sizes.items()}


def everything(implementation, arguments, **options):
    """Return outputs, last state and gradients by name."""
    outputs, last = causal_conv(**arguments, implementation=implementation, **options)
    random = torch.Generator().manual_seed(1)
    weights = [torch.randn(x.shape, generator=random, dtype=x.dtype) for x in (outputs, last)]
    gradients = torch.autograd.grad([outputs, last], list(arguments.values()), weights)
    return {"outputs": outputs.detach(), "last": last.detach(), **dict(zip(arguments, gradients, strict=True))}


def assert_same(got, wanted, tolerance):
    for name, value in wanted.items():
        assert got[name].dtype == value.dtype, name
        error = torch.linalg.vector_norm(got[name] - value)
        assert error <= tolerance * torch.linalg.vector_norm(value), name


@pytest.mark.parametrize("activation", ["silu", None])
@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
@pytest.mark.parametrize("implementation", FAST)
def test_outputs_and_all_gradients_are_those_of_the_definition(implementation, shape, dtype, activation):
    arguments = problem(shape, dtype)
    definition = "reference" if 0 not in shape else "torch"  # without a step there is nothing to define

    got = everything(implementation, arguments, activation=activation)

    assert_same(got, everything(definition, arguments, activation=activation), TOLERANCE[dtype])


@pytest.mark.parametrize("implementation", ALL)
def test_it_is_the_convolution_of_torch_on_a_padded_sequence(implementation):
    a = {name: tensor.detach() for name, tensor in problem((2, 9, 5, 4)).items()}
    del a["state"]

    outputs, _ = causal_conv(**a, implementation=implementation)

    wanted = conv1d(pad(a["inputs"].mT, (3, 0)), a["weight"][:, None], a["bias"], groups=5)
    torch.testing.assert_close(outputs, silu(wanted).mT)


@pytest.mark.parametrize("implementation", ALL)
def test_padding_counts_for_nothing_even_if_it_is_nan(implementation):
    lengths = torch.tensor([70, 65, 0])
    clean = problem(SHAPES["part of a line, more than a chunk"])
    dirty = {name: tensor.detach().clone() for name, tensor in clean.items()}
    for b, length in enumerate(lengths):
        dirty["inputs"][b, length:] = torch.nan

    got = everything(implementation, {k: v.requires_grad_() for k, v in dirty.items()}, lengths=lengths)

    for b, length in enumerate(lengths):
        alone = {name: x[b : b + 1] if name in ("inputs", "state") else x for name, x in clean.items()}
        y, last = causal_conv(**alone | {"inputs": alone["inputs"][:, :length]}, implementation="torch")
        torch.testing.assert_close(got["outputs"][b, :length], y[0].detach())
        torch.testing.assert_close(got["last"][b], last[0].detach())
        assert not got["outputs"][b, length:].any()
        assert not got["inputs"][b, length:].any()
    assert_same(got, everything("reference", dirty, lengths=lengths), 1e-12)


@pytest.mark.parametrize("implementation", ALL)
def test_a_sequence_in_pieces_is_the_sequence_in_one(implementation):
    arguments = problem((2, 100, 5, 4))
    whole, last = causal_conv(**arguments, implementation=implementation)

    state, pieces = arguments["state"], []
    for piece in arguments["inputs"].split([1, 2, 0, 40, 57], 1):
        y, state = causal_conv(**arguments | {"inputs": piece, "state": state}, implementation=implementation)
        pieces.append(y)

    torch.testing.assert_close(torch.cat(pieces, 1), whole)
    torch.testing.assert_close(state, last)


@pytest.mark.parametrize("implementation", FAST)
def test_slices_of_a_wider_tensor_are_read_where_they_lie(implementation):
    arguments = problem((2, 9, 20, 3))
    wide = torch.cat([arguments["inputs"].detach(), torch.full((2, 9, 20), torch.nan)], -1).requires_grad_()

    got = everything(implementation, arguments | {"inputs": wide[..., :20]})

    assert_same(got, everything(implementation, arguments), 1e-14)


@pytest.mark.parametrize("implementation", ALL)
def test_gradients_are_finite_differences(implementation):
    def run(*tensors):
        return causal_conv(*tensors, implementation=implementation)

    assert torch.autograd.gradcheck(run, tuple(problem((2, 4, 3, 3)).values()), fast_mode=True)


@pytest.mark.parametrize("implementation", ALL)
def test_half_precision_is_raised_and_its_gradient_comes_back_in_half(implementation):
    arguments = problem(SHAPES["plain"], torch.float32)
    half = arguments["inputs"].detach().bfloat16().requires_grad_()

    outputs, _ = causal_conv(**arguments | {"inputs": half}, implementation=implementation)
    outputs.sum().backward()

    assert outputs.dtype == torch.float32
    assert half.grad.dtype == torch.bfloat16


@pytest.mark.skipif("numba" not in ALL, reason="needs Numba")
def test_the_number_of_threads_does_not_change_the_outputs():
    arguments = problem(SHAPES["part of a line, more than a chunk"])
    two = everything("numba", arguments)

    set_scan_threads(1)

    assert scan_threads() == 1
    assert_same(everything("numba", arguments), two, 1e-14)


@pytest.mark.parametrize("implementation", FAST)
def test_it_compiles_without_a_break(implementation):
    arguments = problem(SHAPES["plain"])

    @torch.compile(fullgraph=True, backend="aot_eager")
    def run(**tensors):
        return causal_conv(**tensors, implementation=implementation)

    outputs, _ = run(**arguments)
    gradient = torch.autograd.grad(outputs.sum(), arguments["inputs"])[0]

    wanted, _ = causal_conv(**arguments, implementation=implementation)
    torch.testing.assert_close(outputs, wanted)
    torch.testing.assert_close(gradient, torch.autograd.grad(wanted.sum(), arguments["inputs"])[0])


BAD = {
    "inputs without batch": ({"inputs": torch.zeros(5, 3).double()}, ShapeError, r"\(batch, length, d\)"),
    "weight of Conv1d": ({"weight": torch.zeros(3, 1, 4).double()}, ShapeError, "squeeze"),
    "bias of another size": ({"bias": torch.zeros(4).double()}, ShapeError, r"bias must be \(3,\)"),
    "state with channels first": ({"state": torch.zeros(2, 4, 3).double()}, ShapeError, r"state must be \(2, 3, 3\)"),
    "half weight": ({"weight": torch.zeros(3, 4).half()}, DtypeError, "float32 or float64"),
    "inputs of lower precision": ({"inputs": torch.zeros(2, 5, 3)}, DtypeError, "inputs must be torch.float64"),
    "lengths beyond the end": ({"lengths": torch.tensor([5, 6])}, ShapeError, "from 0 to 5"),
    "unknown activation": ({"activation": "relu"}, OptionError, "'silu' or None"),
    "unknown implementation": ({"implementation": "cuda"}, OptionError, "'reference'"),
}


@pytest.mark.parametrize(("change", "error", "message"), BAD.values(), ids=BAD)
def test_arguments_that_do_not_fit_are_named(change, error, message):
    with pytest.raises(error, match=message):
        causal_conv(**problem(SHAPES["plain"]) | change)


def test_one_step_is_not_worth_a_kernel():
    assert choose_conv(torch.zeros(2, 1, 3)).implementation == "torch"
    assert choose_conv(torch.zeros(2, 2, 3)).implementation == ALL[-1]
