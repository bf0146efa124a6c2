"""Every implementation of the selective scan is the loop that defines it, in its outputs and in every gradient."""

import os
import subprocess
import sys
from functools import partial
from importlib.util import find_spec

import pytest
import torch
from torch.nn.functional import silu, softplus

from ssm_zoo import DtypeError, OptionError, ShapeError, UnsupportedError
from ssm_zoo.scan import Moments, choose_selective_scan, selective_scan, set_scan_threads
from ssm_zoo.scan._operation import installed

ALL = ["reference", "torch"] + (["numba"] if installed("numba") else [])
FAST = ALL[1:]
TOLERANCE = {torch.float32: 2e-5, torch.float64: 1e-12}
SHAPES = {  # batch, length, d, n
    "plain": (2, 5, 3, 4),
    "part of a line, more than a chunk": (3, 70, 37, 5),
    "whole lines, whole chunks": (1, 128, 64, 2),
    "one step, one state": (2, 1, 16, 1),
}
SEQUENCES = "u", "dt", "B", "C", "z"


@pytest.fixture(autouse=True)
def two_threads(monkeypatch):
    if "numba" in ALL:
        monkeypatch.setattr("ssm_zoo.scan.shares._WORTH_A_THREAD", 1)  # so that even a test's few steps are shared out
    before = set_scan_threads(2)
    yield
    set_scan_threads(before)


def problem(shape, dtype=torch.float64, *, full=True):
    batch, length, d, n = shape
    random = torch.Generator().manual_seed(0)
    sequences, states = (batch, length, d), (batch, length, n)
    sizes = {"u": sequences, "dt": sequences, "A": (d, n), "B": states, "C": states, "state": (batch, d, n)}
    if full:
        sizes |= {"D": (d,), "z": sequences, "dt_bias": (d,)}
    tensors = {name: torch.randn(size, generator=random, dtype=dtype) for name, size in sizes.items()}
    tensors["A"] = -tensors["A"].abs()
    if not full:
        tensors["dt"] = tensors["dt"].abs()
    return {name: tensor.requires_grad_() for name, tensor in tensors.items()}


def everything(implementation, arguments, *, moments=False, **options):
    """Return outputs, last state, gradients by name, and the moments of states and adjoint states."""
    full, n = "D" in arguments, arguments["A"].shape[1]
    gathered = Moments((n, n)) if moments else None
    outputs, last = selective_scan(
        **arguments, dt_softplus=full, moments=gathered, implementation=implementation, **options
    )
    random = torch.Generator().manual_seed(1)
    weights = [torch.randn(x.shape, generator=random, dtype=x.dtype) for x in (outputs, last)]
    torch.autograd.backward(
        [outputs, last], weights, inputs=[*arguments.values(), *([gathered.tap] if moments else [])]
    )
    results = {"outputs": outputs.detach(), "last": last.detach()}
    for name, tensor in arguments.items():
        results[f"d_{name}"], tensor.grad = tensor.grad, None
    return results | ({"states": gathered.states(), "adjoints": gathered.adjoints()} if moments else {})


def assert_same(got, wanted, tolerance):
    assert got.keys() == wanted.keys()
    for name, value in wanted.items():
        assert got[name].dtype == value.dtype, name
        error = torch.linalg.vector_norm(got[name] - value)
        assert error <= tolerance * torch.linalg.vector_norm(value), name


def test_the_definition_is_the_product_of_all_decays_between():
    a = {name: tensor.detach() for name, tensor in problem(SHAPES["plain"]).items()}

    outputs, last = selective_scan(**a, dt_softplus=True, implementation="reference")

    rate = softplus(a["dt"] + a["dt_bias"])
    for t in range(5):
        h = torch.exp(a["A"] * rate[:, : t + 1].sum(1)[..., None]) * a["state"]
        for k in range(t + 1):
            decay = torch.exp(a["A"] * rate[:, k + 1 : t + 1].sum(1)[..., None])
            h = h + decay * (rate[:, k] * a["u"][:, k])[..., None] * a["B"][:, k, None]
        y = (h * a["C"][:, t, None]).sum(-1) + a["D"] * a["u"][:, t]
        torch.testing.assert_close(outputs[:, t], y * silu(a["z"][:, t]))
    torch.testing.assert_close(last, h)


