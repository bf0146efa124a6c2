"""Every implementation of Mamba-2's scan is the loop that defines it, in its outputs, gradients and moments."""

import os
import subprocess
import sys
from contextlib import nullcontext
from importlib.util import find_spec

import pytest
import torch

from ssm_zoo._errors import DtypeError, OptionError, ShapeError, UnsupportedError
from ssm_zoo.scan import Moments, choose_ssd, set_scan_threads, ssd
from ssm_zoo.scan.dual.operation import available_ssd

TOLERANCE = {torch.float32: 1e-4, torch.float64: 1e-11}  # relative, in the norm
FAST = [name for name in available_ssd() if name not in ("reference", "triton")]

SHAPES = {  # batch, length, heads, channels, groups, states
    "plain": (2, 70, 4, 3, 2, 5),
    "one step": (2, 1, 2, 3, 1, 4),
    "one of everything": (1, 1, 1, 1, 1, 1),
    "one state": (2, 50, 2, 2, 1, 1),
    "one chunk exactly": (1, 48, 2, 2, 1, 3),
    "whole lines": (2, 97, 6, 16, 3, 32),
    "more than a span": (1, 1100, 2, 2, 1, 3),
    "fewer sequences than threads": (1, 60, 5, 4, 1, 6),
}


@pytest.fixture(autouse=True)
def two_threads(monkeypatch):
    if "numba" in FAST:
        monkeypatch.setattr("ssm_zoo.scan.dual.numba._WORTH_A_THREAD", 1)
    before = set_scan_threads(2)
    yield
    set_scan_threads(before)


def problem(shape, dtype=torch.float64):
    batch, length, h, P, g, N = shape
    random = torch.Generator().manual_seed(0)

    def draw(*sizes):
        return torch.randn(sizes, generator=random, dtype=torch.float64).to(dtype)

    tensors = {
        "x": draw(batch, length, h, P),
        "dt": draw(batch, length, h) - 1,
        "A": -draw(h).exp(),
        "B": draw(batch, length, g, N),
        "C": draw(batch, length, g, N),
        "D": draw(h, P),
        "state": draw(batch, h, P, N),
        "dt_bias": draw(h),
    }
    return {name: tensor.requires_grad_() for name, tensor in tensors.items()}


def loss(outputs, last):
    """Weigh every number differently, the last state included."""
    random = torch.Generator().manual_seed(1)
    weights = [torch.randn(t.shape, generator=random, dtype=torch.float64) for t in (outputs, last)]
    return sum((w * t.double()).sum() for w, t in zip(weights, (outputs, last), strict=True))


def everything(implementation, arguments, *, inside=nullcontext, moments=False, run=ssd, **options):
    """Return outputs, last state, gradients and moments by name."""
    (g, N), options = arguments["B"].shape[2:], {"dt_softplus": True, **options}
    if moments:
        options["moments"] = Moments((g, N, N))
    with inside():
        outputs, last = run(**arguments, implementation=implementation, **options)
    found = {"outputs": outputs.detach(), "last": last.detach()}
    leaves = list(arguments.values()) + ([options["moments"].tap] if moments else [])
    gradients = torch.autograd.grad(loss(outputs, last), leaves, allow_unused=True)
    found |= {name: torch.zeros(()) if d is None else d for name, d in zip(arguments, gradients, strict=False)}
    if moments:
        found |= {"states": options["moments"].states(), "adjoints": gradients[-1]}
    return found


def assert_same(got, wanted, tolerance):
    assert got.keys() == wanted.keys()
    for name, value in wanted.items():
        assert got[name].dtype == value.dtype, name
        assert got[name].shape == value.shape, name
        error = torch.linalg.vector_norm(got[name] - value)
        assert error <= tolerance * torch.linalg.vector_norm(value), name


def test_the_comparison_notices_one_wrong_gradient():
    wanted = everything("reference", problem(SHAPES["plain"]))
    wrong = wanted | {"B": wanted["B"].flip(1)}

    with pytest.raises(AssertionError, match="B"):
        assert_same(wrong, wanted, 1e-3)


