"""Every implementation of the scan is the loop that defines it, in its outputs and in every gradient."""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from functools import partial
from importlib.util import find_spec

import pytest
import torch

from ssm_zoo._errors import DtypeError, ImplementationNotAvailableError, OptionError, ShapeError, UnsupportedError
from ssm_zoo.scan import Moments, available_scans, choose_scan, diagonal_scan, scan_threads, set_scan_threads

TOLERANCE = {torch.complex64: 1e-4, torch.complex128: 1e-11}  # relative, in the norm; sums of up to 10^5 terms
NAMES = ("inputs", "eigenvalues", "B", "C", "state")
FAST = [name for name in available_scans() if name != "reference"]

SHAPES = {  # batch, length, n, m, p
    "plain": (3, 17, 5, 2, 4),
    "one step": (2, 1, 3, 2, 2),
    "one of everything": (1, 1, 1, 1, 1),
    "one slot": (2, 70, 1, 1, 1),
    "one chunk exactly": (2, 32, 4, 2, 3),
    "one more than a chunk": (2, 33, 4, 2, 3),
    "three levels of chunks": (1, 1100, 3, 1, 2),
    "fewer sequences than threads": (1, 300, 70, 3, 2),
    "many sequences": (19, 40, 40, 2, 3),
    "narrow, in several lines": (5, 101, 20, 13, 11),
    "too wide for the narrow kernels": (3, 33, 4, 2, 40),
}


@pytest.fixture(autouse=True)
def two_threads(monkeypatch):
    monkeypatch.setattr(
        "ssm_zoo.scan.diagonal._tiles._WORTH_A_THREAD", 1
    )  # so that even a test's few steps are shared out
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def problem(shape, dtype=torch.complex128, seed=0):
    batch, length, n, m, p = shape
    random = torch.Generator().manual_seed(seed)
    real = dtype.to_real()
    radius, phase = torch.rand(2, n, generator=random, dtype=real)
    tensors = {
        "inputs": torch.randn(batch, length, m, generator=random, dtype=real),
        "eigenvalues": torch.polar(0.7 + 0.299 * radius, 6 * phase),
        "B": torch.randn(n, m, generator=random, dtype=dtype),
        "C": torch.randn(p, n, generator=random, dtype=dtype),
        "state": torch.randn(batch, n, generator=random, dtype=dtype),
    }
    return {name: tensor.requires_grad_() for name, tensor in tensors.items()}


def loss(outputs, last):
    """Weigh every number differently, the last state included."""
    random = torch.Generator().manual_seed(1)
    weights = torch.randn(outputs.shape, generator=random, dtype=outputs.dtype)
    last_weights = torch.randn(last.shape, generator=random, dtype=last.dtype)
    return (weights * outputs).sum() + (last_weights.conj() * last).real.sum()


def everything(implementation, arguments, *, with_state=True, inside=nullcontext, **options):
    """Return outputs, last state and gradients by name."""
    used = {name: tensor for name, tensor in arguments.items() if with_state or name != "state"}
    with inside():
        outputs, last = diagonal_scan(**used, implementation=implementation, **options)
    gradients = torch.autograd.grad(loss(outputs, last), list(used.values()))
    return {"outputs": outputs.detach(), "last": last.detach(), **dict(zip(used, gradients, strict=True))}


def assert_same(got, wanted, tolerance):
    assert got.keys() == wanted.keys()
    for name, value in wanted.items():
        assert got[name].dtype == value.dtype, name
        assert got[name].shape == value.shape, name
        error = torch.linalg.vector_norm(got[name] - value)
        assert error <= tolerance * torch.linalg.vector_norm(value), name


def test_the_comparison_notices_one_wrong_gradient():
    wanted = everything("reference", problem(SHAPES["plain"]))
    wrong = wanted | {"B": wanted["B"].conj()}

    with pytest.raises(AssertionError, match="B"):
        assert_same(wrong, wanted, 1e-3)


