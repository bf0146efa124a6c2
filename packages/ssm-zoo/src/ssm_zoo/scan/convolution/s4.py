r"""The impulse response of S4: $A = \Lambda - P P^*$, bilinear, from its generating function at the roots of unity.

Glossary, with the names of the paper
-------------------------------------
Λ, P, B, C   one of each conjugate pair: eigenvalues (H, n), low-rank columns (H, n, r), input and output (H, n)
Δ            the time step, (H)
Ā, B̄         (I − ΔA/2)⁻¹ (I + ΔA/2), (I − ΔA/2)⁻¹ ΔB
C̃            C (I − Ā^L): what the sum over L taps of a geometric series leaves of C at the L-th roots of unity
α, β         1 − z and (1 + z) Δ/2: (I − Ā z)⁻¹ B̄ = (α − βA)⁻¹ ΔB, without the pole that dividing by 1 + z has at z = −1
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import torch

from ssm_zoo._errors import DtypeError, ShapeError, require
from ssm_zoo.scan.convolution.dplr import discretize
from ssm_zoo.scan.convolution.fft import check_implementation

if TYPE_CHECKING:
    from jaxtyping import Complex, Float
    from torch import Tensor

    from ssm_zoo.scan.channel.dense import Dense


def s4_kernel(
    eigenvalues: Complex[Tensor, "H n"],
    P: Complex[Tensor, "H n r"],
    B: Complex[Tensor, "H n"],
    C: Complex[Tensor, "H n"],
    dt: Float[Tensor, " H"],
    length: int,
    *,
    implementation: Literal["auto", "reference", "torch"] = "auto",
) -> Float[Tensor, "H length"]:
    r"""Return $h_j = 2\,\mathrm{Re}(C \bar A^j \bar B)$ for j = 0 ... length − 1, in every channel.

    Parameters
    ----------
    eigenvalues, P, B, C
        One of each conjugate pair of $\Lambda$, P, B and C (the true C, not the paper's truncated one, so that any
        length will do); complex64 or complex128 all. A is $\Lambda - P P^*$ with the conjugates completed.
    dt
        The time step of every channel, in seconds.
    length
        How many taps; any number.
    implementation
        `reference` steps through the dense recurrence. `torch`, which `auto` takes, evaluates Cauchy products and the
        Woodbury identity at the roots of unity, half of them by symmetry, and transforms back.

    Raises
    ------
    ShapeError, DtypeError, OptionError
        If the arguments do not fit together.

    References
    ----------
    Gu, Goel, Ré, Efficiently modeling long sequences with structured state spaces, ICLR 2022, algorithm 1.
    """
    check_implementation(implementation)
    require(length >= 0, f"got length={length}, wanted 0 or more")
    _check(eigenvalues, P, B, C, dt)
    system = discretize(eigenvalues, P, B, C, dt)
    if length == 0:
        return system.C[:, :0] * dt[:, None]
    if implementation == "reference":
        return _tap_by_tap(system, length)
    truncated = system.C - system.read_after(length)  # (H, 2n)
    half = torch.complex(*(part / 2 for part in (truncated * _signs(truncated)).chunk(2, -1)))
    return torch.fft.irfft(_generating(eigenvalues, P, B, half, dt, length), n=length)


def _tap_by_tap(system: Dense, length: int) -> Tensor:
    taps, x = [], system.B[..., None]
    for _ in range(length):
        taps.append((system.C[:, None] @ x).flatten())
        x = system.A @ x
    return torch.stack(taps, -1)


def _signs(planes: Tensor) -> Tensor:
    signs = torch.ones(planes.shape[-1], dtype=planes.dtype, device=planes.device)
    signs[planes.shape[-1] // 2 :] = -1
    return signs


def _generating(eigenvalues: Tensor, P: Tensor, B: Tensor, C: Tensor, dt: Tensor, length: int) -> Tensor:
    r"""Return $\tilde C (\alpha - \beta A)^{-1} \Delta B$ at the roots of unity in the upper half-plane, (H, k)."""
    angle = torch.arange(length // 2 + 1, dtype=dt.dtype, device=dt.device) * (-2 * torch.pi / length)
    z = torch.polar(torch.ones_like(angle), angle)
    alpha, beta = (1 - z)[None], (1 + z) * dt[:, None] / 2  # (1, k), (H, k)
    left = torch.cat([C[..., None], P.conj()], -1)  # (H, n, 1 + r)
    right = torch.cat([B[..., None], P], -1)
    products = (left[..., :, None] * right[..., None, :]).flatten(-2)  # (H, n, (1 + r)²)
    sums = _cauchy(eigenvalues, products, alpha, beta).unflatten(-1, (left.shape[-1], -1))  # (H, k, 1 + r, 1 + r)
    r = P.shape[-1]
    small = torch.eye(r, dtype=sums.dtype, device=dt.device) + beta[..., None, None] * sums[..., 1:, 1:]
    corrected = sums[..., :1, 1:] @ torch.linalg.solve(small, sums[..., 1:, :1])  # (H, k, 1, 1)
    return dt[:, None] * (sums[..., 0, 0] - beta * corrected[..., 0, 0])


def _cauchy(eigenvalues: Tensor, products: Tensor, alpha: Tensor, beta: Tensor) -> Tensor:
    r"""Return $\sum v / (\alpha - \beta\lambda) + \bar v / (\alpha - \beta\bar\lambda)$ by column v, (H, k, columns).

    A conjugate pair is $(\alpha\, 2\mathrm{Re}\, v - \beta\, 2\mathrm{Re}(v \bar\lambda)) / (\alpha^2 - 2\alpha\beta
    \mathrm{Re} \lambda + \beta^2 |\lambda|^2)$: one reciprocal serves all columns, and the sums are real products.
    """
    square = eigenvalues.real.square() + eigenvalues.imag.square()
    a, b, c = ((f * g)[..., None] for f, g in ((alpha, alpha), (alpha, beta), (beta, beta)))  # (H, k, 1)
    reciprocal = 1 / (a - 2 * b * eigenvalues.real[:, None] + c * square[:, None])  # (H, k, n)
    weights = 2 * torch.cat([products.real, (products * eigenvalues.conj()[..., None]).real], -1)  # (H, n, 2 columns)
    sums = torch.complex(reciprocal.real @ weights, reciprocal.imag @ weights)
    direct, crossed = sums.chunk(2, -1)
    return alpha[..., None] * direct - beta[..., None] * crossed


def _check(eigenvalues, P, B, C, dt):
    H, n = eigenvalues.shape if eigenvalues.ndim == 2 else (-1, -1)
    r = P.shape[-1] if P.ndim == 3 else -1
    if P.shape != (H, n, r) or B.shape != (H, n) or C.shape != (H, n) or dt.shape != (H,):
        got = ", ".join(f"{(*tensor.shape,)}" for tensor in (eigenvalues, P, B, C, dt))
        msg = f"wanted eigenvalues (H, n), P (H, n, r), B (H, n), C (H, n) and dt (H,), got {got}"
        raise ShapeError(msg)
    if not eigenvalues.is_complex() or len({tensor.dtype for tensor in (eigenvalues, P, B, C)}) > 1:
        got = ", ".join(str(tensor.dtype) for tensor in (eigenvalues, P, B, C))
        msg = f"eigenvalues, P, B and C must all be complex64 or complex128, got {got}"
        raise DtypeError(msg)
