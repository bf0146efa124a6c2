"""S4D as it is commonly run: the whole Vandermonde matrix, a convolution by FFT, then GELU and a gated linear unit.

Written from the published formulas (Gu, Gupta, Goel, Ré, NeurIPS 2022, sections 3 and 4) with the parameters, defaults
and layout of the widely used module: real steps of zero-order hold, S4D-Lin, channels before time inside.
"""

from __future__ import annotations

import math

import torch
from torch import nn


class S4D(nn.Module):
    """Maps (batch, length, d_model) to the same shape; `d_state` counts both of a conjugate pair."""

    def __init__(self, d_model, d_state=64, dt_min=1e-3, dt_max=0.1):
        super().__init__()
        modes = d_state // 2
        self.log_dt = nn.Parameter(torch.empty(d_model).uniform_(math.log(dt_min), math.log(dt_max)))
        self.log_A_real = nn.Parameter(torch.full((d_model, modes), math.log(0.5)))
        self.A_imag = nn.Parameter(math.pi * torch.arange(modes).repeat(d_model, 1))
        self.C = nn.Parameter(torch.view_as_real(torch.randn(d_model, modes, dtype=torch.complex64)))
        self.D = nn.Parameter(torch.randn(d_model))
        self.output_linear = nn.Sequential(nn.Conv1d(d_model, 2 * d_model, kernel_size=1), nn.GLU(dim=-2))

    def kernel(self, length):
        """Return the taps of every channel, (d_model, length)."""
        A = torch.complex(-self.log_A_real.exp(), self.A_imag)
        turn = A * self.log_dt.exp()[:, None]
        weights = torch.view_as_complex(self.C) * (turn.exp() - 1) / A
        vandermonde = torch.exp(turn[..., None] * torch.arange(length))  # (d_model, modes, length)
        return 2 * torch.einsum("hn,hnl->hl", weights, vandermonde).real

    def forward(self, x):
        """Return the output of the whole layer."""
        u = x.mT  # (batch, d_model, length)
        length = u.shape[-1]
        spectrum = torch.fft.rfft(u, n=2 * length) * torch.fft.rfft(self.kernel(length), n=2 * length)
        y = torch.fft.irfft(spectrum, n=2 * length)[..., :length] + u * self.D[:, None]
        return self.output_linear(nn.functional.gelu(y)).mT
