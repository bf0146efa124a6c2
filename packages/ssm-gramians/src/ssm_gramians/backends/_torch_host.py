"""Torch tensors in the memory of the host: NumPy's solvers work on them where they are."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, ClassVar

import numpy as np
import torch

from .._arrays import Array
from .._equations import Equation, RightSide
from .._gram import Gram
from .._solution import Solution
from .._structure import map_arrays
from ..solvers import Factorization, Solver
from .scipy import ScipyBackend
from .torch import TorchBackend

_HOST = ScipyBackend()


def _on_shared_memory(method: Callable[..., Any]) -> Callable[..., Any]:
    """Return a method of the `scipy` backend for tensors."""

    @wraps(method)
    def call(self: TorchBackend, *arguments: Any) -> Any:
        return _as_tensors(method(_HOST, *(_as_arrays(argument) for argument in arguments)))

    return call


class TorchHostBackend(TorchBackend):
    """What `scipy` does, on the memory of tensors: nothing is copied or moved; gradients as on every device.

    Tensors on the CPU get this backend, all others `TorchBackend`, since Torch itself has no Schur form.
    """

    provides: ClassVar[frozenset[str]] = TorchBackend.provides | (
        ScipyBackend.provides - {"pivoted_cholesky", "sparse"}
    )

    doublings_of = _on_shared_memory(ScipyBackend.doublings_of)
    pattern = _on_shared_memory(ScipyBackend.pattern)
    qz = _on_shared_memory(ScipyBackend.qz)
    schur = _on_shared_memory(ScipyBackend.schur)
    triangular_gram = _on_shared_memory(ScipyBackend.triangular_gram)
    triangular_pencil = _on_shared_memory(ScipyBackend.triangular_pencil)
    triangular_stein = _on_shared_memory(ScipyBackend.triangular_stein)
    triangular_sylvester = _on_shared_memory(ScipyBackend.triangular_sylvester)

    def on(self, array: Array) -> TorchBackend:
        """Return this backend for a tensor on the CPU, the plain one for all others."""
        return self if array.device.type == "cpu" else TorchBackend()

    def run_plainly(self, equation: Equation, solver: Solver) -> Solution:
        """Solve an equation of tensors without gradients."""
        return _returned(_HOST.run(_as_numpy_equation(equation), solver), equation)

    def factorize_plainly(self, equation: Equation, solver: Solver) -> Factorization:
        """Factorise an equation of tensors without gradients."""
        return _HostFactorization(equation, _HOST.factorize(_as_numpy_equation(equation), solver))


class _HostFactorization:
    """A factorisation in NumPy arrays for right-hand sides that are tensors."""

    def __init__(self, equation: Equation, inner: Factorization) -> None:
        self._equation, self._inner = equation, inner

    def solve(self, Q: RightSide) -> Solution:
        """Solve the equation with this right-hand side."""
        return _returned(self._inner.solve(_as_arrays(Q)), self._equation.with_right_side(Q))

    def solve_adjoint(self, Q: RightSide) -> Solution:
        """Solve the adjoint equation with this right-hand side."""
        return _returned(self._inner.solve_adjoint(_as_arrays(Q)), self._equation.adjoint().with_right_side(Q))


def _as_numpy_equation(equation: Equation) -> Equation:
    parts: dict[str, Any] = {name: map_arrays(M, _as_arrays) for name, M in equation.matrices.items()}
    parts["Q"] = _as_arrays(equation.Q)
    return type(equation)(**parts)


def _returned(solution: Solution, equation: Equation) -> Solution:
    return Solution(_as_tensors(solution.value), solution.status, equation, solution.steps)


def _as_arrays(value: Any) -> Any:
    """Return the tensors in a value as NumPy arrays of the same memory; Torch refuses where that would cut a graph."""
    if isinstance(value, torch.Tensor):
        return value.resolve_conj().resolve_neg().numpy()
    if isinstance(value, Gram):
        return Gram(_as_arrays(value.Z))
    return tuple(_as_arrays(part) for part in value) if type(value) is tuple else value


def _as_tensors(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return torch.from_numpy(np.require(value, requirements=["C", "W"]))
    if isinstance(value, Gram):
        return Gram(_as_tensors(value.Z))
    return tuple(_as_tensors(part) for part in value) if type(value) is tuple else value