@pytest.mark.parametrize("full", [True, False], ids=["gate, bias, softplus", "bare"])
@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
@pytest.mark.parametrize("implementation", FAST)
def test_outputs_and_all_gradients_are_those_of_the_definition(implementation, shape, dtype, full):
    arguments = problem(shape, dtype, full=full)

    got = everything(implementation, arguments)

    assert_same(got, everything("reference", arguments), TOLERANCE[dtype])


@pytest.mark.parametrize("lengths", [None, (34, 20, 0)], ids=["full", "padded"])
@pytest.mark.parametrize("implementation", FAST)
def test_moments_are_those_of_the_definition_and_change_nothing_else(implementation, lengths):
    arguments = problem((3, 34, 18, 5))
    options = {} if lengths is None else {"lengths": torch.tensor(lengths)}

    got = everything(implementation, arguments, moments=True, **options)

    assert_same(got, everything("reference", arguments, moments=True, **options), 1e-12)
    without = everything(implementation, arguments, **options)
    assert_same({name: got[name] for name in without}, without, 1e-14)


def test_moments_are_sums_over_the_states_that_single_steps_return():
    a = {name: tensor.detach() for name, tensor in problem(SHAPES["plain"]).items()}
    moments, state, wanted = Moments((4, 4)), a["state"], 0

    selective_scan(**a, dt_softplus=True, moments=moments, implementation=ALL[-1])

    for t in range(5):
        step = {name: x[:, t : t + 1] if name in SEQUENCES else x for name, x in a.items()}
        _, state = selective_scan(**step | {"state": state}, dt_softplus=True)
        wanted = wanted + torch.einsum("bdn,bdm->nm", state, state) / (2 * 5 * 3)
    torch.testing.assert_close(moments.states(), wanted)


def test_adjoint_moments_are_sums_over_the_gradients_of_the_states():
    a = problem(SHAPES["plain"])
    moments, states, outputs, state = Moments((4, 4)), [], [], a["state"]
    for t in range(5):
        step = {name: x[:, t : t + 1] if name in SEQUENCES else x for name, x in a.items()}
        y, state = selective_scan(**step | {"state": state}, dt_softplus=True)
        states.append(state)
        outputs.append(y)

    selective_scan(**a, dt_softplus=True, moments=moments, implementation=ALL[-1])[0].sum().backward()

    adjoints = torch.autograd.grad(torch.cat(outputs, 1).sum(), states)
    wanted = sum(torch.einsum("bdn,bdm->nm", x, x) for x in adjoints) / (2 * 5 * 3)
    torch.testing.assert_close(moments.adjoints(), wanted)


@pytest.mark.parametrize("implementation", ALL)
def test_padding_counts_for_nothing_even_if_it_is_nan(implementation):
    lengths = torch.tensor([34, 20, 0])
    clean = problem((3, 34, 18, 5))
    dirty = {name: tensor.detach().clone() for name, tensor in clean.items()}
    for name in SEQUENCES:
        for b, length in enumerate(lengths):
            dirty[name][b, length:] = torch.nan

    got = everything(implementation, {k: v.requires_grad_() for k, v in dirty.items()}, lengths=lengths)

    for b, length in enumerate(lengths):
        alone = {name: x[b : b + 1] if name in ("state", *SEQUENCES) else x for name, x in clean.items()}
        alone |= {name: alone[name][:, :length] for name in SEQUENCES}
        y, last = selective_scan(**alone, dt_softplus=True, implementation="torch")
        torch.testing.assert_close(got["outputs"][b, :length], y[0].detach())
        torch.testing.assert_close(got["last"][b], last[0].detach())
        assert not any(got[f"d_{name}"][b, length:].any() for name in SEQUENCES)
        assert not got["outputs"][b, length:].any()
    assert all(x.isfinite().all() for x in got.values())


