r"""Second moments of the states inside a chunk, from matrix products: no state is ever formed.

Glossary
--------
q, P, N   steps of the chunk, channels, states
s         log of the decay from the chunk's beginning to a step, (q): state t is e^{s_t - s_j} of what step j added
u, B      what a step adds is u_t B_t^T
H         the state before the chunk, (P, N)
w         whether a step is real, (q); real ones come first
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from torch import Tensor


def state_moment(s: Tensor, w: Tensor, u: Tensor, B: Tensor, H: Tensor) -> Tensor:
    r"""Return $\sum_t w_t h_t^T h_t$ over the steps, with $h_t = e^{s_t} H + \sum_{j \le t} e^{s_t - s_j} u_j B_j^T$.

    All arguments may have leading axes; the sum is over them too, except the first, the group.
    """
    s, u, B, H = s.double(), u.double(), B.double(), H.double()
    # κ_m = Σ_{t≥m} w_t exp(2 (s_t - s_m)) counts how often, and how faded, a pair of which m is the later one is seen
    kappa = (fading(2 * s) * w[..., None].double()).sum(-2)  # over t
    pair = fading(s)  # (t, j) = exp(s_t - s_j), t >= j
    lower = pair * kappa[..., :, None]
    weights = lower + lower.tril(-1).mT
    within = B.mT @ (((u @ u.mT) * weights) @ B)
    start = (2 * s).exp() * w
    before = start.sum(-1)[..., None, None] * (H.mT @ H)
    cross = ((s.exp() * kappa)[..., None] * (u @ H)).mT @ B
    total = within + before + cross + cross.mT
    return total.flatten(1, -3).sum(1) if total.ndim > 3 else total


def adjoint_moment(s: Tensor, w: Tensor, g: Tensor, C: Tensor, a: Tensor) -> Tensor:
    r"""Return $\sum_t w_t a_t^T a_t$ with $a_t = e^{s_q - s_t} a + \sum_{i \ge t} e^{s_i - s_t} g_i C_i^T$.

    The adjoint state of a step is what the loss gains from it through this output and all later ones; `g` are the
    gradients of the chunk's outputs, `a` that of the state after it. This is `state_moment` with time reversed.
    """
    flipped = (s[..., -1:] - s).flip(-1)  # the log of the decay that lies after a step, growing backwards
    return state_moment(flipped, w.flip(-1), g.flip(-2), C.flip(-2), a)


def fading(s: Tensor) -> Tensor:
    """Return exp(s_t - s_j) where t >= j, else 0."""
    gaps = s[..., :, None] - s[..., None, :]
    later = torch.ones(gaps.shape[-2:], dtype=torch.bool, device=s.device).tril()
    return gaps.masked_fill(~later, -torch.inf).exp()