def test_the_definition_is_the_sum_over_all_earlier_inputs():
    a = problem(SHAPES["plain"])

    outputs, last = diagonal_scan(**a, implementation="reference")

    for t in range(outputs.shape[1]):
        x = a["eigenvalues"] ** (t + 1) * a["state"]
        for k in range(t + 1):
            x = x + a["eigenvalues"] ** (t - k) * (a["inputs"][:, k].to(x.dtype) @ a["B"].mT)
        torch.testing.assert_close(outputs[:, t], (x @ a["C"].mT).real)
    torch.testing.assert_close(last, x)


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize("reverse", [False, True], ids=["forward", "reverse"])
@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
@pytest.mark.parametrize("implementation", FAST)
def test_outputs_and_all_gradients_are_those_of_the_definition(implementation, shape, reverse, dtype):
    arguments = problem(shape, dtype)

    got = everything(implementation, arguments, reverse=reverse)

    assert_same(got, everything("reference", arguments, reverse=reverse), TOLERANCE[dtype])


@pytest.mark.skipif("numba" not in FAST, reason="needs Numba")
@pytest.mark.parametrize("reverse", [False, True], ids=["forward", "reverse"])
@pytest.mark.parametrize("batch", [1, 2, 23])
@pytest.mark.parametrize("steps", [1, 7, 45, 100])
def test_how_the_work_is_cut_does_not_matter(monkeypatch, steps, batch, reverse):
    arguments = problem((batch, 45, 70, 2, 40))
    monkeypatch.setattr("ssm_zoo.scan.diagonal._tiles._TILE_BYTES", steps * 2 * 70 * 8)

    got = everything("numba", arguments, reverse=reverse)

    assert_same(got, everything("reference", arguments, reverse=reverse), TOLERANCE[torch.complex128])


@pytest.mark.skipif("numba" not in FAST, reason="needs Numba")
@pytest.mark.parametrize("padded", [False, True], ids=["whole", "padded"])
@pytest.mark.parametrize("reverse", [False, True], ids=["forward", "reverse"])
@pytest.mark.parametrize("steps", [1, 7, 45, 100])
def test_the_chunks_of_a_narrow_layer_do_not_matter(monkeypatch, steps, reverse, padded):
    arguments = problem((6, 45, 70, 2, 3))
    monkeypatch.setattr("ssm_zoo.scan.diagonal._narrow._STEPS", (steps, steps))
    options = {"reverse": reverse, "lengths": torch.tensor([45, 0, 44, 7, 8, 1]) if padded else None}

    got = everything("numba", arguments, **options)

    assert_same(got, everything("reference", arguments, **options), TOLERANCE[torch.complex128])


@pytest.mark.parametrize("implementation", available_scans())
def test_reverse_is_the_scan_of_the_flipped_sequence(implementation):
    arguments = problem(SHAPES["plain"])
    flipped = arguments | {"inputs": arguments["inputs"].flip(1)}

    outputs, last = diagonal_scan(**arguments, reverse=True, implementation=implementation)

    wanted, wanted_last = diagonal_scan(**flipped, implementation=implementation)
    torch.testing.assert_close(outputs, wanted.flip(1))
    torch.testing.assert_close(last, wanted_last)


@pytest.mark.parametrize("implementation", available_scans())
def test_no_state_is_the_state_at_rest(implementation):
    arguments = problem(SHAPES["plain"])
    rest = arguments | {"state": torch.zeros_like(arguments["state"], requires_grad=True)}

    got = everything(implementation, arguments, with_state=False)

    wanted = everything(implementation, rest)
    del wanted["state"]
    assert_same(got, wanted, 1e-14)


@pytest.mark.parametrize("reverse", [False, True], ids=["forward", "reverse"])
@pytest.mark.parametrize("implementation", available_scans())
def test_gradients_are_finite_differences(implementation, reverse):
    arguments = problem((2, 4, 3, 2, 2))

    def run(*tensors):
        return diagonal_scan(*tensors, reverse=reverse, implementation=implementation)

    assert torch.autograd.gradcheck(run, tuple(arguments.values()))