def test_the_definition_is_the_sum_over_all_earlier_inputs():
    a = problem((1, 6, 2, 3, 1, 4))

    outputs, last = ssd(**a, dt_softplus=True, implementation="reference")

    steps = torch.nn.functional.softplus(a["dt"] + a["dt_bias"])
    for head in range(2):
        H = a["state"][0, head]
        for t in range(6):
            step = steps[0, t, head]
            H = (step * a["A"][head]).exp() * H + step * torch.outer(a["x"][0, t, head], a["B"][0, t, 0])
            wanted = H @ a["C"][0, t, 0] + a["D"][head] * a["x"][0, t, head]
            torch.testing.assert_close(outputs[0, t, head], wanted)
        torch.testing.assert_close(last[0, head], H)


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
@pytest.mark.parametrize("implementation", FAST)
def test_outputs_and_all_gradients_are_those_of_the_definition(implementation, shape, dtype):
    arguments = problem(shape, dtype)

    got = everything(implementation, arguments)

    assert_same(got, everything("reference", arguments), TOLERANCE[dtype])


@pytest.mark.parametrize("implementation", FAST)
def test_what_may_be_left_out_is_zero(implementation):
    a = problem(SHAPES["plain"])
    short = {name: a[name] for name in ("x", "dt", "A", "B", "C")}

    got = everything(implementation, short)

    wanted = everything("reference", short | {"D": 0 * a["D"], "state": 0 * a["state"], "dt_bias": 0 * a["dt_bias"]})
    assert_same(got, {name: wanted[name] for name in got}, 1e-11)


@pytest.mark.parametrize("implementation", FAST)
def test_a_feedthrough_may_be_one_number_for_a_head(implementation):
    arguments = problem(SHAPES["plain"])
    arguments["D"] = torch.randn(4, dtype=torch.float64, requires_grad=True)

    got = everything(implementation, arguments, dt_limit=(0.1, 0.5))

    assert_same(got, everything("reference", arguments, dt_limit=(0.1, 0.5)), 1e-11)


@pytest.mark.parametrize("implementation", FAST)
def test_a_strong_decay_keeps_the_digits_of_its_gradients(implementation):
    arguments = problem((2, 60, 2, 3, 1, 4), torch.float32)
    with torch.no_grad():
        arguments["A"].fill_(-12)

    got = everything(implementation, arguments)

    exact = {name: value.detach().double().requires_grad_() for name, value in arguments.items()}
    wanted = {name: value.float() for name, value in everything("reference", exact).items()}
    assert_same(got, wanted, 1e-5)


@pytest.mark.parametrize("implementation", ["reference", *FAST])
def test_padding_is_as_if_it_were_not_there(implementation):
    lengths = [70, 49, 1, 0]
    whole = problem((4, 70, 4, 3, 2, 5))
    clean = {name: value.detach() for name, value in whole.items()}
    dirty = {name: value.clone() for name, value in clean.items()}
    for row, n in enumerate(lengths):
        for name in ("x", "dt", "B", "C"):
            dirty[name][row, n:] = torch.nan
    dirty = {name: value.requires_grad_() for name, value in dirty.items()}

    got = everything(implementation, dirty, lengths=torch.tensor(lengths), moments=True)

    assert all(value.isfinite().all() for value in got.values())
    for row, n in enumerate(lengths):
        cut = {k: v[row : row + 1, :n] if k in ("x", "dt", "B", "C") else v for k, v in clean.items()}
        outputs, last = ssd(**cut | {"state": clean["state"][row : row + 1]}, dt_softplus=True)
        torch.testing.assert_close(got["outputs"][row, :n], outputs[0])
        torch.testing.assert_close(got["last"][row], last[0])
        for name in ("outputs", "x", "dt", "B", "C"):
            assert not got[name][row, n:].any(), name


@pytest.mark.parametrize("implementation", FAST)
@pytest.mark.parametrize("padded", [False, True])
@pytest.mark.parametrize("shape", [SHAPES["plain"], (2, 60, 2, 16, 1, 16)], ids=["plain", "whole lines"])
def test_moments_are_those_of_the_states(shape, padded, implementation):
    arguments = problem(shape)
    options = {"lengths": torch.tensor([shape[1] - 20, 49])} if padded else {}

    got = everything(implementation, arguments, moments=True, **options)

    assert_same(got, everything("reference", arguments, moments=True, **options), 1e-10)


def test_the_moments_of_the_definition_are_sums_over_its_states():
    a = problem((2, 9, 4, 3, 2, 5))
    moments = Moments((2, 5, 5))

    ssd(**a, dt_softplus=True, moments=moments, implementation="reference")

    wanted, H = 0, a["state"]
    for t in range(9):
        piece = {name: a[name][:, t : t + 1] for name in ("x", "dt", "B", "C")}
        _, H = ssd(**{**a, **piece, "state": H}, dt_softplus=True)
        rows = H.unflatten(1, (2, 2)).transpose(0, 1).flatten(1, 3)
        wanted = wanted + rows.mT @ rows
    torch.testing.assert_close(moments.states(), wanted.detach() / (2 * 9 * 2 * 3))


