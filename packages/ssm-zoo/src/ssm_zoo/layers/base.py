r"""How every layer with a diagonal state runs.

Glossary
--------
H        features in and out, `d_model`
n        slots: complex states, each standing for itself and its conjugate; `d_state`
x        state, (batch, n) complex
λ        discrete eigenvalues, (n)
g        output gain: y = g Re(C x) + D ⊙ u; 1 for LRU, 2 for S5
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ..scan import Choice, choose_scan, diagonal_scan
from ..scan._operation import installed
from ._surgery import Surgery
from ._system import DiagonalSystem
from .reducible import Reducible, gather_moments

if TYPE_CHECKING:
    from jaxtyping import Complex

__all__ = ["DiagonalLayer", "Reducible", "Surgery", "gather_moments"]


class DiagonalLayer(DiagonalSystem):
    r"""$x_t = \lambda \odot x_{t-1} + B u_t,\; y_t = g\,\mathrm{Re}(C x_t) + D \odot u_t$.

    A layer says how it stores its poles and matrices; everything else is here. Where a method takes `p`, it reads the
    parameters from it by name: from the layer itself, or from a double-precision copy.
    """

    def _run(self, x: Tensor, state: Tensor | None, lengths: Tensor | None, *, stateful: bool) -> tuple[Tensor, Tensor]:
        del stateful
        p = self._raised()
        eigenvalues, B, C = self._modes(p)
        forward, *backward = C.split(self.d_model)
        options: dict[str, Any] = {"lengths": lengths, "moments": self.moments, "implementation": self.scan}
        y, last = diagonal_scan(x, eigenvalues, B, forward, state, D=p.D, **options)
        for C in backward:
            y = y + diagonal_scan(x, eigenvalues, B, C, reverse=True, **options)[0]
        return y.to(self.D.dtype), last

    def init_state(self, batch: int) -> Complex[Tensor, "batch n"]:
        """Return the state at rest."""
        self._need_direction()
        return torch.zeros(batch, self.d_state, dtype=self._state_dtype(), device=self.D.device)

    def _chosen(self, batch: int, length: int) -> Choice:
        return choose_scan(self.D.detach().expand(batch, length, self.d_model))

    def _fuse(self) -> Any:
        if self.bidirectional or self.scan not in ("auto", "numba") or not installed("numba"):
            return None
        from ._diagonal_step import DiagonalStep

        return DiagonalStep(self) if DiagonalStep.suits(self) else None