@pytest.mark.parametrize("implementation", available_scans())
def test_a_sequence_in_pieces_is_the_sequence_in_one(implementation):
    arguments = problem((2, 100, 4, 2, 3))
    whole, last = diagonal_scan(**arguments, implementation=implementation)

    state, pieces = arguments["state"], []
    for piece in arguments["inputs"].split([1, 40, 0, 59], 1):
        y, state = diagonal_scan(**arguments | {"inputs": piece, "state": state}, implementation=implementation)
        pieces.append(y)

    torch.testing.assert_close(torch.cat(pieces, 1), whole)
    torch.testing.assert_close(state, last)


@pytest.mark.parametrize("implementation", available_scans())
@pytest.mark.parametrize("shape", [(2, 0, 3, 2, 4), (0, 5, 3, 2, 4)], ids=["no steps", "no sequences"])
def test_nothing_in_is_nothing_out_and_the_state_handed_on(implementation, shape):
    arguments = problem(shape)

    outputs, last = diagonal_scan(**arguments, implementation=implementation)
    (outputs.sum() + last.real.sum()).backward()

    assert outputs.shape == (*shape[:2], shape[4])
    assert torch.equal(last, arguments["state"])
    assert arguments["inputs"].grad.shape == arguments["inputs"].shape


@pytest.mark.parametrize("implementation", available_scans())
def test_memory_layout_does_not_matter_and_arguments_are_not_modified(implementation):
    arguments = problem((4, 50, 6, 3, 2))
    strided = {name: tensor.detach().mT.contiguous().mT for name, tensor in arguments.items() if tensor.ndim > 1}
    strided["inputs"] = arguments["inputs"].detach().transpose(0, 1).contiguous().transpose(0, 1)
    strided["eigenvalues"] = arguments["eigenvalues"].detach().repeat_interleave(2)[::2]
    strided["B"] = arguments["B"].detach().conj().resolve_conj().conj()  # a lazy conjugate
    before = {name: tensor.clone() for name, tensor in strided.items()}
    strided = {name: strided[name].requires_grad_() for name in NAMES}

    got = everything(implementation, strided)

    assert_same(got, everything(implementation, arguments), 1e-14)
    assert all(torch.equal(strided[name], before[name]) for name in NAMES)


@pytest.mark.parametrize("implementation", available_scans())
@pytest.mark.parametrize("wanted", NAMES)
def test_one_gradient_alone_is_the_same_gradient(implementation, wanted):
    arguments = problem(SHAPES["plain"])
    all_gradients = everything("reference", arguments)
    alone = {name: tensor.detach() for name, tensor in arguments.items()}
    alone[wanted].requires_grad_()

    outputs, last = diagonal_scan(**alone, implementation=implementation)
    loss(outputs, last).backward()

    torch.testing.assert_close(alone[wanted].grad, all_gradients[wanted])
    assert all(alone[name].grad is None for name in NAMES if name != wanted)


@pytest.mark.parametrize("implementation", available_scans())
@pytest.mark.parametrize("part", ["outputs", "last"])
def test_a_loss_of_one_result_alone_has_the_gradients_of_the_definition(implementation, part):
    arguments = problem(SHAPES["plain"])

    def gradients(implementation):
        outputs, last = diagonal_scan(**arguments, implementation=implementation)
        value = (outputs**2).sum() if part == "outputs" else (last.abs() ** 2).sum()
        return torch.autograd.grad(value, list(arguments.values()), allow_unused=True, materialize_grads=True)

    for got, wanted in zip(gradients(implementation), gradients("reference"), strict=True):
        torch.testing.assert_close(got, wanted)