@pytest.mark.parametrize("implementation", ALL)
def test_a_sequence_in_pieces_is_the_sequence_in_one(implementation):
    arguments = {name: tensor.detach() for name, tensor in problem((2, 100, 5, 3)).items()}
    run = partial(selective_scan, dt_softplus=True, implementation=implementation)
    whole, last = run(**arguments)

    state, pieces, begin = arguments["state"], [], 0
    for steps in (1, 40, 0, 59):
        piece = {name: x[:, begin : begin + steps] for name, x in arguments.items() if name in SEQUENCES}
        y, state = run(**arguments | piece | {"state": state})
        pieces.append(y)
        begin += steps

    torch.testing.assert_close(torch.cat(pieces, 1), whole)
    torch.testing.assert_close(state, last)


@pytest.mark.parametrize("shape", [(2, 0, 3, 4), (0, 5, 3, 4)], ids=["no steps", "no sequences"])
@pytest.mark.parametrize("implementation", ALL)
def test_nothing_in_is_nothing_out_and_the_state_handed_on(implementation, shape):
    got = everything(implementation, problem(shape))

    assert got["outputs"].shape == shape[:3]
    assert torch.equal(got["last"], problem(shape)["state"])
    assert not got["d_A"].any()


@pytest.mark.parametrize("implementation", ALL)
def test_gradients_are_finite_differences(implementation):
    def run(u, dt, A, B, C, state, D, z, dt_bias):
        options = {"D": D, "z": z, "dt_bias": dt_bias, "dt_softplus": True}
        return selective_scan(u, dt, A, B, C, state, **options, implementation=implementation)

    assert torch.autograd.gradcheck(run, tuple(problem((2, 4, 3, 2)).values()), fast_mode=True)


@pytest.mark.parametrize("implementation", ALL)
def test_states_that_do_not_decay_and_states_that_die_at_once_are_ordinary(implementation):
    arguments = problem((1, 40, 3, 2), torch.float32, full=False)
    with torch.no_grad():
        arguments["A"][:, 0], arguments["A"][:, 1] = 0, -1e6

    got = everything(implementation, arguments)

    assert_same(got, everything("reference", arguments), 2e-5)


@pytest.mark.parametrize("implementation", ALL)
def test_a_nan_stays_in_its_channel_and_reaches_all_that_follows(implementation):
    arguments = {name: tensor.detach() for name, tensor in problem((2, 40, 20, 2)).items()}
    arguments["u"][1, 10, 3] = torch.nan

    outputs, last = selective_scan(**arguments, dt_softplus=True, implementation=implementation)

    assert outputs[1, 10:, 3].isnan().all()
    assert last[1, 3].isnan().all()
    assert outputs.isnan().sum() == 30


@pytest.mark.parametrize("implementation", ALL)
def test_half_precision_is_raised_and_its_gradients_come_back_in_half(implementation):
    arguments = problem(SHAPES["plain"], torch.float32)
    half = {name: arguments[name].detach().bfloat16().requires_grad_() for name in SEQUENCES}

    with torch.autocast("cpu", dtype=torch.bfloat16):
        outputs, last = selective_scan(**arguments | half, dt_softplus=True, implementation=implementation)
    outputs.sum().backward()

    assert outputs.dtype == last.dtype == torch.float32
    assert all(tensor.grad.dtype == torch.bfloat16 for tensor in half.values())


@pytest.mark.skipif("numba" not in ALL, reason="needs Numba")
def test_the_same_inputs_give_the_same_bits_and_other_threads_the_same_to_rounding():
    arguments = problem(SHAPES["part of a line, more than a chunk"])
    two = everything("numba", arguments)

    again = everything("numba", arguments)
    set_scan_threads(1)

    assert_same(again, two, 0.0)
    assert_same(everything("numba", arguments), two, 1e-13)


