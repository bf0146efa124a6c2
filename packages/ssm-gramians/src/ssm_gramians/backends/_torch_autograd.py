r"""Gradients of a solution by the implicit function theorem: one adjoint solve, whatever the solver did.

At the solution $F(A, E, Q; X) = \mathcal{L} X + Q = 0$. With $G = \partial L / \partial X$ and
$\mathcal{L}^* Y + G = 0$ follows $dL = \langle G, dX\rangle = \langle Y, dF\rangle$, X fixed in dF: the gradients are
the vector-Jacobian product of the sum of the equation's terms with the cotangent Y. One rule for all equations and
structures; nothing of the iteration is kept, and the adjoint solve is differentiable by the same rule.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import reduce
from typing import Any, TypeAlias

import torch

from .._arrays import adjoint, promote
from .._equations import Equation, RightSide
from .._errors import UnsupportedError
from .._gram import Gram
from .._solution import Solution
from .._structure import map_arrays
from ..solvers import Auto, Solver
from ._gram_cotangent import gram_cotangent
from .torch import TorchBackend

_Solve: TypeAlias = Callable[[RightSide], Solution]


def differentiable_solve(equation: Equation, solver: Solver, backend: TorchBackend) -> Solution:
    """Solve without recording what the solver does; the gradient of the value is one adjoint solve.

    Of `Auto` the candidate that converges solves the adjoint equation too, and reuses its factorisation if it has one.
    """
    frozen = _frozen(equation)
    candidates = solver.candidates(frozen, backend) if isinstance(solver, Auto) else (solver,)
    for candidate in candidates:
        solution = DifferentiableFactorization(equation, candidate, backend).solve(equation.Q)
        if solution.converged:
            break
    return solution


class DifferentiableFactorization:
    """A factorisation whose solutions are differentiable functions of the equation's tensors and the right-hand side.

    A solver that takes factored right-hand sides only leaves the adjoint equation of a gradient, whose right-hand side
    is indefinite, to `Auto`.
    """

    def __init__(self, equation: Equation, solver: Solver, backend: TorchBackend) -> None:
        self._equation, self._backend = equation.with_right_side(None), backend
        self._frozen = _frozen(self._equation)
        self._inner = backend.factorize_plainly(self._frozen, solver)
        self._takes_dense = "dense" in solver.right_sides

    def solve(self, Q: RightSide) -> Solution:
        """Solve the equation with this right-hand side."""
        equation = self._equation.with_right_side(Q)
        return self._solved(equation, self._inner.solve, self._inner.solve_adjoint, self._frozen.adjoint())

    def solve_adjoint(self, Q: RightSide) -> Solution:
        """Solve the adjoint equation with this right-hand side."""
        equation = self._equation.adjoint().with_right_side(Q)
        return self._solved(equation, self._inner.solve_adjoint, self._inner.solve, self._frozen)

    def _solved(self, equation: Equation, there: _Solve, back: _Solve, opposite: Equation) -> Solution:
        solution = there(_frozen(equation).Q)
        # the error that may be raised wants the size of a failure, without a graph
        known = {} if solution.converged else {"residual": solution.residual}
        value = solution.value
        if self._backend.wants_gradient(*equation.arrays.values()):
            value = attach_gradient(equation, value, there, back if self._takes_dense else self._by_auto(opposite))
        attached = replace(solution, value=value, equation=equation)
        vars(attached).update(known)
        return attached

    def _by_auto(self, equation: Equation) -> _Solve:
        return lambda Q: self._backend.run_plainly(equation.with_right_side(Q), Auto())


def attach_gradient(equation: Equation, value: RightSide, solve: _Solve, solve_adjoint: _Solve) -> Any:
    """Return a known solution of the equation as a differentiable function of the equation's tensors.

    Parameters
    ----------
    equation
        With the tensors that the value is to depend on.
    value
        Its solution, without a graph.
    solve, solve_adjoint
        Solve the equation and its adjoint for another right-hand side, without a graph.
    """
    tensors = _tensors(equation)
    found = _Implicit.apply(_Solved(_frozen(equation), value, solve, solve_adjoint), *tensors)
    return Gram(found) if isinstance(value, Gram) else found


@dataclass(frozen=True)
class _Solved:
    """An equation whose tensors only mark places, its solution, and the ways to solve it again."""

    template: Equation
    value: RightSide
    solve: _Solve
    solve_adjoint: _Solve


class Twin(torch.autograd.Function):
    """The numbers of one tensor with the first derivatives of another."""

    @staticmethod
    def forward(ctx: Any, value: torch.Tensor, twin: torch.Tensor) -> torch.Tensor:
        """Return the value."""
        ctx.save_for_backward(twin)
        return value.view_as(value)

    @staticmethod
    def backward(ctx: Any, cotangent: torch.Tensor) -> tuple[None, torch.Tensor]:
        """Hand the cotangent to the twin, whose second derivatives are none of the value's."""
        (twin,) = ctx.saved_tensors
        return None, cotangent + _Barrier.apply(twin) if torch.is_grad_enabled() else cotangent