@pytest.mark.parametrize("implementation", available_scans())
@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_the_outputs_do_not_depend_on_gradients_being_recorded(implementation, mode):
    arguments = problem(SHAPES["many sequences"])
    recorded, _ = diagonal_scan(**arguments, implementation=implementation)

    with mode():
        outputs, _ = diagonal_scan(**arguments, implementation=implementation)

    assert torch.equal(outputs, recorded)
    assert not outputs.requires_grad


@pytest.mark.parametrize("implementation", available_scans())
def test_autocast_lowers_neither_states_nor_products(implementation):
    arguments = problem(SHAPES["many sequences"], torch.complex64)
    wanted = everything(implementation, arguments)

    got = everything(implementation, arguments, inside=partial(torch.autocast, "cpu", dtype=torch.bfloat16))

    assert_same(got, wanted, 0.0)


@pytest.mark.parametrize("implementation", available_scans())
def test_half_precision_inputs_are_raised_and_their_gradients_come_back_in_half(implementation):
    arguments = problem(SHAPES["plain"], torch.complex64)
    half = arguments["inputs"].detach().bfloat16().requires_grad_()

    outputs, last = diagonal_scan(**arguments | {"inputs": half}, implementation=implementation)
    outputs.sum().backward()

    wanted, _ = diagonal_scan(**arguments | {"inputs": half.detach().float()}, implementation=implementation)
    assert torch.equal(outputs, wanted)
    assert last.dtype == torch.complex64
    assert half.grad.dtype == torch.bfloat16


@pytest.mark.parametrize("implementation", available_scans())
def test_the_same_inputs_give_the_same_bits(implementation):
    arguments = problem((40, 100, 90, 4, 4), torch.complex64)

    first, *others = (everything(implementation, arguments) for _ in range(4))

    for other in others:
        assert_same(other, first, 0.0)


@pytest.mark.parametrize("implementation", available_scans())
def test_a_nan_stays_in_its_sequence_and_reaches_all_that_follows(implementation):
    arguments = {name: tensor.detach() for name, tensor in problem((3, 40, 90, 2, 2)).items()}
    arguments["inputs"][1, 20] = torch.nan

    outputs, last = diagonal_scan(**arguments, implementation=implementation)

    assert outputs[1, 20:].isnan().all()
    assert last[1].isnan().all()
    assert outputs[1, :20].isfinite().all()
    assert outputs[[0, 2]].isfinite().all()


@pytest.mark.parametrize("implementation", available_scans())
def test_poles_at_zero_and_on_the_unit_circle_are_ordinary(implementation):
    arguments = problem((2, 80, 3, 2, 2))
    arguments["eigenvalues"] = torch.tensor([0, 1, -1j], dtype=torch.complex128, requires_grad=True)

    assert_same(everything(implementation, arguments), everything("reference", arguments), 1e-11)


def test_the_number_of_threads_does_not_change_the_result_beyond_rounding():
    arguments = problem(SHAPES["many sequences"])
    two = everything("auto", arguments)

    torch.set_num_threads(1)

    assert_same(everything("auto", arguments), two, 1e-12)


def test_scans_may_have_threads_of_their_own():
    arguments = problem(SHAPES["many sequences"])
    two = everything("auto", arguments)
    torch.set_num_threads(1)

    before = set_scan_threads(2)
    try:
        ours = everything("auto", arguments)
    finally:
        set_scan_threads(before)

    assert before is None
    assert scan_threads() == 1
    assert_same(ours, two, 0)


def test_no_threads_at_all_are_refused():
    with pytest.raises(OptionError, match="at least 1"):
        set_scan_threads(0)


def test_scans_may_run_in_several_threads_at_once():
    arguments = problem(SHAPES["many sequences"])
    wanted = everything("auto", arguments)

    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(lambda _: everything("auto", arguments), range(8)))

    for got in results:
        assert_same(got, wanted, 0.0)


# Feedthrough, padding, moments

