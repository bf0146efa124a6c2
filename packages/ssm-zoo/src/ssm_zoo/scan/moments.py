r"""Second moments of states and adjoint states, summed up while a scan runs, without storing either.

A scan that is given a `Moments` returns $\sum_t x_t x_t^T$ beside its results. The adjoint states
$a_t = \partial \ell / \partial x_t$ only exist in the backward pass, which may return nothing but gradients: so the
scan takes a matrix of zeros, the *tap*, on which its results do not depend, and the "gradient" of the tap is
$\sum_t a_t a_t^T$. This is functional: it works under compilation, checkpointing and accumulation alike.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from ssm_zoo._errors import ReductionError

if TYPE_CHECKING:
    from jaxtyping import Float, Inexact
    from torch import Tensor


class Moments:
    r"""$\sum x x^T$ of the states and $\sum a a^T$ of the adjoint states that scans have passed by.

    Gather over as many batches as you like: a forward pass adds to `states`, its backward pass to `adjoints`.

    Parameters
    ----------
    shape
        Shape of the moments, (..., m, m).
    device
        Where the scan runs.
    """

    def __init__(self, shape: tuple[int, ...], device: torch.device | str | None = None) -> None:
        self.count: int | Tensor = 0
        self._states = torch.zeros(shape, dtype=torch.float64, device=device)
        self.tap = torch.zeros(shape, dtype=torch.float64, device=device, requires_grad=True)

    def add(self, states: Float[Tensor, "*batch m m"], count: int | Tensor) -> None:
        """Add the sum over `count` states."""
        self._states += states.detach()
        self.count += count

    def states(self) -> Float[Tensor, "*batch m m"]:
        r"""Return $E[x x^T]$, the mean over everything that was added.

        Raises
        ------
        ReductionError
            If nothing was.
        """
        if not self.count:
            msg = "no states were gathered; want a forward pass of the layer before the moments are read"
            raise ReductionError(msg)
        return self._states / self.count

    def adjoints(self) -> Float[Tensor, "*batch m m"]:
        r"""Return the mean of $a a^T$, with $a_t = \partial \ell / \partial x_t$ for the differentiated $\ell$.

        Raises
        ------
        ReductionError
            If there was no backward pass.
        """
        if self.tap.grad is None:
            msg = "no adjoint states were gathered; want a backward pass of the loss before the moments are read"
            raise ReductionError(msg)
        return self.tap.grad / self.count


def tapped(drives: Inexact[Tensor, "*rows n"], tap: Float[Tensor, "m m"]) -> Inexact[Tensor, "*rows n"]:
    r"""Return `drives` as they are; the "gradient" of the tap is $\sum a a^T$ over the gradients a that come back.

    For the implementations that are made of Torch's operations. Since $x_t = A_t x_{t-1} + d_t$, the gradient of the
    drive $d_t$ is the adjoint state, with all that reaches the loss through later states.
    """
    return _Tapped.apply(drives, tap)


def second_moment(rows: Inexact[Tensor, "*rows n"]) -> Float[Tensor, "m m"]:
    r"""Return $\sum x x^T$ over all leading axes, in double precision; a complex x counts as [Re x; Im x]."""
    rows = rows.detach()
    planes = torch.cat([rows.real, rows.imag], -1) if rows.is_complex() else rows
    planes = planes.flatten(0, -2).double()
    return planes.mT @ planes


class _Tapped(torch.autograd.Function):
    @staticmethod
    def forward(ctx, drives, tap):
        return drives.view_as(drives)

    @staticmethod
    def backward(ctx, d_drives):
        return d_drives, second_moment(d_drives)
