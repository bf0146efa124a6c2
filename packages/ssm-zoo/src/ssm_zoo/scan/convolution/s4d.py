r"""The impulse response of diagonal systems, $h_j = \mathrm{Re} \sum_n c_n \lambda_n^j$: a Vandermonde product."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import torch

from ssm_zoo._errors import DtypeError, ShapeError, require
from ssm_zoo.scan.channel.torch import planes, power_table
from ssm_zoo.scan.convolution.fft import check_implementation

if TYPE_CHECKING:
    from jaxtyping import Complex, Float
    from torch import Tensor

_STEPS = 64


def s4d_kernel(
    eigenvalues: Complex[Tensor, "H n"],
    C: Complex[Tensor, "H n"],
    length: int,
    *,
    implementation: Literal["auto", "reference", "torch"] = "auto",
) -> Float[Tensor, "H length"]:
    r"""Return $h_j = \mathrm{Re}(c \cdot \lambda^j)$ for j = 0 ... length − 1, in every channel.

    Parameters
    ----------
    eigenvalues, C
        λ and c, complex64 or complex128 both.
    length
        How many taps; any number.
    implementation
        `reference` multiplies once for every tap. `torch`, which `auto` takes, writes j = iT + l, so that powers are
        needed of T and length / T exponents only, and the rest is one real matrix product for each channel.

    Raises
    ------
    ShapeError, DtypeError, OptionError
        If the arguments do not fit together.
    """
    check_implementation(implementation)
    require(length >= 0, f"got length={length}, wanted 0 or more")
    if eigenvalues.ndim != 2 or eigenvalues.shape != C.shape:
        msg = f"eigenvalues and C must both be (H, n), got {(*eigenvalues.shape,)} and {(*C.shape,)}"
        raise ShapeError(msg)
    if not eigenvalues.is_complex() or eigenvalues.dtype != C.dtype:
        msg = f"eigenvalues and C must both be complex64 or complex128, got {eigenvalues.dtype} and {C.dtype}"
        raise DtypeError(msg)
    if length == 0:
        return (C[:, :0] * eigenvalues[:, :0]).real
    return _tap_by_tap(eigenvalues, C, length) if implementation == "reference" else _split(eigenvalues, C, length)


def _tap_by_tap(eigenvalues: Tensor, C: Tensor, length: int) -> Tensor:
    taps = []
    for _ in range(length):
        taps.append(C.sum(-1).real)
        C = C * eigenvalues
    return torch.stack(taps, -1)


def _split(eigenvalues: Tensor, C: Tensor, length: int) -> Tensor:
    within = power_table(eigenvalues, _STEPS + 1)  # (H, n, T + 1)
    starts = C[..., None] * power_table(within[..., -1], -(-length // _STEPS))  # (H, n, length / T)
    re, im = (a.mT @ b for a, b in zip(planes(starts), planes(within[..., :-1]), strict=True))
    return (re - im).flatten(1)[:, :length]
