r"""Second moments of the states from correlations of the inputs: their cost hardly grows with the state.

Let $x_1 = h + b u_1$ and $x_t = \lambda x_{t-1} + b u_t$. Summed over the steps of a sequence, $P = \sum x_t x_t^*$ has

$$P - \Lambda P \Lambda^* = h h^* - \Lambda x_L x_L^* \Lambda^* + r b^* + b r^* + s\, b b^*,\qquad
  r = \sum_t (x_t - b u_t) u_t,\; s = \sum_t u_t^2,$$

so that $P_{ij}$ is the right-hand side over $1 - \lambda_i \bar\lambda_j$, and $\sum x x^T$ likewise without the
conjugates. Here $r = h \sum_t \lambda^{t-1} u_t + b \sum_{k \ge 1} \lambda^k \rho_k$ with the autocorrelation $\rho$ of
the inputs, by FFT. All is in double precision, since the quotient cancels next to the unit circle; there, states are
summed up.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from ssm_zoo.scan.channel.torch import end_states
from ssm_zoo.scan.lengths import blank, counts, reverse_steps

if TYPE_CHECKING:
    from jaxtyping import Complex, Float, Int
    from torch import Tensor

_NEXT_TO_THE_CIRCLE = 1e-9  # of 1 − |λ|: closer, the quotient keeps fewer digits than single precision has


def gathered(
    results: tuple[Tensor, Tensor], tap: Float[Tensor, "H m m"], eigenvalues: Tensor, C: Tensor, lengths: Tensor | None
) -> tuple[Tensor, Tensor]:
    r"""Return outputs and last state as they are; the "gradient" of the tap is $\sum a a^T$ of the adjoint states."""
    return _Gathered.apply(*results, tap, eigenvalues, C, lengths)


class _Gathered(torch.autograd.Function):
    @staticmethod
    def forward(ctx, outputs, last, tap, eigenvalues, C, lengths):
        ctx.save_for_backward(eigenvalues, C, lengths)
        return outputs.view_as(outputs), last.view_as(last)

    @staticmethod
    def backward(ctx, d_outputs, d_last):
        eigenvalues, C, lengths = ctx.saved_tensors
        g = reverse_steps(d_outputs, lengths)
        return d_outputs, d_last, state_moment(g, eigenvalues.conj(), C.conj(), d_last, lengths), None, None, None


@torch.no_grad()
def state_moment(
    inputs: Float[Tensor, "batch length H"],
    eigenvalues: Complex[Tensor, "H n"],
    b: Complex[Tensor, "H n"],
    carried: Complex[Tensor, "batch H n"],
    lengths: Int[Tensor, " batch"] | None,
) -> Float[Tensor, "H 2n 2n"]:
    r"""Return $\sum \xi_t \xi_t^T$ over the real steps of all sequences, $\xi = [\mathrm{Re}\,x; \mathrm{Im}\,x]$.

    Parameters
    ----------
    inputs, eigenvalues, b
        The system; `b` is the input map.
    carried
        h: what the first state holds beside its input, eigenvalues times the state before it.
    lengths
        The number of real steps.
    """
    eigenvalues, b, carried = (z.to(torch.complex128).resolve_conj() for z in (eigenvalues, b, carried))
    inputs = (inputs if lengths is None else blank(inputs, lengths)).double()
    compiling = torch.compiler.is_compiling()
    if not compiling and bool((eigenvalues.abs() > 1 - _NEXT_TO_THE_CIRCLE).any()):
        return summed(inputs, eigenvalues, b, carried, lengths)
    ends = counts(inputs, lengths)
    h = torch.where(ends[:, None, None] > 0, carried, 0)  # (batch, H, n)
    rest = torch.zeros_like(h)
    last = integer_power(eigenvalues, (ends - 1).clamp_min(0)) * h + b * end_states(inputs, eigenvalues, rest, lengths)
    rho = _autocorrelation(inputs)  # (length, H)
    lagged = eigenvalues * end_states(rho[1:].flip(0)[None], eigenvalues, rest[:1])[0]
    weighed = end_states(reverse_steps(inputs, lengths), eigenvalues, rest, lengths)
    r = (h * weighed).sum(0) + b * lagged  # (H, n)
    margins = (h.permute(1, 2, 0), (eigenvalues * last).permute(1, 2, 0))  # (H, n, batch)
    P, N = (_solve(eigenvalues, b, r, rho[0], margins, conj) for conj in (torch.conj, torch.clone))
    return _planes(P, N)


def _solve(eigenvalues, b, r, s, margins, conj):
    h, last = margins
    cross = r[:, :, None] * conj(b)[:, None]
    right = h @ conj(h).mT - last @ conj(last).mT + cross + b[:, :, None] * conj(r)[:, None]
    right = right + s[:, None, None] * b[:, :, None] * conj(b)[:, None]
    return right / (1 - eigenvalues[:, :, None] * conj(eigenvalues)[:, None])


def _planes(P: Tensor, N: Tensor) -> Tensor:
    r"""Return $\sum \xi \xi^T$ from $P = \sum x x^*$ and $N = \sum x x^T$, exactly symmetric."""
    cross = (N.imag - P.imag) / 2  # Re x (Im x)^T
    top = torch.cat([(P.real + N.real) / 2, cross], -1)
    moment = torch.cat([top, torch.cat([cross.mT, (P.real - N.real) / 2], -1)], -2)
    return (moment + moment.mT) / 2


def _autocorrelation(inputs: Tensor) -> Tensor:
    """Return Σ u_t u_(t−k) over time and sequences, for k = 0, 1, ..., (length, H)."""
    length = inputs.shape[1]
    if length == 0:
        return inputs.new_zeros(1, inputs.shape[2])
    spectrum = torch.fft.rfft(inputs.mT, n=2 * length)  # (batch, H, frequency)
    return torch.fft.irfft((spectrum.real.square() + spectrum.imag.square()).sum(0), n=2 * length)[:, :length].mT


def summed(inputs, eigenvalues, b, carried, lengths):
    """Return the same by its definition, step after step."""
    moment = inputs.new_zeros(*eigenvalues.shape[:1], 2 * eigenvalues.shape[1], 2 * eigenvalues.shape[1])
    for t, u in enumerate(inputs.unbind(1)):
        state = carried + b * u[..., None]
        carried = eigenvalues * state
        real = state if lengths is None else torch.where((t < lengths)[:, None, None], state, 0)
        xi = torch.cat([real.real, real.imag], -1).transpose(0, 1)  # (H, batch, 2n)
        moment = moment + xi.mT @ xi
    return moment


def integer_power(base: Complex[Tensor, "H n"], exponents: Int[Tensor, " batch"]) -> Complex[Tensor, "batch H n"]:
    """Return base^k for every k, by squaring: exact where the logarithm of zero would not be."""
    exponents = exponents.reshape(-1, *[1] * base.ndim)
    power = torch.ones_like(base).expand(exponents.shape[0], *base.shape)
    for bit in range(31):
        power = torch.where((exponents >> bit) % 2 == 1, power * base, power)
        base = base * base
    return power