class _Barrier(torch.autograd.Function):
    """Zero, which cannot be differentiated."""

    @staticmethod
    def forward(ctx: Any, twin: torch.Tensor) -> torch.Tensor:
        return torch.zeros_like(twin)

    @staticmethod
    def backward(ctx: Any, cotangent: torch.Tensor) -> torch.Tensor:
        msg = "this value has first derivatives only; want a loss whose gradient is not differentiated again"
        raise UnsupportedError(msg)


class _Implicit(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, solved: _Solved, *tensors: torch.Tensor) -> torch.Tensor:
        found = solved.value.Z if isinstance(solved.value, Gram) else solved.value
        ctx.solved = solved
        ctx.save_for_backward(*tensors, found)
        return found

    @staticmethod
    def backward(ctx: Any, cotangent: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        *tensors, found = ctx.saved_tensors
        X, G = found, cotangent
        if isinstance(ctx.solved.value, Gram):
            X, G = found @ adjoint(found), gram_cotangent(found, cotangent)
        Y = _adjoint_solution(ctx.solved, tensors, G)
        return None, *_products(ctx.solved.template, tensors, X, Y, ctx.needs_input_grad[1:])


def _adjoint_solution(solved: _Solved, tensors: list[torch.Tensor], G: torch.Tensor) -> Any:
    """Return Y; differentiable by the same rule if a graph is asked for, with the two ways of solving swapped."""
    solution = solved.solve_adjoint(G.detach())
    if not solution.converged and bool(torch.isfinite(G).all()):  # a loss that overflowed has NaN gradients instead
        solution.unwrap()
    if not torch.is_grad_enabled():
        return solution.value
    equation = _rebuilt(solved.template, tensors).adjoint().with_right_side(G)
    return attach_gradient(equation, solution.value, solved.solve_adjoint, solved.solve)


def _products(
    template: Equation, tensors: list[torch.Tensor], X: torch.Tensor, Y: torch.Tensor, needed: tuple[bool, ...]
) -> list[torch.Tensor | None]:
    """Return the vector-Jacobian product of the sum of the terms, with X fixed, for each tensor that needs it."""
    graph = torch.is_grad_enabled()
    with torch.enable_grad():
        # aliases: X depends on the tensors as well, but not through these
        places = [t.view_as(t) if graph else t.detach().requires_grad_(n) for t, n in zip(tensors, needed, strict=True)]
        terms = promote(*_rebuilt(template, places).terms(X if graph else X.detach()))
        wanted = [place for place, need in zip(places, needed, strict=True) if need]
        total = reduce(torch.add, terms)
        found = iter(torch.autograd.grad(total, wanted, Y, create_graph=graph, allow_unused=True))
    return [next(found) if need else None for need in needed]


def _frozen(equation: Equation) -> Equation:
    """Return the equation without gradients."""
    return _rebuilt(equation, [tensor.detach() for tensor in _tensors(equation)])


def _tensors(equation: Equation) -> list[torch.Tensor]:
    """Return the distinct tensors of an equation."""
    return list({id(tensor): tensor for tensor in equation.arrays.values()}.values())


def _rebuilt(equation: Equation, tensors: Iterable[torch.Tensor]) -> Equation:
    """Return the equation with its distinct tensors, in the order of `_tensors`, replaced by these."""
    by_place = {id(old): new for old, new in zip(_tensors(equation), tensors, strict=True)}
    parts: dict[str, Any] = {
        name: map_arrays(M, lambda old: by_place[id(old)]) for name, M in equation.matrices.items()
    }
    if equation.Q is not None:
        Q = equation.Q
        parts["Q"] = Gram(by_place[id(Q.Z)]) if isinstance(Q, Gram) else by_place[id(Q)]
    return type(equation)(**parts)