LENGTHS = {"all kinds": [17, 0, 5], "full": [17, 17, 17], "none": [0, 0, 0]}


def plain():
    """Return the plain problem with feedthrough."""
    arguments = problem((3, 17, 5, 2, 2))
    D = torch.tensor([0.7, -1.3], dtype=torch.float64, requires_grad=True)
    return arguments | {"D": D}


@pytest.mark.parametrize("implementation", available_scans())
def test_feedthrough_adds_its_share_of_the_inputs_with_all_gradients(implementation):
    arguments = plain()
    D, inputs = arguments.pop("D"), arguments["inputs"]
    without, last = diagonal_scan(**arguments, implementation=implementation)
    wanted = torch.autograd.grad(loss(without + D * inputs, last), [D, *arguments.values()])

    got = everything(implementation, {"D": D, **arguments})

    torch.testing.assert_close(got["outputs"], (without + D * inputs).detach())
    for name, gradient in zip(("D", *arguments), wanted, strict=True):
        torch.testing.assert_close(got[name], gradient)


@pytest.mark.parametrize("reverse", [False, True], ids=["forward", "reverse"])
@pytest.mark.parametrize("lengths", LENGTHS.values(), ids=LENGTHS)
@pytest.mark.parametrize("implementation", available_scans())
def test_padding_is_as_if_it_were_not_there(implementation, lengths, reverse):
    arguments = plain()
    outputs, lasts = torch.zeros(3, 17, 2, dtype=torch.float64), []
    for b, n in enumerate(lengths):
        one = arguments | {"inputs": arguments["inputs"][b : b + 1, :n], "state": arguments["state"][b : b + 1]}
        y, last = diagonal_scan(**one, reverse=reverse, implementation="reference")
        outputs[b, :n] = y[0]
        lasts.append(last)
    wanted = torch.autograd.grad(loss(outputs, torch.cat(lasts)), list(arguments.values()), allow_unused=True)
    alone = dict(zip(arguments, wanted, strict=True))
    real = torch.arange(17) < torch.tensor(lengths)[:, None]
    padded = arguments | {"inputs": arguments["inputs"].detach().clone()}
    padded["inputs"][~real] = torch.nan
    padded["inputs"].requires_grad_()

    got = everything(implementation, padded, lengths=torch.tensor(lengths), reverse=reverse)

    torch.testing.assert_close(got["outputs"], outputs.detach())
    torch.testing.assert_close(got["last"], torch.cat(lasts).detach())
    for name, gradient in alone.items():
        torch.testing.assert_close(got[name], torch.zeros_like(got[name]) if gradient is None else gradient)


@pytest.mark.skipif("numba" not in FAST, reason="needs Numba")
@pytest.mark.parametrize("reverse", [False, True], ids=["forward", "reverse"])
@pytest.mark.parametrize("steps", [1, 7, 45])
def test_padding_may_end_in_any_tile(monkeypatch, steps, reverse):
    arguments = problem((6, 45, 70, 2, 40))
    monkeypatch.setattr("ssm_zoo.scan.diagonal._tiles._TILE_BYTES", steps * 2 * 70 * 8)
    lengths = torch.tensor([45, 0, 44, 7, 8, 1])

    got = everything("numba", arguments, reverse=reverse, lengths=lengths)

    assert_same(got, everything("reference", arguments, reverse=reverse, lengths=lengths), 1e-11)


@pytest.mark.parametrize("implementation", available_scans())
def test_a_gradient_that_is_no_number_does_not_come_back_out_of_padding(implementation):
    arguments = plain()
    outputs, _ = diagonal_scan(**arguments, lengths=torch.tensor([3, 17, 0]), implementation=implementation)

    outputs.backward(torch.where(torch.arange(17)[:, None] < 3, 1.0, torch.nan).double().expand(3, 17, 2) * 1)

    assert arguments["inputs"].grad[0].isfinite().all()
    assert not arguments["inputs"].grad[2].any()