@pytest.mark.parametrize("implementation", ["reference", *FAST])
def test_pieces_are_the_whole(implementation):
    a = problem(SHAPES["plain"])

    whole, last = ssd(**a, implementation=implementation)
    first, state = ssd(
        **{k: v[:, :50] if k in ("x", "dt", "B", "C") else v for k, v in a.items()}, implementation=implementation
    )
    rest = {k: v[:, 50:] if k in ("x", "dt", "B", "C") else v for k, v in a.items()} | {"state": state}
    second, end = ssd(**rest, implementation=implementation)

    torch.testing.assert_close(torch.cat([first, second], 1), whole)
    torch.testing.assert_close(end, last)


@pytest.mark.parametrize("implementation", ["reference", *FAST])
def test_gradients_are_finite_differences(implementation):
    arguments = problem((2, 5, 2, 2, 1, 3))

    def run(*values):
        given = dict(zip(arguments, values, strict=True))
        return ssd(**given, dt_softplus=True, implementation=implementation)

    assert torch.autograd.gradcheck(run, tuple(arguments.values()), fast_mode=True)


@pytest.mark.parametrize("implementation", FAST)
@pytest.mark.parametrize("only", ["outputs", "last"])
def test_one_result_alone_can_be_differentiated(only, implementation):
    found = []
    for name in (implementation, "reference"):
        a = problem(SHAPES["plain"])
        results = dict(zip(("outputs", "last"), ssd(**a, implementation=name), strict=True))
        results[only].square().sum().backward()
        found.append([torch.zeros_like(value) if value.grad is None else value.grad for value in a.values()])

    for got, wanted in zip(*found, strict=True):
        torch.testing.assert_close(got, wanted)


@pytest.mark.parametrize("implementation", ["reference", *FAST])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_half_precision_is_raised(dtype, implementation):
    arguments = problem(SHAPES["plain"], torch.float32)
    halves = {k: v.detach().to(dtype) if k in ("x", "dt", "B", "C") else v for k, v in arguments.items()}

    with torch.autocast("cpu", dtype=torch.bfloat16):
        outputs, last = ssd(**halves, implementation=implementation)

    wanted, _ = ssd(**{name: value.float() for name, value in halves.items()}, implementation="reference")
    assert outputs.dtype == last.dtype == torch.float32
    torch.testing.assert_close(outputs, wanted, rtol=1e-4, atol=1e-4)


@pytest.mark.filterwarnings("ignore")  # of the compiler, about itself
@pytest.mark.parametrize("implementation", FAST)
def test_it_compiles_whole(implementation):
    torch.compiler.reset()
    arguments = problem((2, 50, 2, 3, 1, 4), torch.float32)
    compiled = torch.compile(ssd, fullgraph=True, backend="aot_eager")

    got = everything(implementation, arguments, run=compiled)

    assert_same(got, everything(implementation, arguments), 1e-5)


@pytest.mark.skipif("numba" not in FAST, reason="needs Numba")
def test_the_operator_is_as_it_says():
    from ssm_zoo.scan.dual.numba import _ssd

    a = problem(SHAPES["plain"], torch.float32)
    arguments = tuple(value for name, value in a.items() if name != "dt_bias")

    torch.library.opcheck(
        _ssd,
        (*arguments, None, None, True),
        test_utils=("test_schema", "test_faketensor", "test_autograd_registration"),
    )


@pytest.mark.parametrize("implementation", FAST)
def test_the_same_again_is_the_same_bits(implementation):
    arguments = problem((5, 150, 4, 8, 2, 16), torch.float32)

    first, second = (everything(implementation, arguments) for _ in range(2))

    assert all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.skipif("numba" not in FAST, reason="needs Numba")
def test_slices_of_one_tensor_need_no_copy_and_lose_nothing():
    packed = torch.randn(2, 60, 4 * 8 + 2 * 6, dtype=torch.float64, requires_grad=True)
    a = problem((2, 60, 4, 8, 1, 6))

    found = []
    for implementation in ("numba", "reference"):
        x, B, C = packed.split([32, 6, 6], -1)
        parts = {"x": x.unflatten(-1, (4, 8)), "B": B.unflatten(-1, (1, 6)), "C": C.unflatten(-1, (1, 6))}
        outputs, last = ssd(**a | parts, dt_softplus=True, implementation=implementation)
        found.append((outputs, torch.autograd.grad(loss(outputs, last), packed)[0]))

    for got, wanted in zip(*found, strict=True):
        torch.testing.assert_close(got, wanted)


