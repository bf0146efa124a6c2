"""Schur forms and recursive triangular solves: the direct method for dense matrices."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from .._arrays import Array, adjoint, namespace, promote
from .._equations import Equation, Lyapunov, RightSide, Stein
from .._errors import SingularEquationError
from .._solution import Solution, singular_solution
from ..backends import Backend
from ._condition import inverse_norm
from ._dense_operator import DenseOperator
from ._probe import judge_by_probe
from ._reduced import described, reduced


@dataclass(frozen=True)
class BartelsStewart:
    r"""$A = U T U^H$, then a triangular equation, split in halves until LAPACK takes over.

    Stein equations are solved as they are: no bilinear map, which an eigenvalue near -1 would ruin. With E it is the
    pencil that is reduced, by the QZ algorithm, so E may be ill-conditioned. A Hermitian Q saves a quarter of the
    triangular work, and a diagonal, triangular, block diagonal, Hermitian or (complex) normal A most or all of the
    reduction; `recognised` says what was found. A batch is a loop.

    Parameters
    ----------
    leaf
        Triangular equations up to this order go to the backend in one piece.

    References
    ----------
    R. H. Bartels, G. W. Stewart, Comm. ACM 15 (1972) 820-826. A. Y. Barraud, IEEE Trans. Automat. Control 22 (1977)
    883-885. I. Jonsson, B. Kagstrom, ACM Trans. Math. Software 28 (2002) 392-415.
    """

    needs: ClassVar[frozenset[str]] = frozenset({"qz", "schur", "triangular"})
    equations: ClassVar[frozenset[str]] = frozenset({"lyapunov", "stein", "sylvester"})
    structures: ClassVar[frozenset[str]] = frozenset({"dense"})
    right_sides: ClassVar[frozenset[str]] = frozenset({"dense"})
    descriptor: ClassVar[bool] = True
    leaf: int = 48

    def solve(self, equation: Equation, backend: Backend) -> Solution:
        """Solve each system of the batch in turn."""
        try:
            return _solved(equation, self._operators(equation, backend))
        except SingularEquationError:
            return singular_solution(equation)

    def factor(self, equation: Equation, backend: Backend) -> SchurFactorization:
        """Reduce A, and whatever else stands beside X, for any number of right-hand sides."""
        equation = equation.to_dense()
        try:
            return SchurFactorization(equation, self._operators(equation, backend))
        except SingularEquationError:
            return SchurFactorization(equation, None)

    def recognised(self, equation: Equation, backend: Backend) -> str:
        """Return in words what structure A has; the first of a batch speaks for all."""
        matrices: dict[str, Array] = equation.to_dense().matrices
        A, E = (None if M is None else M[(0,) * (M.ndim - 2)] for M in (matrices["A"], matrices.get("E")))
        return described(reduced(A, E, backend))

    def _operators(self, equation: Equation, backend: Backend) -> list[DenseOperator]:
        names = list(equation.matrices)
        matrices = promote(*equation.matrices.values())
        if all(M.ndim == 2 for M in matrices):
            return [self._operator(dict(zip(names, matrices, strict=True)), isinstance(equation, Stein), backend)]
        batch = max((tuple(M.shape[:-2]) for M in matrices), key=len)
        xp = namespace(*matrices)
        flat = [xp.reshape(xp.broadcast_to(M, (*batch, *M.shape[-2:])), (-1, *M.shape[-2:])) for M in matrices]
        systems = [dict(zip(names, (M[k, ...] for M in flat), strict=True)) for k in range(flat[0].shape[0])]
        return [self._operator(system, isinstance(equation, Stein), backend) for system in systems]

    def _operator(self, system: dict[str, Array], discrete: bool, backend: Backend) -> DenseOperator:
        left = right = reduced(system["A"], system.get("E"), backend)
        if "B" in system:
            F = system.get("F")
            right = reduced(adjoint(system["B"]), None if F is None else adjoint(F), backend)
        return DenseOperator(left, right, discrete, backend, self.leaf)


class SchurFactorization:
    """An equation whose matrices are in triangular or diagonal form.

    Parameters
    ----------
    equation
        The equation, dense.
    operators
        One for each system of the batch; None if one of them could not be reduced.
    """

    def __init__(self, equation: Equation, operators: list[DenseOperator] | None) -> None:
        self.equation, self._operators = equation, operators

    def solve(self, Q: RightSide) -> Solution:
        """Solve the equation with this right-hand side."""
        return _solved(self.equation.with_right_side(Q), self._operators)

    def solve_adjoint(self, Q: RightSide) -> Solution:
        """Solve the adjoint equation with this right-hand side."""
        operators = None if self._operators is None else [operator.adjoint for operator in self._operators]
        return _solved(self.equation.adjoint().with_right_side(Q), operators)

    def condition(self) -> Array:
        r"""Return a lower estimate of $\lVert\mathcal{L}\rVert\,\lVert\mathcal{L}^{-1}\rVert_F$ for each system.

        The inverse of the second norm is sep, the distance from a singular equation. To first order the relative error
        of X is at most this number times the relative errors of A and Q: rounding costs that many eps.
        """
        norms = {name: namespace(M).linalg.matrix_norm(M) for name, M in self.equation.matrices.items()}
        xp = namespace(*norms.values())
        if isinstance(self.equation, Stein):
            size = norms["A"] ** 2 + norms.get("E", 1.0) ** 2
        elif isinstance(self.equation, Lyapunov):
            size = 2 * norms["A"] * norms.get("E", 1.0)
        else:
            size = norms["A"] * norms.get("F", 1.0) + norms["B"] * norms.get("E", 1.0)
        inverse = [inverse_norm(operator) for operator in self._operators or []]
        found = xp.asarray(inverse, dtype=size.dtype) if self._operators is not None else float("inf")
        return xp.reshape(found, size.shape) * size if self._operators is not None else size * found


def _solved(equation: Equation, operators: list[DenseOperator] | None) -> Solution:
    Q: Array = equation.Q
    if operators is None:
        return singular_solution(equation)
    try:
        if Q.ndim == 2 and len(operators) == 1:
            return judge_by_probe(equation, operators[0].solve(Q))
        return judge_by_probe(equation, _batch(equation, operators, Q))
    except SingularEquationError:
        return singular_solution(equation)


def _batch(equation: Equation, operators: list[DenseOperator], Q: Array) -> Array:
    """Solve each system of the batch in turn."""
    xp = namespace(Q)
    batch = max((tuple(M.shape[:-2]) for M in (*equation.matrices.values(), Q)), key=len)
    flat = xp.reshape(xp.broadcast_to(Q, (*batch, *Q.shape[-2:])), (-1, *Q.shape[-2:]))
    alone = len(operators) == 1
    X = [operators[0 if alone else k].solve(flat[k, ...]) for k in range(flat.shape[0])]
    dtype = xp.result_type(*(M.dtype for M in (*equation.matrices.values(), Q)))
    return xp.reshape(xp.stack(X) if X else xp.zeros_like(flat, dtype=dtype), (*batch, *Q.shape[-2:]))