@pytest.mark.parametrize("padded", [False, True], ids=["whole", "padded"])
@pytest.mark.parametrize("reverse", [False, True], ids=["forward", "reverse"])
@pytest.mark.parametrize("implementation", available_scans())
def test_moments_are_those_of_all_states_and_of_all_gradients_of_states(monkeypatch, implementation, reverse, padded):
    monkeypatch.setattr("ssm_zoo.scan.diagonal._tiles._TILE_BYTES", 5 * 2 * 5 * 8)
    arguments, lengths = plain(), torch.tensor([17, 0, 5]) if padded else torch.tensor([17, 17, 17])
    states, adjoints = torch.zeros(2, 10, 10, dtype=torch.float64)
    for b, n in enumerate(lengths.tolist()):
        x, xs = arguments["state"][b].detach().requires_grad_(), []
        y = torch.zeros(1, 17, 2, dtype=torch.float64)
        for t in range(n - 1, -1, -1) if reverse else range(n):
            u = arguments["inputs"][b, t].detach()
            x = arguments["eigenvalues"].detach() * x + arguments["B"].detach() @ u.to(x.dtype)
            xs.append(x)
            y[0, t] = (arguments["C"].detach() @ x).real
        gradients = torch.autograd.grad((y**2).sum() + (x.abs() ** 2).sum(), xs) if n else ()
        for moment, vectors in ((states, xs), (adjoints, gradients)):
            for z in vectors:
                xi = torch.cat([z.real, z.imag]).detach()
                moment += torch.outer(xi, xi)
    moments = Moments((10, 10))

    arguments.pop("D")
    options = {"lengths": lengths} if padded else {}
    y, last = diagonal_scan(**arguments, reverse=reverse, moments=moments, implementation=implementation, **options)
    ((y**2).sum() + (last.abs() ** 2).sum()).backward()

    torch.testing.assert_close(moments.states(), states / lengths.sum())
    torch.testing.assert_close(moments.adjoints(), adjoints / lengths.sum())


@pytest.mark.parametrize("implementation", available_scans())
def test_gathering_moments_changes_no_bit_but_of_the_cut(implementation):
    arguments = plain()

    got = everything(implementation, arguments, moments=Moments((10, 10)))

    assert_same(got, everything(implementation, arguments), 1e-14)


@pytest.mark.parametrize("implementation", FAST)
def test_states_that_are_kept_are_those_computed_again(implementation):
    wide = problem((3, 40, 4, 40, 3))  # states no wider than the inputs: Numba keeps them

    got = everything(implementation, wide)

    assert_same(got, everything("reference", wide), 1e-11)


# Compilers


@pytest.mark.filterwarnings("ignore")  # of the compiler, about itself
@pytest.mark.skipif("numba" not in FAST, reason="needs Numba")
@pytest.mark.parametrize(
    "shape", [(2, 9, 4, 3, 3), (2, 9, 30, 40, 40), (2, 9, 1, 40, 40)], ids=["narrow", "again", "kept"]
)
def test_a_compiler_keeps_the_kernel(shape):
    from torch._dynamo.backends.common import aot_autograd

    arguments, graphs = problem(shape), []
    arguments |= {"D": torch.ones(shape[3], dtype=torch.float64, requires_grad=True), "C": arguments["C"].conj()}
    lengths = torch.tensor([9, 4])

    def look(graph, inputs):
        graphs.append(graph.code)
        return graph

    def run(arguments, lengths):
        return diagonal_scan(**arguments, lengths=lengths)

    torch.compiler.reset()
    backend = aot_autograd(fw_compiler=look)
    outputs, last = torch.compile(run, fullgraph=True, backend=backend)(arguments, lengths)
    variables = [tensor for tensor in arguments.values() if tensor.is_leaf]
    gradients = torch.autograd.grad(loss(outputs, last), variables)

    wanted, wanted_last = run(arguments, lengths)
    assert any("diagonal_numba" in code for code in graphs)
    torch.testing.assert_close(outputs, wanted)
    torch.testing.assert_close(last, wanted_last)
    for got, gradient in zip(gradients, torch.autograd.grad(loss(wanted, wanted_last), variables), strict=True):
        torch.testing.assert_close(got, gradient)


