"""The factor of the Gramian without the Gramian: twice the digits for what is small."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import ClassVar, TypeAlias

from .._arrays import Array, adjoint, as_complex, common_dtype, is_complex, namespace, promote
from .._equations import Equation, RightSide, Stein
from .._errors import InstabilityError, SingularEquationError
from .._gram import Gram
from .._solution import Solution, Status, singular_solution
from ..backends import Backend
from ._block_hammarling import block_gram
from ._probe import judge_by_probe
from ._reduced import Part, reduced

Form: TypeAlias = tuple[Part, ...]


@dataclass(frozen=True)
class Hammarling:
    r"""Z with $X = Z Z^H$ for $Q = B B^H$, from the Schur form of A, without forming X; A must be stable.

    X has the squares of the singular values of Z, so what lies below eps in X lies below its root in Z: Hankel singular
    values keep about twice the digits. Z is square; it is upper triangular in the coordinates of the Schur form. One
    Schur form serves both Gramians. A real A is treated in real arithmetic but for the small diagonal blocks. Where
    the backend brings a factor solver of its own, and `native` is true, that one is used.

    Parameters
    ----------
    leaf
        Order of the diagonal blocks that go to the backend in one piece.
    native
        Whether to use the backend's own routine where it provides one.

    References
    ----------
    S. J. Hammarling, IMA J. Numer. Anal. 2 (1982) 303-323. D. Kressner, ACM Trans. Math. Software 34 (2008) 1.
    """

    needs: ClassVar[frozenset[str]] = frozenset({"schur", "triangular"})
    equations: ClassVar[frozenset[str]] = frozenset({"lyapunov", "stein"})
    structures: ClassVar[frozenset[str]] = frozenset({"dense"})
    right_sides: ClassVar[frozenset[str]] = frozenset({"gram"})
    descriptor: ClassVar[bool] = False
    leaf: int = 32
    native: bool = True

    def solve(self, equation: Equation, backend: Backend) -> Solution:
        """Factor each system of the batch in turn."""
        if self.native and "hammarling" in backend.provides:
            solution = _solved(equation, lambda A, B, _: backend.hammarling(A, B, discrete=isinstance(equation, Stein)))
            if solution is not None:
                return solution
        return self.factor(equation, backend).solve(equation.Q)

    def factor(self, equation: Equation, backend: Backend) -> HammarlingFactorization:
        """Take the Schur form of A for any number of right-hand sides, of the equation and of its adjoint."""
        return HammarlingFactorization(equation, backend, self.leaf)


class HammarlingFactorization:
    """An equation whose A is in triangular form.

    Parameters
    ----------
    equation
        The equation, dense.
    backend
        For what is small.
    leaf
        Order of the diagonal blocks.
    """

    def __init__(self, equation: Equation, backend: Backend, leaf: int) -> None:
        self.equation, self._backend, self._leaf = equation, backend, leaf
        self._forms: dict[bool, list[Form]] = {}

    def solve(self, Q: RightSide) -> Solution:
        """Solve the equation with this right-hand side."""
        return self._solve(self.equation.with_right_side(Q), adjoint=False)

    def solve_adjoint(self, Q: RightSide) -> Solution:
        """Solve the adjoint equation with this right-hand side."""
        return self._solve(self.equation.adjoint().with_right_side(Q), adjoint=True)

    def _solve(self, equation: Equation, *, adjoint: bool) -> Solution:
        assert isinstance(equation.Q, Gram)
        try:
            forms = self._reduced(is_complex(equation.Q.Z))
        except SingularEquationError:
            return singular_solution(equation)
        discrete = isinstance(equation, Stein)

        def one(A: Array, B: Array, k: int) -> Array:
            parts = forms[k if len(forms) > 1 else 0]
            parts = tuple(part.adjoint for part in parts) if adjoint else parts
            return _factor(parts, B, discrete, self._backend, self._leaf)

        solution = _solved(equation, one)
        assert solution is not None
        return solution

    def _reduced(self, in_complex: bool) -> list[Form]:
        """Return the parts of each A of the batch; complex inputs to a real A need its complex Schur form."""
        A = self.equation.A
        in_complex = in_complex and not is_complex(A)
        if in_complex not in self._forms:
            flat = namespace(A).reshape(as_complex(A) if in_complex else A, (-1, *A.shape[-2:]))
            self._forms[in_complex] = [reduced(flat[k, ...], None, self._backend) for k in range(flat.shape[0])]
        return self._forms[in_complex]


def _factor(parts: Form, B: Array, discrete: bool, backend: Backend, leaf: int) -> Array:
    """Return the factor in the coordinates of A from that in the coordinates of its parts."""
    S, B = promote(_assembled(parts), _entered(parts, B))
    Z = block_gram(S, B, discrete, backend, leaf)
    xp, start, rows = namespace(Z), 0, []
    for part in parts:
        block = Z[start : start + part.order, :]
        rows.append(block if part.U is None else part.U @ block)
        start += part.order
    # The strongest columns come last, as the march goes up; an SVD of a product of factors wants them first.
    if len(parts) == 1:
        return rows[0][parts[0].rows, ::-1]
    order = xp.argsort(xp.concat([part.rows for part in parts]))
    return xp.take(xp.concat(rows, axis=0), order, axis=0)[:, ::-1]


def _entered(parts: Form, B: Array) -> Array:
    """Return B in the coordinates of the parts."""
    inner = [B[part.rows, :] if part.U is None else adjoint(part.U) @ B[part.rows, :] for part in parts]
    return namespace(B).concat(inner, axis=0)


def _assembled(parts: Form) -> Array:
    """Return the triangular matrix of all the parts."""
    matrices: list[Array] = [part.pair[0] for part in parts]
    if len(matrices) == 1:
        return matrices[0]
    order, start = sum(part.order for part in parts), 0
    S = namespace(matrices[0]).zeros((order, order), dtype=matrices[0].dtype)
    for M in matrices:
        stop = start + M.shape[-1]
        S[start:stop, start:stop] = M
        start = stop
    return S


def _solved(equation: Equation, one: Callable[[Array, Array, int], Array | None]) -> Solution | None:
    """Return the solution for each system of the batch in turn; None if one of them is not served."""
    assert isinstance(equation.Q, Gram)
    A, B = equation.A, equation.Q.Z
    xp = namespace(B)
    batch = max((tuple(M.shape[:-2]) for M in (A, B)), key=len)
    A, B = (xp.reshape(xp.broadcast_to(M, (*batch, *M.shape[-2:])), (-1, *M.shape[-2:])) for M in (A, B))
    try:
        factors = [one(A[k, ...], B[k, ...], k) for k in range(B.shape[0])]
    except (InstabilityError, SingularEquationError) as error:
        status = Status.DIVERGED if isinstance(error, InstabilityError) else Status.SINGULAR
        return replace(singular_solution(equation), status=status)
    if any(factor is None for factor in factors):
        return None
    n, kind = A.shape[-1], common_dtype(A, B)
    stacked = xp.stack(factors) if factors else xp.zeros((0, n, n), dtype=kind)
    return judge_by_probe(
        equation, Gram(xp.reshape(xp.astype(stacked, kind, copy=False), (*batch, n, stacked.shape[-1])))
    )