@pytest.mark.parametrize("implementation", FAST)
def test_it_compiles_without_a_break(implementation):
    arguments = problem(SHAPES["plain"])

    @torch.compile(fullgraph=True, backend="aot_eager")
    def run(**tensors):
        return selective_scan(**tensors, dt_softplus=True, implementation=implementation)

    outputs, _ = run(**arguments)
    gradient = torch.autograd.grad(outputs.sum(), arguments["A"])[0]

    wanted, _ = selective_scan(**arguments, dt_softplus=True, implementation=implementation)
    torch.testing.assert_close(outputs, wanted)
    torch.testing.assert_close(gradient, torch.autograd.grad(wanted.sum(), arguments["A"])[0])


BAD = {
    "u without batch": ({"u": torch.zeros(5, 3).double()}, ShapeError, r"\(batch, length, d\)"),
    "dt of another length": ({"dt": torch.zeros(2, 4, 3).double()}, ShapeError, r"dt must be \(2, 5, 3\)"),
    "B with groups": ({"B": torch.zeros(2, 5, 1, 4).double()}, ShapeError, r"B must be \(2, 5, 4\)"),
    "state transposed": ({"state": torch.zeros(2, 4, 3).double()}, ShapeError, r"state must be \(2, 3, 4\)"),
    "half A": ({"A": torch.zeros(3, 4).half()}, DtypeError, "float32 or float64"),
    "single D": ({"D": torch.zeros(3)}, DtypeError, "D must be torch.float64"),
    "integer u": ({"u": torch.zeros(2, 5, 3, dtype=torch.int64)}, DtypeError, "torch.int64"),
    "lengths beyond the end": ({"lengths": torch.tensor([5, 6])}, ShapeError, "from 0 to 5"),
    "moments of another size": ({"moments": Moments((3, 3))}, ShapeError, r"Moments\(\(4, 4\)\)"),
    "unknown implementation": ({"implementation": "cuda"}, OptionError, "'reference'"),
}


@pytest.mark.parametrize(("change", "error", "message"), BAD.values(), ids=BAD)
def test_arguments_that_do_not_fit_are_named(change, error, message):
    with pytest.raises(error, match=message):
        selective_scan(**problem(SHAPES["plain"]) | change)


def test_one_step_is_not_worth_a_kernel():
    assert choose_selective_scan(torch.zeros(2, 1, 3)).implementation == "torch"
    assert choose_selective_scan(torch.zeros(2, 2, 3)).implementation == ALL[-1]


TRITON = """
import torch
from ssm_zoo.scan import selective_scan

def everything(implementation, lengths):
    random = torch.Generator().manual_seed(0)
    shapes = (2, 35, 19), (2, 35, 19), (19, 5), (2, 35, 5), (2, 35, 5), (2, 19, 5), (19,), (2, 35, 19), (19,)
    tensors = [torch.randn(shape, generator=random) for shape in shapes]
    tensors[2] = -tensors[2].abs()
    *a, D, z, bias = [tensor.requires_grad_() for tensor in tensors]
    options = {"D": D, "z": z, "dt_bias": bias, "dt_softplus": True, "lengths": lengths}
    y, last = selective_scan(*a, **options, implementation=implementation)
    weights = [torch.randn(x.shape, generator=random) for x in (y, last)]
    return [y, last, *torch.autograd.grad([y, last], tensors, weights)]

for lengths in (None, torch.tensor([33, 20])):
    for got, wanted in zip(everything("triton", lengths), everything("torch", lengths), strict=True):
        assert torch.linalg.vector_norm(got - wanted) <= 1e-5 * torch.linalg.vector_norm(wanted)
"""


@pytest.mark.skipif(find_spec("triton") is None, reason="needs Triton")
def test_triton_interpreted_is_the_definition():
    environment = os.environ | {"TRITON_INTERPRET": "1"}  # which Triton reads once, when it is imported

    subprocess.run([sys.executable, "-W", "error", "-c", TRITON], check=True, timeout=300, env=environment)


@pytest.mark.skipif(find_spec("triton") is None or torch.cuda.is_available(), reason="needs Triton and no GPU")
def test_triton_says_that_it_wants_a_gpu():
    with pytest.raises(UnsupportedError, match="wanted one on CUDA"):
        selective_scan(**problem(SHAPES["plain"]), implementation="triton")
