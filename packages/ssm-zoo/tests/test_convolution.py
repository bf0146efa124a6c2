"""The kernels of S4D and S4 and the convolution by FFT, against dense matrix powers and sums."""

import pytest
import torch

from ssm_zoo import DtypeError, OptionError, ShapeError
from ssm_zoo.scan import channel_scan, fft_conv, s4_kernel, s4d_kernel
from ssm_zoo.scan.convolution.dplr import dplr_scan

LENGTHS = [1, 2, 3, 37, 64, 100, 129, 257]


def generator():
    return torch.Generator().manual_seed(0)


def numbers(*shape, dtype=torch.float64):
    return torch.randn(*shape, generator=generator(), dtype=dtype)


def diagonal(H, n, gap):
    """Return eigenvalues at most `gap` inside the circle, and C."""
    modulus = 1 - gap * torch.rand(H, n, generator=generator(), dtype=torch.float64)
    return torch.polar(modulus, 6 * numbers(H, n)), numbers(H, n, dtype=torch.complex128)


def dplr(H, n, r, dt=0.05):
    """Return Λ, P, B, C and Δ."""
    A = torch.complex(-numbers(H, n).abs(), 20 * numbers(H, n + 1)[:, 1:])
    P = numbers(H, n, r, dtype=torch.complex128)
    B, C = numbers(2, H, n, dtype=torch.complex128)
    return A, P, B, C, dt * torch.rand(H, generator=generator(), dtype=torch.float64) + 1e-3


def both(z):
    return torch.cat([z, z.conj()], 1)


def dense_taps(A, P, B, C, dt, length):
    """Return the taps from the dense matrix with all conjugates, by matrix powers."""
    full = torch.diag_embed(both(A)) - both(P) @ both(P).mH
    eye, h = torch.eye(full.shape[-1], dtype=full.dtype), dt[:, None, None] / 2
    step = torch.linalg.solve(eye - h * full, eye + h * full)
    drive = torch.linalg.solve(eye - h * full, 2 * h * both(B)[..., None])
    taps = [both(C)[:, None] @ torch.linalg.matrix_power(step, k) @ drive for k in range(length)]
    return torch.stack(taps, -1)[:, 0, 0].real


@pytest.mark.parametrize("length", LENGTHS)
def test_the_product_of_spectra_is_the_sum_over_taps(length):
    u, kernel = numbers(2, length, 3), numbers(3, length + 1)

    torch.testing.assert_close(fft_conv(u, kernel), fft_conv(u, kernel, implementation="reference"))


def test_a_short_kernel_looks_back_no_further():
    u, kernel = numbers(1, 20, 2), numbers(2, 3)
    moved = u.clone()
    moved[:, :10] += 1

    assert fft_conv(moved, kernel)[:, 12:].allclose(fft_conv(u, kernel)[:, 12:])


@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("implementation", ["reference", "torch"])
@pytest.mark.parametrize(("n", "gap"), [(1, 0.5), (5, 1e-7), (4, 1.0)])
def test_the_diagonal_kernel_is_made_of_powers(length, implementation, n, gap):
    eigenvalues, C = diagonal(3, n, gap)

    wanted = (C[..., None] * eigenvalues[..., None] ** torch.arange(length)).sum(1).real

    torch.testing.assert_close(s4d_kernel(eigenvalues, C, length, implementation=implementation), wanted)


@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("implementation", ["reference", "torch"])
@pytest.mark.parametrize(("n", "r"), [(1, 1), (4, 1), (3, 2), (2, 0)])
def test_the_low_rank_kernel_is_made_of_matrix_powers(length, implementation, n, r):
    system = dplr(2, n, r)

    kernel = s4_kernel(*system, length, implementation=implementation)

    torch.testing.assert_close(kernel, dense_taps(*system, length), rtol=1e-8, atol=1e-9)


def test_a_system_that_hardly_decays_does_not_fold_over():
    A, P, B, C, dt = dplr(2, 3, 1, 1e-3)
    A = torch.complex(A.real * 1e-6, A.imag)

    kernel = s4_kernel(A, 1e-3 * P, B, C, dt, 50)

    torch.testing.assert_close(kernel, dense_taps(A, 1e-3 * P, B, C, dt, 50), rtol=1e-7, atol=1e-8)