@pytest.mark.parametrize("implementation", ["auto", "reference", *FAST])
@pytest.mark.parametrize(("batch", "length"), [(0, 5), (2, 0), (0, 0)])
def test_nothing_is_a_size_like_any_other(batch, length, implementation):
    arguments = problem((batch, length, 2, 3, 1, 4))

    outputs, last = ssd(**arguments, implementation=implementation)

    assert outputs.shape == (batch, length, 2, 3)
    torch.testing.assert_close(last, arguments["state"])
    assert last is not arguments["state"]


def test_inputs_are_untouched():
    for implementation in ("reference", *FAST):
        arguments = problem(SHAPES["plain"])
        before = {name: value.detach().clone() for name, value in arguments.items()}
        everything(implementation, arguments)
        assert all(torch.equal(arguments[name], value) for name, value in before.items())


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("dt", (2, 70, 3)),
        ("A", (3,)),
        ("B", (2, 70, 2, 4)),
        ("C", (2, 69, 2, 5)),
        ("D", (4, 2)),
        ("state", (2, 4, 3, 4)),
        ("dt_bias", (1,)),
        ("x", (2, 70, 12)),
    ],
)
def test_shapes_that_do_not_fit_are_named(name, shape):
    arguments = problem(SHAPES["plain"]) | {name: torch.zeros(shape, dtype=torch.float64)}

    with pytest.raises(ShapeError, match=r"must|axes"):
        ssd(**arguments)


def test_heads_that_do_not_divide_into_groups_are_named():
    with pytest.raises(ShapeError, match=r"3 heads .* in 2 groups"):
        ssd(**problem((1, 4, 3, 2, 2, 2)))


@pytest.mark.parametrize(("name", "dtype"), [("A", torch.float32), ("x", torch.int64), ("C", torch.complex128)])
def test_precisions_that_do_not_fit_are_named(name, dtype):
    arguments = problem(SHAPES["plain"])
    arguments[name] = arguments[name].detach().to(dtype)

    with pytest.raises(DtypeError, match="must be"):
        ssd(**arguments)


def test_limits_and_implementations_that_are_none_are_refused():
    arguments = problem(SHAPES["plain"])

    with pytest.raises(OptionError, match="low <= high"):
        ssd(**arguments, dt_limit=(1.0, 0.5))
    with pytest.raises(OptionError, match="'auto', 'reference'"):
        ssd(**arguments, implementation="magic")
    with pytest.raises(ShapeError, match="lengths"):
        ssd(**arguments, lengths=torch.tensor([1, 71]))


def test_auto_takes_what_suits():
    x = torch.zeros(2, 5, 1, 1)

    assert choose_ssd(x[:, :1]).implementation == "reference"
    assert choose_ssd(x).implementation == ("numba" if "numba" in FAST else "torch")
    assert choose_ssd(x.to("meta")).implementation == "torch"


@pytest.mark.skipif(find_spec("triton") is None or torch.cuda.is_available(), reason="needs Triton and no GPU")
def test_triton_says_that_it_wants_a_gpu():
    with pytest.raises(UnsupportedError, match="wanted one on CUDA"):
        ssd(**problem(SHAPES["plain"]), implementation="triton")


@pytest.mark.skipif(find_spec("triton") is None, reason="needs Triton")
def test_the_kernels_of_triton_are_the_definition():
    code = """
import torch
from test_scan_ssd import assert_same, everything, problem
for shape, lengths in (((2, 40, 4, 3, 2, 5), None), ((2, 33, 2, 4, 1, 3), [33, 20]), ((1, 1, 1, 1, 1, 1), None)):
    arguments = problem(shape, torch.float32)
    options = {} if lengths is None else {"lengths": torch.tensor(lengths)}
    assert_same(everything("triton", arguments, **options), everything("reference", arguments, **options), 1e-4)
arguments = problem((2, 33, 2, 4, 1, 3), torch.float32)
assert_same(everything("triton", arguments, moments=True), everything("torch", arguments, moments=True), 1e-6)
"""
    environment = {**os.environ, "TRITON_INTERPRET": "1", "PYTHONPATH": os.path.dirname(__file__)}

    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr
