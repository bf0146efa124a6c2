"""Schur forms and recursive triangular solves: the direct method for dense matrices."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from .._arrays import Array, adjoint, as_complex, is_complex, namespace, promote, real
from .._equations import Equation, Lyapunov, Stein, Sylvester
from .._errors import SingularEquationError
from .._solution import Solution, judge, singular_solution
from ..backends import Backend

if TYPE_CHECKING:
    from jaxtyping import Inexact


@dataclass(frozen=True)
class BartelsStewart:
    r"""$A = U T U^H$, then a triangular equation, split in halves until LAPACK takes over.

    Stein equations are solved as they are: no bilinear map, which an eigenvalue near -1 would ruin. A batch is a loop.

    Parameters
    ----------
    leaf
        Triangular equations up to this order go to the backend in one piece.

    References
    ----------
    R. H. Bartels, G. W. Stewart, Comm. ACM 15 (1972) 820-826. A. Y. Barraud, IEEE Trans. Automat. Control 22 (1977)
    883-885. I. Jonsson, B. Kagstrom, ACM Trans. Math. Software 28 (2002) 392-415.
    """

    needs: ClassVar[frozenset[str]] = frozenset({"schur", "triangular"})
    equations: ClassVar[frozenset[str]] = frozenset({"lyapunov", "stein", "sylvester"})
    structures: ClassVar[frozenset[str]] = frozenset({"dense"})
    right_sides: ClassVar[frozenset[str]] = frozenset({"dense"})
    descriptor: ClassVar[bool] = False
    leaf: int = 64

    def solve(self, equation: Equation, backend: Backend) -> Solution:
        """Solve each system of the batch in turn."""
        B = equation.B if isinstance(equation, Sylvester) else adjoint(equation.A)
        A, B, Q = promote(equation.A, B, equation.Q)
        xp = namespace(Q)
        batch = max((tuple(M.shape[:-2]) for M in (A, B, Q)), key=len)
        A, B, Q = (xp.reshape(xp.broadcast_to(M, (*batch, *M.shape[-2:])), (-1, *M.shape[-2:])) for M in (A, B, Q))
        try:
            X = [self._solve_one(equation, A[k, ...], B[k, ...], Q[k, ...], backend) for k in range(Q.shape[0])]
        except SingularEquationError:
            return singular_solution(equation)
        stacked = xp.stack(X) if X else xp.zeros_like(Q)
        return judge(equation, xp.reshape(stacked, (*batch, *Q.shape[-2:])))

    def _solve_one(self, equation: Equation, A: Array, B: Array, Q: Array, backend: Backend) -> Array:
        discrete = isinstance(equation, Stein)
        U, S = backend.schur(as_complex(A) if discrete else A)
        V, T = (U, S) if isinstance(equation, Lyapunov | Stein) else backend.schur(adjoint(B))
        G = adjoint(U) @ (as_complex(Q) if discrete else Q) @ V
        X = U @ self._split(S, T, G, backend, discrete) @ adjoint(V)
        return X if is_complex(Q) else real(X)

    def _split(self, S: Array, T: Array, Q: Array, backend: Backend, discrete: bool) -> Array:
        r"""Return X with $S X + X T^H + Q = 0$, or $S X T^H - X + Q = 0$, by halving the longer side."""
        n, m = Q.shape
        if max(n, m) <= self.leaf:
            return (backend.triangular_stein if discrete else backend.triangular_sylvester)(S, T, Q)
        xp = namespace(Q)
        if n >= m:
            cut = _middle(S)
            low = self._split(S[cut:, cut:], T, Q[cut:, :], backend, discrete)
            carried = S[:cut, cut:] @ low
            carried = carried @ adjoint(T) if discrete else carried
            return xp.concat((self._split(S[:cut, :cut], T, Q[:cut, :] + carried, backend, discrete), low), axis=0)
        cut = _middle(T)
        right = self._split(S, T[cut:, cut:], Q[:, cut:], backend, discrete)
        carried = right @ adjoint(T[:cut, cut:])
        carried = S @ carried if discrete else carried
        return xp.concat((self._split(S, T[:cut, :cut], Q[:, :cut] + carried, backend, discrete), right), axis=1)


def _middle(T: Inexact[Array, "n n"]) -> int:
    """Return where to cut a quasi-triangular matrix in two without breaking a 2 x 2 block."""
    cut = T.shape[-1] // 2
    return cut + 1 if T[cut, cut - 1] != 0 else cut