@pytest.mark.skipif("numba" not in FAST, reason="needs Numba")
def test_the_operator_is_what_torch_asks_of_one():
    from ssm_zoo.scan.diagonal.numba import _scan

    a = problem((2, 9, 4, 3, 3))
    system = a["eigenvalues"], a["B"], a["C"]
    D, tap = torch.ones(3, dtype=torch.float64, requires_grad=True), Moments((8, 8)).tap

    torch.library.opcheck(
        _scan, (a["inputs"], *system, D, a["state"], False, "keep", torch.tensor([9, 4]), tap), test_utils=CHECKS
    )
    for way in ("again", "narrow"):
        rest = None, a["state"], True, way, None, None
        torch.library.opcheck(_scan, (a["inputs"], *system, *rest), test_utils=CHECKS)


CHECKS = ("test_schema", "test_autograd_registration", "test_faketensor")

TRITON = """
import torch
from ssm_zoo.scan import Moments, diagonal_scan

def everything(implementation, n, **options):
    random = torch.Generator().manual_seed(0)
    radius, phase = torch.rand(2, n, generator=random)
    a = [torch.randn(2, 5, 2, generator=random), torch.polar(radius, 6 * phase)]
    a += [torch.randn(shape, generator=random, dtype=torch.complex64) for shape in ((n, 2), (2, n), (2, n))]
    a = [tensor.requires_grad_() for tensor in (*a, torch.randn(2, generator=random))]
    moments = Moments((2 * n, 2 * n))
    y, last = diagonal_scan(*a[:5], D=a[5], moments=moments, implementation=implementation, **options)
    weights = torch.randn(y.shape, generator=random), torch.randn(last.shape, generator=random, dtype=last.dtype)
    ((weights[0] * y).sum() + (weights[1].conj() * last).real.sum()).backward()
    return [y, last, moments.states(), moments.adjoints(), *(tensor.grad for tensor in a)]

reverse = {"reverse": True, "lengths": torch.tensor([0, 4])}
for n, options in ((3, {}), (3, reverse), (70, {"lengths": torch.tensor([5, 2])})):
    for got, wanted in zip(everything("triton", n, **options), everything("reference", n, **options), strict=True):
        assert got.dtype == wanted.dtype
        assert torch.linalg.vector_norm(got - wanted) <= 1e-5 * torch.linalg.vector_norm(wanted)
"""


@pytest.mark.skipif(find_spec("triton") is None, reason="needs Triton")
def test_triton_interpreted_is_the_definition():
    environment = os.environ | {"TRITON_INTERPRET": "1"}

    subprocess.run([sys.executable, "-W", "error", "-c", TRITON], check=True, timeout=300, env=environment)


@pytest.mark.skipif(find_spec("triton") is None or torch.cuda.is_available(), reason="needs Triton and no GPU")
def test_triton_says_that_it_wants_a_gpu():
    with pytest.raises(UnsupportedError, match="wanted one on CUDA"):
        diagonal_scan(**problem(SHAPES["plain"]), implementation="triton")


