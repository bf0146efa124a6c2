"""The definition, as one linear system: the oracle that the other solvers are tested against."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from .._arrays import Array, adjoint, conj, identity, namespace, promote
from .._equations import Equation, Stein
from .._errors import SingularEquationError
from .._solution import Solution, judge, singular_solution
from ..backends import Backend

if TYPE_CHECKING:
    from jaxtyping import Inexact


@dataclass(frozen=True)
class Kronecker:
    r"""$\mathrm{vec}(A X B^T) = (A \otimes B)\,\mathrm{vec}(X)$, rows first; O(n^6) work, O(n^4) memory."""

    needs: ClassVar[frozenset[str]] = frozenset({"array"})
    equations: ClassVar[frozenset[str]] = frozenset({"lyapunov", "stein", "sylvester"})
    structures: ClassVar[frozenset[str]] = frozenset({"dense"})
    right_sides: ClassVar[frozenset[str]] = frozenset({"dense"})
    descriptor: ClassVar[bool] = True

    def solve(self, equation: Equation, backend: Backend) -> Solution:
        """Solve the linear system of n m unknowns."""
        operator, Q = promote(_operator(equation), equation.Q)
        xp = namespace(Q)
        size = Q.shape[-2] * Q.shape[-1]
        batch = tuple((operator[..., 0] + xp.reshape(Q, (*Q.shape[:-2], size))).shape[:-1])
        right = xp.broadcast_to(-xp.reshape(Q, (*Q.shape[:-2], size, 1)), (*batch, size, 1))
        try:
            X = backend.solve(xp.broadcast_to(operator, (*batch, size, size)), right)
        except SingularEquationError:
            return singular_solution(equation)
        return judge(equation, xp.reshape(X, (*batch, *Q.shape[-2:])))


def _operator(equation: Equation) -> Inexact[Array, "*batch nm nm"]:
    """Return the matrix that takes vec(X) to the terms that hold X."""
    matrices = promote(*equation.matrices.values())
    named: dict[str, Array] = dict(zip(equation.matrices, matrices, strict=True))
    A, like = named["A"], matrices[0]
    E = named.get("E", identity(A.shape[-1], like=like))
    if isinstance(equation, Stein):
        return kron(A, conj(A)) - kron(E, conj(E))
    B = named["B"] if "B" in named else adjoint(A)
    F = adjoint(E) if "B" not in named else named["F"] if "F" in named else identity(B.shape[-1], like=like)
    return kron(A, F.mT) + kron(E, B.mT)


def kron(A: Inexact[Array, "*batch n n"], B: Inexact[Array, "*batch m m"]) -> Inexact[Array, "*batch nm nm"]:
    """Return the Kronecker product of the last two axes."""
    product = A[..., :, None, :, None] * B[..., None, :, None, :]
    size = A.shape[-1] * B.shape[-1]
    return namespace(A).reshape(product, (*product.shape[:-4], size, size))
