"""The factor of one Gramian, where the other is not needed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ssm_gramians import Backend, Gram, Lyapunov, Solver, Stein, solve

from ._arrays import Array, adjoint

if TYPE_CHECKING:
    from jaxtyping import Inexact


def controllability_factor(
    A: Inexact[Array, "*batch n n"],
    B: Inexact[Array, "*batch n m"],
    *,
    discrete: bool,
    solver: Solver | None = None,
    backend: str | Backend | None = None,
) -> Inexact[Array, "*batch n k"]:
    """Z Zᴴ = P, with A P + P Aᴴ + B Bᴴ = 0 or A P Aᴴ − P + B Bᴴ = 0; A decays, which the caller knows."""
    kind = Stein if discrete else Lyapunov
    return solve(kind(A, Gram(B)), solver, backend).unwrap().Z


def observability_factor(
    A: Inexact[Array, "*batch n n"], C: Inexact[Array, "*batch p n"], *, discrete: bool
) -> Inexact[Array, "*batch n k"]:
    """Z Zᴴ = Q, with Aᴴ Q + Q A + Cᴴ C = 0 or Aᴴ Q A − Q + Cᴴ C = 0; A decays, which the caller knows."""
    return controllability_factor(adjoint(A), adjoint(C), discrete=discrete)
