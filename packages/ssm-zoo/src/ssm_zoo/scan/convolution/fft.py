r"""The causal convolution, $y_t = \sum_{k \le t} h_k u_{t-k}$, in every channel for itself."""

from __future__ import annotations

from functools import reduce
from typing import TYPE_CHECKING, Literal

import torch
from torch.nn.functional import pad

from ssm_zoo._errors import DtypeError, ShapeError, require

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor

_NAMES = ("auto", "reference", "torch")


def fft_conv(
    inputs: Float[Tensor, "batch length H"],
    kernel: Float[Tensor, "H taps"],
    *,
    implementation: Literal["auto", "reference", "torch"] = "auto",
) -> Float[Tensor, "batch length H"]:
    r"""Return $y_t = \sum_{k=0}^{t} h_k u_{t-k}$ in every channel, from a state at rest.

    Parameters
    ----------
    inputs
        The inputs u. Half precision (autocast) is raised to the precision of the kernel.
    kernel
        The impulse response h of every channel; taps beyond the length of the inputs do not matter.
    implementation
        `reference` is the definition, a sum over the taps; `torch` is a product of spectra, which `auto` takes.

    Raises
    ------
    ShapeError, DtypeError, OptionError
        If the arguments do not fit together.
    """
    check_implementation(implementation)
    if inputs.ndim != 3 or kernel.ndim != 2 or inputs.shape[2] != kernel.shape[0]:
        msg = f"inputs must be (batch, length, H) and the kernel (H, taps), got {(*inputs.shape,)}, {(*kernel.shape,)}"
        raise ShapeError(msg)
    if kernel.dtype not in (torch.float32, torch.float64) or inputs.dtype not in (
        kernel.dtype, torch.float16, torch.bfloat16,
    ):  # fmt: skip
        msg = f"inputs and kernel must both be float32 or float64, got {inputs.dtype} and {kernel.dtype}"
        raise DtypeError(msg)
    inputs, kernel = inputs.to(kernel.dtype), kernel[:, : inputs.shape[1]]
    if 0 in inputs.shape or 0 in kernel.shape:
        return inputs * kernel.sum()  # nothing, but with its gradients
    with torch.autocast(inputs.device.type, enabled=False):
        return _by_taps(inputs, kernel) if implementation == "reference" else _by_spectra(inputs, kernel)


def check_implementation(name: str) -> None:
    """Raise an `OptionError` unless `name` is one of the implementations of this folder."""
    require(name in _NAMES, f"got implementation={name!r}, wanted one of {', '.join(map(repr, _NAMES))}")


def _by_taps(inputs: Tensor, kernel: Tensor) -> Tensor:
    length = inputs.shape[1]
    shifted = (pad(inputs, (0, 0, k, 0))[:, :length] for k in range(kernel.shape[1]))
    return reduce(torch.add, (tap * u for tap, u in zip(kernel.unbind(1), shifted, strict=True)))


def _by_spectra(inputs: Tensor, kernel: Tensor) -> Tensor:
    length = inputs.shape[1]
    n = _smooth(length + kernel.shape[1] - 1)  # long enough for nothing to come round
    spectrum = torch.fft.rfft(inputs.mT, n=n) * torch.fft.rfft(kernel, n=n)  # (batch, H, frequency)
    return torch.fft.irfft(spectrum, n=n)[..., :length].mT


def _smooth(size: int) -> int:
    """Return the next size that is a small multiple of a power of two: primes are slow."""
    power = 1 << max(0, (size - 1).bit_length() - 3)
    return -(-size // power) * power
