r"""The Linear Recurrent Unit: a diagonal recurrence whose poles start on a ring just inside the unit circle.

Glossary, with the names of the paper
-------------------------------------
nu_log      log of the decay ν: |λ| = exp(−ν)                 (n)
theta_log   log of the phase θ: arg λ = θ                     (n)
gamma_log   log of the input scale γ, at first √(1 − |λ|²)    (n)
B_re, B_im  B before the scaling by γ                         (n, H)
C_re, C_im  C, read as y = Re(C x)                            (H, n)
C2_re, C2_im  C of the backward pass, if bidirectional        (H, n)
D           feedthrough                                       (H)

The names and shapes are those of the common JAX implementations, so that their weights load as they are.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from .._errors import require
from .base import DiagonalLayer

if TYPE_CHECKING:
    from jaxtyping import Complex

    from ..scan import Implementation


class LRU(DiagonalLayer):
    r"""$x_t = \lambda \odot x_{t-1} + \gamma \odot B u_t,\; y_t = \mathrm{Re}(C x_t) + D \odot u_t$.

    $\lambda = \exp(-e^{\nu_{log}} + i e^{\theta_{log}})$, stable whatever the parameters are. Maps (batch, length,
    d_model) to the same shape.

    Parameters
    ----------
    d_model
        Features in and out, H.
    d_state
        Complex slots, n.
    r_min, r_max
        The ring on which the poles start, uniform in area; 0 <= r_min <= r_max < 1.
    max_phase
        They start with phases up to this, in radians.
    bidirectional
        Read the sequence in both directions with the same λ and B, and add the outputs of two matrices C.
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
    Orvieto, Smith, Gu, Fernando, Gulcehre, Pascanu, De, Resurrecting recurrent neural networks for long sequences,
    ICML 2023, section 3 and appendix A.
    """

    POLES = ("nu_log", "theta_log", "gamma_log")
    MATRICES = ("B_re", "B_im", "C_re", "C_im")
    GAIN = 1.0

    def __init__(
        self,
        d_model: int,
        d_state: int,
        *,
        r_min: float = 0.9,
        r_max: float = 0.999,
        max_phase: float = 2 * torch.pi,
        bidirectional: bool = False,
        scan: Implementation = "auto",
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__(d_model, d_state, bidirectional=bidirectional, scan=scan)
        require(0 <= r_min <= r_max < 1, f"got r_min={r_min} and r_max={r_max}, wanted 0 <= r_min <= r_max < 1")
        require(0 < max_phase <= 2 * torch.pi, f"got max_phase={max_phase}, wanted radians in (0, 2π]")
        area, turn = 1 - torch.rand(2, d_state)  # in (0, 1]: their logarithms exist
        nu = -0.5 * (area * (r_max**2 - r_min**2) + r_min**2).log()
        self.nu_log = nn.Parameter(nu.log())
        self.theta_log = nn.Parameter((max_phase * turn).log())
        self.gamma_log = nn.Parameter(_gamma_log(nu))
        B = torch.complex(*torch.randn(2, d_state, d_model) / (2 * d_model) ** 0.5)
        C = torch.complex(*torch.randn(2, d_model * (2 if bidirectional else 1), d_state) / d_state**0.5)
        for name, value in self.pack(B, C).items():
            self.register_parameter(name, nn.Parameter(value))
        self._finish(device, dtype)

    def eigenvalues(self, p: Any) -> Complex[Tensor, " n"]:
        """Return λ."""
        return torch.polar((-p.nu_log.exp()).exp(), p.theta_log.exp())

    def input_scale(self, p: Any) -> Tensor:
        """Return γ."""
        return p.gamma_log.exp()

    def unpack(self, p: Any) -> tuple[Complex[Tensor, "n H"], Complex[Tensor, "kH n"]]:
        """Return B and C."""
        C_re, C_im = (
            (p.C_re, p.C_im) if not self.bidirectional else (torch.cat([p.C_re, p.C2_re]), torch.cat([p.C_im, p.C2_im]))
        )
        return torch.complex(p.B_re, p.B_im), torch.complex(C_re, C_im)

    def pack(self, B: Complex[Tensor, "n H"], C: Complex[Tensor, "kH n"]) -> dict[str, Tensor]:
        """Return the parameters of B and C."""
        packed = {"B_re": B.real, "B_im": B.imag}
        for name, part in zip(("C", "C2"), C.split(self.d_model), strict=False):
            packed |= {f"{name}_re": part.real, f"{name}_im": part.imag}
        return {name: value.clone() for name, value in packed.items()}

    def place(self, eigenvalues: Complex[Tensor, " s"], nearest: Tensor) -> dict[str, Tensor]:
        """Return the logarithms of decay, phase and input scale.

        A positive real pole has no logarithm of its phase: it gets the phase of one rounding error a step.
        """
        limits = torch.finfo(self.D.dtype)
        nu = -eigenvalues.abs().clamp_min(limits.tiny).log()
        theta = (eigenvalues.angle() % (2 * torch.pi)).clamp_min(limits.eps)
        return {"nu_log": nu.log(), "theta_log": theta.log(), "gamma_log": _gamma_log(nu)}


def _gamma_log(nu: Tensor) -> Tensor:
    r"""Return $\tfrac12 \log(1 - |\lambda|^2)$: a state driven by white noise then has unit variance."""
    return 0.5 * (-torch.expm1(-2 * nu)).log()
