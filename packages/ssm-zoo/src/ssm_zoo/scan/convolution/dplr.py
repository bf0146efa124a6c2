r"""S4's recurrence: $A = \Lambda - P P^*$ with the conjugates completed, bilinear; see `s4.py` for the names."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from ssm_zoo._errors import DtypeError, ShapeError
from ssm_zoo.scan.channel.dense import Dense, gathered
from ssm_zoo.scan.lengths import blank

if TYPE_CHECKING:
    from torch import Tensor

    from ssm_zoo.scan.moments import Moments


def dplr_scan(
    inputs: Tensor,
    eigenvalues: Tensor,
    P: Tensor,
    B: Tensor,
    C: Tensor,
    dt: Tensor,
    D: Tensor,
    state: Tensor | None,
    lengths: Tensor | None,
    *,
    moments: Moments | None = None,
    implementation: str = "torch",
) -> tuple[Tensor, Tensor]:
    r"""Run $x_t = \bar A x_{t-1} + \bar B u_t$, $y_t = 2\,\mathrm{Re}(C x_t) + D u_t$ in every channel.

    Parameters
    ----------
    inputs
        (batch, length, H). Half precision (autocast) is raised to the precision of the system.
    eigenvalues, P, B, C, dt, D
        The systems, as `s4_kernel` takes them, and the feedthrough.
    state, lengths, moments
        As `channel_scan` takes them.
    implementation
        `reference` steps with Woodbury's identity, in O(n r); `torch` scans the dense system in chunks.

    Raises
    ------
    ShapeError, DtypeError
        If inputs or state do not fit the system.
    """
    batch, (H, n) = inputs.shape[0], eigenvalues.shape
    if inputs.dtype not in (dt.dtype, torch.float16, torch.bfloat16):
        msg = (
            f"inputs must be {dt.dtype} (or half precision) for eigenvalues of {eigenvalues.dtype}, got {inputs.dtype}"
        )
        raise DtypeError(msg)
    state = eigenvalues.new_zeros(batch, H, n) if state is None else state
    if tuple(state.shape) != (batch, H, n):
        msg = f"state must be {(batch, H, n)}, got {tuple(state.shape)}"
        raise ShapeError(msg)
    if state.dtype != eigenvalues.dtype:
        msg = f"state must be {eigenvalues.dtype}, got {state.dtype}"
        raise DtypeError(msg)
    with torch.autocast(inputs.device.type, enabled=False):
        inputs = inputs.to(dt.dtype) if lengths is None else blank(inputs.to(dt.dtype), lengths)
        if 0 in inputs.shape:
            return inputs * D, state
        if implementation == "reference":
            outputs, last = _loop(inputs, eigenvalues, P, B, C, dt, D, state, lengths)
            system = discretize(eigenvalues, P, B, C, dt) if moments is not None else None
        else:
            system = discretize(eigenvalues, P, B, C, dt)
            outputs, last = system.run(inputs, D, torch.cat([state.real, state.imag], -1), lengths)
            last = torch.complex(*last.chunk(2, -1))
        if moments is not None and system is not None:
            outputs, last = gathered(system, moments, inputs, state, (outputs, last), lengths)
    return (outputs if lengths is None else blank(outputs, lengths)), last


def _loop(inputs, eigenvalues, P, B, C, dt, D, state, lengths):
    outputs = []
    for t, u in enumerate(inputs.unbind(1)):
        after = step(eigenvalues, P, B, dt, state, u)
        state = after if lengths is None else torch.where((t < lengths)[:, None, None], after, state)
        outputs.append(2 * (C * state).sum(-1).real + D * u)
    return torch.stack(outputs, 1), state


def discretize(eigenvalues: Tensor, P: Tensor, B: Tensor, C: Tensor, dt: Tensor) -> Dense:
    r"""Return the bilinear system in the real coordinates [Re x; Im x], dense: (H, 2n, 2n)."""
    n = eigenvalues.shape[1]
    eye = torch.eye(2 * n, dtype=dt.dtype, device=dt.device)
    units = torch.complex(*eye.chunk(2, -1))  # (2n, n): the states of which the planes are unit vectors
    units = torch.cat([units, torch.zeros_like(units[:1])])[:, None]  # (2n + 1, 1, n)
    inputs = (torch.arange(2 * n + 1, device=dt.device) == 2 * n).to(dt)[:, None]  # the last experiment is B
    after = step(eigenvalues, P, B, dt, units, inputs)  # (2n + 1, H, n)
    rows = torch.cat([after.real, after.imag], -1)
    A, B_bar = rows[:-1].permute(1, 2, 0), rows[-1]
    return Dense(A, B_bar, 2 * torch.cat([C.real, -C.imag], -1))


def step(eigenvalues: Tensor, P: Tensor, B: Tensor, dt: Tensor, state: Tensor, u: Tensor) -> Tensor:
    r"""Return $\bar A x + \bar B u$ in O(n r) operations: state (batch, H, n), u (batch, H)."""
    h = dt[:, None] / 2
    pushed = (P.conj() * state[..., None]).sum(-2).real * 2  # P* x with the conjugates, (batch, H, r)
    Ax = eigenvalues * state - (P * pushed[..., None, :]).sum(-1)
    right = state + h * Ax + 2 * h * B * u[..., None]
    E = 1 / (1 - h * eigenvalues)  # (H, n)
    EP = E[..., None] * P
    small = 2 * (P.conj().mT @ EP).real  # (H, r, r)
    small = torch.eye(P.shape[-1], dtype=dt.dtype, device=dt.device) + h[..., None] * small
    inner = 2 * (P.conj() * (E * right)[..., None]).sum(-2).real  # (batch, H, r)
    weights = torch.linalg.solve(small, inner[..., None]).squeeze(-1)
    return E * right - h * (EP * weights[..., None, :]).sum(-1)