BAD = {
    "lengths of another batch": ({"lengths": torch.tensor([1, 2])}, ShapeError, r"lengths must be \(3,\)"),
    "lengths too long": ({"lengths": torch.tensor([1, 2, 18])}, ShapeError, "from 0 to 17"),
    "negative lengths": ({"lengths": torch.tensor([1, 2, -1])}, ShapeError, "from 0 to 17"),
    "fractional lengths": ({"lengths": torch.tensor([1.0, 2, 3])}, DtypeError, "lengths must be integers"),
    "D without as many outputs": ({"D": torch.zeros(2, dtype=torch.float64)}, ShapeError, r"D must be \(2,\)"),
    "inputs without batch": ({"inputs": torch.zeros(3, 2)}, ShapeError, r"inputs must be \(batch, length, m\)"),
    "eigenvalues as a matrix": ({"eigenvalues": torch.zeros(5, 5, dtype=torch.complex128)}, ShapeError, "eigenvalues"),
    "B transposed": ({"B": torch.zeros(2, 5, dtype=torch.complex128)}, ShapeError, r"B must be \(5, 2\)"),
    "C transposed": ({"C": torch.zeros(5, 4, dtype=torch.complex128)}, ShapeError, r"C must be \(5, 5\)"),
    "state of another batch": (
        {"state": torch.zeros(2, 5, dtype=torch.complex128)},
        ShapeError,
        r"state must be \(3, 5\)",
    ),
    "real eigenvalues": ({"eigenvalues": torch.zeros(5, dtype=torch.float64)}, DtypeError, "complex64 or complex128"),
    "mixed precision": ({"B": torch.zeros(5, 2, dtype=torch.complex64)}, DtypeError, "B must be torch.complex128"),
    "inputs of lower precision": ({"inputs": torch.zeros(3, 17, 2)}, DtypeError, "inputs must be torch.float64"),
    "integer inputs": ({"inputs": torch.zeros(3, 17, 2, dtype=torch.int64)}, DtypeError, "torch.int64"),
    "unknown implementation": ({"implementation": "cuda"}, OptionError, "'numba'"),
}


@pytest.mark.parametrize(("change", "error", "message"), BAD.values(), ids=BAD)
def test_arguments_that_do_not_fit_are_named(change, error, message):
    with pytest.raises(error, match=message):
        diagonal_scan(**problem(SHAPES["plain"]) | change)


def test_one_step_is_not_worth_a_kernel():
    assert choose_scan(torch.zeros(2, 1, 3)).implementation == "reference"
    assert choose_scan(torch.zeros(2, 2, 3)).implementation == available_scans()[-1]


WITHOUT_NUMBA = """
import sys, torch

sys.modules["numba"] = None  # as if it were not installed
from ssm_zoo.scan import available_scans, choose_scan, diagonal_scan

z = torch.ones(2, dtype=torch.complex64)
arguments = torch.ones(1, 5, 1), z / 2, z[:, None], z[None]
assert available_scans() == ("reference", "torch")
assert choose_scan(arguments[0]).implementation == "torch"
assert diagonal_scan(*arguments)[0].shape == (1, 5, 1)
try:
    diagonal_scan(*arguments, implementation="numba")
except ImportError as error:
    print(error)
"""


def test_without_numba_auto_works_and_asking_for_it_says_how_to_install_it():
    run = subprocess.run([sys.executable, "-c", WITHOUT_NUMBA], capture_output=True, text=True, check=True)

    assert "pip install 'ssm-zoo[numba]'" in run.stdout


def test_the_missing_implementation_is_an_import_error():
    assert issubclass(ImplementationNotAvailableError, ImportError)


def test_importing_the_scan_does_not_load_numba():
    code = "import sys, ssm_zoo.scan; print('numba' in sys.modules)"

    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert run.stdout.strip() == "False"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
def test_a_forked_process_scans_too():
    code = (
        "import os, torch; from ssm_zoo.scan import diagonal_scan\n"
        "import ssm_zoo.scan.diagonal._tiles as scan; scan._WORTH_A_THREAD = 1\n"
        "torch.set_num_threads(2); z = torch.full((64,), 0.5, dtype=torch.complex64)\n"
        "run = lambda: diagonal_scan(torch.ones(32, 64, 1), z, z[:, None], z[None])[0].sum().item()\n"
        "here = run(); child = os.fork()\n"
        "if child == 0: os._exit(0 if run() == here else 1)\n"
        "assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0"
    )

    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)
