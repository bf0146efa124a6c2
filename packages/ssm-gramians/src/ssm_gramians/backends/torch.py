"""Torch tensors, on whatever device they live."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import array_api_compat
import torch

from .._arrays import Array
from ._base import Backend

if TYPE_CHECKING:
    from jaxtyping import Complex, Inexact

    from .._equations import Equation
    from .._solution import Solution
    from ..solvers import Solver


class TorchBackend(Backend):
    """The generic algorithms on tensors: device and dtype kept, gradients by one adjoint solve.

    Work is queued on the current stream of the device. The host waits where the status needs to know how an iteration
    stands: one number a step.
    """

    name: ClassVar[str] = "torch"
    provides: ClassVar[frozenset[str]] = frozenset({"array", "autograd", "eigenvalues"})

    def owns(self, array: Array) -> bool:
        """Say whether this is a tensor."""
        return bool(array_api_compat.is_torch_array(array))

    def run(self, equation: Equation, solver: Solver) -> Solution:
        """Solve; where a tensor requires gradients, without a record of the steps."""
        from ._torch_autograd import differentiable_solve, wants_gradients  # needs the solvers, which need backends

        if wants_gradients(equation):
            return differentiable_solve(equation, solver, self)
        return super().run(equation, solver)

    def eigenvalues(self, A: Inexact[Array, "*batch n n"]) -> Complex[Array, "*batch n"]:
        """Return the eigenvalues of a general matrix."""
        return torch.linalg.eigvals(A)

    def synchronize(self) -> None:
        """Wait for the current CUDA stream, if there is one."""
        if torch.cuda.is_available() and torch.cuda.is_initialized():
            torch.cuda.synchronize()
