"""The gated unit of a block is the formula: by both implementations, with and without noise, in every width."""

import pytest
import torch
from torch.nn.functional import gelu, glu, linear

from ssm_zoo._errors import ImplementationNotAvailableError, OptionError, ShapeError
from ssm_zoo.scan import Noise, residual_glu, set_scan_threads
from ssm_zoo.scan._operation import installed

NUMBA = pytest.mark.skipif(not installed("numba"), reason="needs Numba")
TOLERANCE = {torch.float32: {"rtol": 2e-5, "atol": 2e-5}, torch.float64: {"rtol": 1e-12, "atol": 1e-12}}


def arguments(shape, dtype=torch.float32, seed=0):
    generator = torch.Generator().manual_seed(seed)
    d = shape[-1]
    return [
        torch.randn(size, dtype=dtype, generator=generator, requires_grad=True)
        for size in (shape, shape, (2 * d, d), (2 * d,))
    ]


def formula(x, h, weight, bias):
    return x + glu(linear(gelu(h), weight, bias), dim=-1)


def draw(inputs, p=0.3):
    torch.manual_seed(1)
    return Noise.draw(2, inputs.numel(), round(p * 2**16), inputs.device)


def test_the_definition_is_the_formula():
    x, h, weight, bias = arguments((3, 7, 4), torch.float64)
    noise = draw(h)

    got = residual_glu(x, h, weight, bias, noise, implementation="reference")

    bits = noise.bits[:, : h.numel()].view(2, *h.shape)
    kept = (bits >= noise.dropped - 2**15).double() / (1 - noise.dropped / 2**16)
    torch.testing.assert_close(got, x + glu(linear(gelu(h) * kept[0], weight, bias), dim=-1) * kept[1])


@NUMBA
@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("noisy", [False, True])
@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize("d", [1, 3, 8, 16, 17, 40])
@pytest.mark.parametrize("batch", [(1,), (63,), (5, 26), (40, 41)])
def test_the_kernel_is_the_definition(batch, d, dtype, noisy, threads):
    given = arguments((*batch, d), dtype)
    noise = draw(given[0]) if noisy else None
    weights = torch.randn_like(given[0])
    results = []
    before = set_scan_threads(threads)
    try:
        for implementation in ("reference", "numba"):
            y = residual_glu(*given, noise, implementation=implementation)
            results.append((y, *torch.autograd.grad(y, given, weights)))
    finally:
        set_scan_threads(before)

    for wanted, got in zip(*results, strict=True):
        scale = float(wanted.detach().abs().max()) or 1.0
        torch.testing.assert_close(got / scale, wanted / scale, **TOLERANCE[dtype])


@NUMBA
def test_the_kernel_takes_views_and_changes_no_input():
    x, h, weight, bias = (value.detach() for value in arguments((8, 5, 6)))
    turned = x.transpose(0, 1), h.transpose(0, 1)
    before = x.clone(), h.clone()

    got = residual_glu(*turned, weight, bias, implementation="numba")

    torch.testing.assert_close(got, formula(*turned, weight, bias))
    assert torch.equal(x, before[0])
    assert torch.equal(h, before[1])


@NUMBA
@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
def test_the_gelu_is_that_of_torch_to_rounding(dtype):
    h = torch.linspace(-12, 12, 4801, dtype=dtype)[:, None].requires_grad_()
    weight, bias = torch.tensor([[1.0], [0.0]], dtype=dtype), torch.tensor([0.0, 50.0], dtype=dtype)

    got = residual_glu(torch.zeros_like(h), h, weight, bias, implementation="numba")
    slope = torch.autograd.grad(got.sum(), h)[0]

    exact = h.detach().double().requires_grad_()
    tolerance = 8 * torch.finfo(dtype).eps
    torch.testing.assert_close(got.double(), gelu(exact), rtol=tolerance, atol=tolerance)
    torch.testing.assert_close(
        slope.double(), torch.autograd.grad(gelu(exact).sum(), exact)[0], rtol=tolerance, atol=tolerance
    )


@NUMBA
def test_the_kernel_is_an_operation_that_torch_knows():
    given = arguments((2, 9, 8), torch.float64)
    x, h, weight, bias = given
    noise = draw(h)

    torch.library.opcheck(torch.ops.ssm_zoo.glu_numba.default, (*given, noise.bits, noise.dropped))
    assert torch.autograd.gradcheck(
        lambda *given: residual_glu(*given, noise, implementation="numba"), (x, h, weight, bias)
    )


@NUMBA
def test_not_a_number_stays_visible():
    x, h, weight, bias = (value.detach() for value in arguments((4, 8)))
    h[2, 3] = float("nan")

    got = residual_glu(x, h, weight, bias, implementation="numba")

    assert got[2].isnan().all()
    assert got[[0, 1, 3]].isfinite().all()


@pytest.mark.parametrize(("d", "dtype"), [(8, torch.bfloat16), (128, torch.float32), (8, torch.float32)])
def test_auto_takes_every_width_and_precision(d, dtype):
    given = [value.detach().to(dtype) for value in arguments((2, 3, d))]

    got = residual_glu(*given)

    assert got.dtype == dtype
    torch.testing.assert_close(got, formula(*given))


def test_nothing_in_is_nothing_out():
    x, h, weight, bias = arguments((0, 5, 8))

    assert residual_glu(x, h, weight, bias).shape == (0, 5, 8)


def test_what_does_not_fit_is_an_error():
    x, h, weight, bias = arguments((2, 3, 8))

    with pytest.raises(ShapeError, match=r"\(2d, d\)"):
        residual_glu(x, h, weight.T, bias)
    with pytest.raises(ShapeError, match=r"Noise\.draw"):
        residual_glu(x, h, weight, bias, Noise(torch.zeros(2, 48, dtype=torch.int16), 5))
    with pytest.raises(OptionError, match="reference"):
        residual_glu(x, h, weight, bias, implementation="triton")


@pytest.mark.skipif(installed("numba"), reason="Numba is there")
def test_without_numba_the_kernel_says_what_to_install():
    with pytest.raises(ImplementationNotAvailableError, match="numba"):
        residual_glu(*arguments((2, 3, 8)), implementation="numba")
