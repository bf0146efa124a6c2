r"""S5: a continuous-time diagonal system, discretised by a step of its own in every slot.

Glossary, with the names of the paper
-------------------------------------
Lambda_re, Lambda_im  continuous eigenvalues Λ                                      (n)
log_step              log of the time step Δ, in seconds                            (n)
B                     B̃, re and im last                                            (n, H, 2)
C                     C̃, re and im last, read as y = 2 Re(C̃ x)                    (H, n, 2)
C2                    C̃ of the backward pass, if bidirectional                     (H, n, 2)
D                     feedthrough                                                   (H)
zoh                   λ = exp(Λ Δ),                   b = (λ − 1) / Λ
bilinear              λ = (1 + ΔΛ/2) / (1 − ΔΛ/2),    b = Δ / (1 − ΔΛ/2)

Only the half of the spectrum with Im Λ > 0 is stored (the paper's conj_sym).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor, nn

from .._errors import require
from .base import DiagonalLayer

if TYPE_CHECKING:
    from jaxtyping import Complex

    from ..scan import Implementation


class S5(DiagonalLayer):
    r"""$x_t = \lambda \odot x_{t-1} + b \odot \tilde B u_t,\; y_t = 2\,\mathrm{Re}(\tilde C x_t) + D \odot u_t$.

    Maps (batch, length, d_model) to the same shape.

    Parameters
    ----------
    d_model
        Features in and out, H.
    d_state
        Complex slots, n: half the state size of the paper.
    blocks
        The state starts as this many equal HiPPO-N blocks.
    dt_min, dt_max
        The steps Δ start between these, uniform in their logarithm, in seconds.
    discretization
        `zoh` (input held over a step) or `bilinear`.
    bidirectional
        Read the sequence in both directions with the same Λ and B, and add the outputs of two matrices C.
    scan
        The implementation that `diagonal_scan` takes.
    device, dtype
        Of the parameters. In half precision they are only stored: the recurrence is run in single precision.

    Raises
    ------
    OptionError
        If an option is outside its range.

    References
    ----------
    Smith, Warrington, Linderman, Simplified state space layers for sequence modeling, ICLR 2023, sections 3 and B.1.
    Departure: C starts as a real matrix in the basis of HiPPO-N, so that the layer starts as a real dense system.
    """

    POLES = ("Lambda_re", "Lambda_im", "log_step")
    MATRICES = ("B", "C")
    GAIN = 2.0

    def __init__(
        self,
        d_model: int,
        d_state: int,
        *,
        blocks: int = 1,
        dt_min: float = 1e-3,
        dt_max: float = 0.1,
        discretization: Literal["zoh", "bilinear"] = "zoh",
        bidirectional: bool = False,
        scan: Implementation = "auto",
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__(d_model, d_state, bidirectional=bidirectional, scan=scan)
        require(blocks >= 1 and d_state % blocks == 0, f"got blocks={blocks}, wanted a divisor of d_state={d_state}")
        require(0 < dt_min <= dt_max, f"got dt_min={dt_min} and dt_max={dt_max}, wanted 0 < dt_min <= dt_max")
        require(
            discretization in ("zoh", "bilinear"), f"got discretization={discretization!r}, wanted 'zoh' or 'bilinear'"
        )
        self.discretization = discretization
        poles, vectors = _hippo_normal(2 * d_state // blocks)  # (n / blocks), (2n / blocks, n / blocks)
        vectors = torch.block_diag(*[vectors] * blocks)  # (2n, n)
        self.Lambda_re = nn.Parameter(poles.real.repeat(blocks).float())
        self.Lambda_im = nn.Parameter(poles.imag.repeat(blocks).float())
        low, high = torch.tensor([dt_min, dt_max]).log()
        self.log_step = nn.Parameter(low + (high - low) * torch.rand(d_state))
        B = torch.randn(2 * d_state, d_model) / d_model**0.5
        C = torch.randn(d_model * (2 if bidirectional else 1), 2 * d_state) / (2 * d_state) ** 0.5
        for name, value in self.pack(vectors.mH @ B.to(vectors), C.to(vectors) @ vectors).items():
            self.register_parameter(name, nn.Parameter(value.float()))
        self._finish(device, dtype)

    def eigenvalues(self, p: Any) -> Complex[Tensor, " n"]:
        """Return λ."""
        turn = torch.complex(p.Lambda_re, p.Lambda_im) * p.log_step.exp()
        return turn.exp() if self.discretization == "zoh" else (1 + turn / 2) / (1 - turn / 2)

    def input_scale(self, p: Any) -> Complex[Tensor, " n"]:
        """Return b."""
        poles, step = torch.complex(p.Lambda_re, p.Lambda_im), p.log_step.exp()
        if self.discretization == "zoh":
            return (self.eigenvalues(p) - 1) / poles
        return step / (1 - poles * step / 2)

    def unpack(self, p: Any) -> tuple[Complex[Tensor, "n H"], Complex[Tensor, "kH n"]]:
        """Return B̃ and C̃."""
        C = torch.cat([p.C, p.C2]) if self.bidirectional else p.C
        return torch.view_as_complex(p.B), torch.view_as_complex(C)

    def pack(self, B: Complex[Tensor, "n H"], C: Complex[Tensor, "kH n"]) -> dict[str, Tensor]:
        """Return the parameters of B̃ and C̃."""
        packed = {"B": B, **dict(zip(("C", "C2"), C.split(self.d_model), strict=False))}
        return {name: torch.view_as_real(value.resolve_conj()).clone() for name, value in packed.items()}

    def place(self, eigenvalues: Complex[Tensor, " s"], nearest: Tensor) -> dict[str, Tensor]:
        """Return the continuous eigenvalues, for the step of the nearest old one."""
        log_step = self.log_step.double()[nearest]
        safe = torch.where(eigenvalues == 0, torch.finfo(self.D.dtype).tiny, eigenvalues)  # λ = 0 has no logarithm
        turn = safe.log() if self.discretization == "zoh" else 2 * (safe - 1) / (safe + 1)
        poles = turn / log_step.exp()
        return {"Lambda_re": poles.real, "Lambda_im": poles.imag, "log_step": log_step}


def _hippo_normal(size: int) -> tuple[Complex[Tensor, " half"], Complex[Tensor, "size half"]]:
    r"""Return the eigenvalues with Im > 0 and eigenvectors of HiPPO-N, $-\tfrac12 I$ plus a skew-symmetric matrix.

    The skew part is $\mp \tfrac12 \sqrt{(2i + 1)(2j + 1)}$ below and above the diagonal: HiPPO-LegS less its low-rank
    term.
    """
    root = (2 * torch.arange(size, dtype=torch.float64) + 1).sqrt()
    lower = torch.tril(torch.outer(root, root) / 2, -1)
    frequencies, vectors = torch.linalg.eigh(-1j * (lower.mT - lower))
    half = size // 2
    return torch.complex(torch.full((half,), -0.5, dtype=torch.float64), frequencies[half:]), vectors[:, half:]
