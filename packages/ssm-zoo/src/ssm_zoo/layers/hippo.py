r"""HiPPO matrices, and their form as a normal matrix less a low-rank one.

$\dot x = A x + B u$ makes x the coefficients of the past of u: in Legendre polynomials, over all of it (`legs`) or over
a window (`legt`), or in a truncated Fourier series over a window (`fout`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple, TypeAlias

import torch

from .._errors import require

if TYPE_CHECKING:
    from jaxtyping import Complex, Float
    from torch import Tensor

Measure: TypeAlias = Literal["legs", "legt", "fout"]
MEASURES = ("legs", "legt", "fout")

_SLOWEST = 1e-4  # decay in 1/s of modes that would not decay at all, as the released S4 code has it


def hippo(measure: Measure, size: int) -> tuple[Float[Tensor, "N N"], Float[Tensor, " N"]]:
    """Return A and B, in double precision.

    Raises
    ------
    OptionError
        If there is no such measure, or the size is odd.

    References
    ----------
    Gu, Johnson, Timalsina, Rudra, Ré, How to train your HiPPO, ICLR 2023. The windows of `legt` and `fout`
    are two seconds, as in the released code: half of the paper's A.
    """
    require(measure in MEASURES, f"got {measure=}, wanted one of {', '.join(map(repr, MEASURES))}")
    require(size >= 2 and size % 2 == 0, f"got size={size}, wanted an even number: two states to a slot")
    k = torch.arange(size, dtype=torch.float64)
    if measure == "fout":
        B = torch.where(k % 2 == 0, 2.0**0.5, 0.0).double()
        B[0] = 1
        return _turning(size) - torch.outer(B, B), B
    root = (2 * k + 1).sqrt()
    outer = torch.outer(root, root)
    if measure == "legs":
        return -torch.tril(outer, -1) - torch.diag(k + 1), root
    sign = torch.where(k[:, None] < k, (-1.0) ** (k[:, None] - k), 1.0)
    return -outer * sign / 2, root / 2


def low_rank(measure: Measure, size: int) -> Float[Tensor, "N r"]:
    r"""Return P for which $A + P P^T$ is normal."""
    k = torch.arange(size, dtype=torch.float64)
    if measure == "fout":
        return hippo(measure, size)[1][:, None]
    if measure == "legs":
        return (k + 0.5).sqrt()[:, None]
    root = (k + 0.5).sqrt()
    return torch.stack([torch.where(k % 2 == parity, root, 0) for parity in (1, 0)], -1)


class NormalPlusLowRank(NamedTuple):
    r"""$A = V (\Lambda - P P^*) V^*$ with one column of V of each conjugate pair, (N, N / 2)."""

    eigenvalues: Complex[Tensor, " n"]
    P: Complex[Tensor, "n r"]
    B: Complex[Tensor, " n"]
    V: Complex[Tensor, "N n"]


def normal_plus_low_rank(measure: Measure, slots: int) -> NormalPlusLowRank:
    """Return a HiPPO matrix of order 2n in the basis of its normal part, with eigenvalues in the upper half-plane."""
    A, B = hippo(measure, 2 * slots)
    P = low_rank(measure, 2 * slots)
    normal = A + P @ P.mT
    decay = normal.diagonal().mean().clamp_max(-_SLOWEST)
    skew = (normal - normal.mT) / 2
    still = measure == "fout"  # its constant has a mode at zero, whose two states form a pair like any other
    if still:
        skew[0, 1], skew[1, 0] = -1.0, 1.0  # tells the pair's columns of V; every other frequency is a multiple of π
    frequencies, V = torch.linalg.eigh(-1j * skew)
    frequencies, V = frequencies[slots:], V[:, slots:]
    if still:
        frequencies = torch.where(frequencies < 2, 0, frequencies)
    V_ = V.conj().mT
    return NormalPlusLowRank(torch.complex(decay.expand(slots), frequencies), V_ @ P.to(V), V_ @ B.to(V), V)


def _turning(size: int) -> Float[Tensor, "N N"]:
    """Return the matrix that turns the k-th pair of states with frequency πk."""
    A = torch.zeros(size, size, dtype=torch.float64)
    for k in range(size // 2):
        A[2 * k, 2 * k + 1], A[2 * k + 1, 2 * k] = -torch.pi * k, torch.pi * k
    return A