@pytest.mark.parametrize("length", [1, 6, 70])
def test_gradients_of_the_kernels_agree(length):
    modes = [z.requires_grad_() for z in diagonal(2, 3, 0.2)]
    system = [z.requires_grad_() for z in dplr(2, 3, 2)]
    weights = numbers(2, length)
    for kernel, variables in ((s4d_kernel, modes), (s4_kernel, system)):
        a, b = (
            torch.autograd.grad(
                (weights * kernel(*variables, length, implementation=name)).sum(), variables, materialize_grads=True
            )
            for name in ("reference", "torch")
        )
        for x, y in zip(a, b, strict=True):
            torch.testing.assert_close(x, y, rtol=1e-8, atol=1e-9)


def test_gradients_are_finite_differences():
    u, kernel = numbers(1, 5, 2).requires_grad_(), numbers(2, 4).requires_grad_()
    system = [z.requires_grad_() for z in dplr(1, 2, 1)]

    assert torch.autograd.gradcheck(fft_conv, (u, kernel))
    assert torch.autograd.gradcheck(lambda *z: s4_kernel(*z, 5), system)


def test_convolution_is_the_scan_from_rest():
    eigenvalues, C = diagonal(3, 4, 0.1)
    u = numbers(2, 90, 3)

    y, _ = channel_scan(u, eigenvalues, C)

    torch.testing.assert_close(fft_conv(u, s4d_kernel(eigenvalues, C, 90)), y)


@pytest.mark.parametrize("length", [1, 64, 90, 130])
@pytest.mark.parametrize("lengths", [None, [5, 0]], ids=["whole", "padded"])
def test_the_dense_scan_is_the_low_rank_steps(length, lengths):
    A, P, B, C, dt = dplr(3, 4, 2)
    u, D, state = numbers(2, length, 3), numbers(3), numbers(2, 3, 4, dtype=torch.complex128)
    ends = None if lengths is None else torch.tensor(lengths).clamp_max(length)

    (y, last), (wanted, wanted_last) = (
        dplr_scan(u, A, P, B, C, dt, D, state, ends, implementation=name) for name in ("torch", "reference")
    )

    torch.testing.assert_close(y, wanted)
    torch.testing.assert_close(last, wanted_last)


def test_kernels_of_no_length_are_empty():
    assert s4d_kernel(*diagonal(2, 3, 0.1), 0).shape == (2, 0)
    assert s4_kernel(*dplr(2, 3, 1), 0).shape == (2, 0)
    assert fft_conv(numbers(2, 0, 3), numbers(3, 4)).shape == (2, 0, 3)


def test_what_does_not_fit_is_named():
    eigenvalues, C = diagonal(2, 3, 0.1)
    A, P, B, _, dt = dplr(2, 3, 1)
    with pytest.raises(ShapeError, match=r"\(H, n\), got"):
        s4d_kernel(eigenvalues, C[:1], 5)
    with pytest.raises(DtypeError, match="complex"):
        s4d_kernel(eigenvalues.real, C.real, 5)
    with pytest.raises(OptionError, match="length=-1"):
        s4d_kernel(eigenvalues, C, -1)
    with pytest.raises(ShapeError, match=r"P \(H, n, r\)"):
        s4_kernel(A, P[..., 0], B, C, dt, 5)
    with pytest.raises(DtypeError, match="complex64"):
        s4_kernel(A.to(torch.complex64), P, B, C, dt, 5)
    with pytest.raises(OptionError, match="'numba'"):
        s4_kernel(A, P, B, C, dt, 5, implementation="numba")
    with pytest.raises(ShapeError, match=r"\(batch, length, H\)"):
        fft_conv(numbers(2, 5, 3), numbers(2, 5))
    with pytest.raises(DtypeError, match="float32"):
        fft_conv(numbers(2, 5, 3), numbers(3, 5).float())
