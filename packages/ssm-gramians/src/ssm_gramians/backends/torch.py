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
    from ..solvers import Factorization, Solver


class TorchBackend(Backend):
    """The generic algorithms on tensors: device and dtype kept, the gradient of a solution by one adjoint solve.

    Work is queued on the current stream of the device. The host waits where a status is decided by the numbers: once
    for the check that all entries are finite, once a step of an iteration, once for the residual.
    """

    name: ClassVar[str] = "torch"
    provides: ClassVar[frozenset[str]] = frozenset({"array", "autograd", "eigenvalues"})

    def owns(self, array: Array) -> bool:
        """Say whether this is a tensor."""
        return bool(array_api_compat.is_torch_array(array))

    def on(self, array: Array) -> TorchBackend:
        """Return the backend that works on the host's memory for a tensor on the CPU, this one for all others."""
        if array.device.type != "cpu" or type(self) is not TorchBackend:
            return self
        from ._torch_host import TorchHostBackend

        return TorchHostBackend()

    def run(self, equation: Equation, solver: Solver) -> Solution:
        """Solve; where a tensor requires gradients, without a record of the steps."""
        if not self.wants_gradient(*equation.arrays.values()):
            return self.run_plainly(equation, solver)
        from ._torch_autograd import differentiable_solve  # it needs the solvers, which need backends

        return differentiable_solve(equation, solver, self)

    def factorize(self, equation: Equation, solver: Solver) -> Factorization:
        """Do the work that depends on the matrices alone; what it solves later is differentiable."""
        from ._torch_autograd import DifferentiableFactorization

        return DifferentiableFactorization(equation, solver, self)

    def run_plainly(self, equation: Equation, solver: Solver) -> Solution:
        """Solve an equation of tensors without gradients."""
        return super().run(equation, solver)

    def factorize_plainly(self, equation: Equation, solver: Solver) -> Factorization:
        """Factorise an equation of tensors without gradients."""
        return super().factorize(equation, solver)

    def eigenvalues(self, A: Inexact[Array, "*batch n n"]) -> Complex[Array, "*batch n"]:
        """Return the eigenvalues of a general matrix."""
        return torch.linalg.eigvals(A)

    def wants_gradient(self, *arrays: Array) -> bool:
        """Say whether autograd records and one of the tensors asks for it."""
        return torch.is_grad_enabled() and any(array.requires_grad for array in arrays)

    def constant(self, array: Array) -> Array:
        """Return the tensor, detached."""
        return array.detach()

    def with_gradient(self, value: Array, twin: Array) -> Array:
        """Return the value with the first derivatives of its twin; a second derivative is refused."""
        from ._torch_autograd import Twin

        return Twin.apply(value.detach(), twin)

    def synchronize(self) -> None:
        """Wait for all streams of the current CUDA device, if there is one."""
        if torch.cuda.is_available() and torch.cuda.is_initialized():
            torch.cuda.synchronize()
