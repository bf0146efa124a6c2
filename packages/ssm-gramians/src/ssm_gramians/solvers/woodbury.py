r"""A that is diagonal plus low rank: the diagonal equation in closed form, and a linear system for the rest."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from .._arrays import Array, adjoint, as_complex, conj, identity, imag, is_complex, namespace, promote, real
from .._diagonal_plus_low_rank import DiagonalPlusLowRank
from .._equations import Equation, Stein
from .._errors import SingularEquationError
from .._solution import Solution, judge, singular_solution
from ..backends import Backend

if TYPE_CHECKING:
    from jaxtyping import Inexact


@dataclass(frozen=True)
class Woodbury:
    r"""$X = \mathcal{C}(Q - U W^H - W U^H)$ with n r unknowns W, for $A = \Lambda - U V^H$.

    $\mathcal{C}$ solves the equation of the diagonal part, entry by entry. $W = X V$ for Lyapunov equations,
    $(\Lambda - \frac12 U V^H) X V$ for Stein equations. Put together, W solves one dense linear system, of order
    2 n r in real numbers since its conjugate enters too (n r if everything is real): no Schur form, a fraction of its
    work for r = 1 or 2, and batched on every backend.

    No two eigenvalues of the diagonal part may cancel. Where its solution is much larger than X, digits are lost, and
    one correction by the residual brings them back.

    Parameters
    ----------
    corrections
        How often at most X is corrected by solving for its residual, if that is above rounding.
    """

    needs: ClassVar[frozenset[str]] = frozenset({"array"})
    equations: ClassVar[frozenset[str]] = frozenset({"lyapunov", "stein"})
    structures: ClassVar[frozenset[str]] = frozenset({"dplr"})
    right_sides: ClassVar[frozenset[str]] = frozenset({"dense"})
    descriptor: ClassVar[bool] = False
    corrections: int = 1

    def solve(self, equation: Equation, backend: Backend) -> Solution:
        """Solve, and once more for the residual if it is above rounding."""
        assert isinstance(equation.A, DiagonalPlusLowRank)
        try:
            X = _solve(equation, backend)
            for _ in range(self.corrections):
                terms = promote(*equation.terms(X))
                rest, size = sum(terms), sum(backend.norm(term) for term in terms)
                if bool(namespace(X).all(backend.norm(rest) <= 4 * backend.eps(X) * size)):
                    break
                X = X + _solve(equation.with_right_side(rest), backend)
        except SingularEquationError:
            return singular_solution(equation)
        parts = (*equation.A.arrays, equation.Q)
        return judge(equation, X if any(is_complex(part) for part in parts) else real(X))


def _solve(equation: Equation, backend: Backend) -> Array:
    """Solve for the Hermitian and the skew-Hermitian part of Q at once."""
    assert isinstance(equation.A, DiagonalPlusLowRank)
    values, U, V, Q = promote(*equation.A.arrays, equation.Q)
    xp = namespace(Q)
    quotient = backend.stein_quotient if isinstance(equation, Stein) else backend.lyapunov_quotient
    kernel = quotient(xp.ones_like(U @ adjoint(V)), values, values)
    if not bool(xp.all(xp.isfinite(kernel))):
        msg = "two eigenvalues of the diagonal part cancel"
        raise SingularEquationError(msg)
    if equation.A.rank == 0:
        return kernel * Q
    outer = _half_step(values, U, V) if isinstance(equation, Stein) else _same
    parts = _hermitian_parts(Q)
    found = _unknowns(kernel, U, V, parts, outer, backend)
    X = [kernel * (part - U @ adjoint(W) - W @ adjoint(U)) for part, W in zip(parts, found, strict=True)]
    return X[0] if len(X) == 1 else X[0] + 1j * X[1]


def _hermitian_parts(Q: Array) -> tuple[Array, ...]:
    """Return H and K, both Hermitian, with Q = H + iK; for a real Q, which may have no symmetry, as complex arrays."""
    skew = Q - adjoint(Q)
    if not bool(namespace(Q).any(skew != 0)):
        return (Q,)
    Q, skew = as_complex(Q), as_complex(skew)
    return (Q - skew / 2, skew / 2j)


def _same(M: Array) -> Array:
    return M


def _half_step(values: Array, U: Array, V: Array) -> Callable[[Array], Array]:
    r"""Return the product with $\Lambda - \frac12 U V^H$."""

    def outer(M: Array) -> Array:
        return values[..., :, None] * M - U @ (adjoint(V) @ M) / 2

    return outer


def _unknowns(
    kernel: Array, U: Array, V: Array, parts: tuple[Array, ...], outer: Callable[[Array], Array], backend: Backend
) -> list[Inexact[Array, "*batch n r"]]:
    r"""Return W for each right-hand side: $W + \mathcal{L}(W) + \mathcal{K}(\bar W) = G$, in real numbers."""
    xp = namespace(U)
    n, r = U.shape[-2:]
    plain, conjugated = _blocks(kernel, U, V, outer)
    columns = [_stack(outer((kernel * part) @ V)) for part in parts]
    right = xp.stack(columns, axis=-1)
    if is_complex(U) or is_complex(right):
        top = xp.concat((real(plain + conjugated), imag(conjugated - plain)), axis=-1)
        bottom = xp.concat((imag(plain + conjugated), real(plain - conjugated)), axis=-1)
        operator, right = xp.concat((top, bottom), axis=-2), xp.concat((real(right), imag(right)), axis=-2)
    else:
        operator = plain + conjugated
    solved = backend.solve(operator, right)
    if solved.shape[-2] > n * r:
        solved = as_complex(solved[..., : n * r, :]) + 1j * solved[..., n * r :, :]
    return [_unstack(solved[..., k], r) for k in range(len(parts))]


def _blocks(kernel: Array, U: Array, V: Array, outer: Callable[[Array], Array]) -> tuple[Array, Array]:
    """Return the matrices that act on W and on its conjugate, columns stacked; the identity is in the first."""
    xp = namespace(U)
    n, r = U.shape[-2:]
    eye = identity(n, like=U)
    plain, conjugated = [], []
    for k in range(r):
        v = V[..., k]
        weights = kernel @ (conj(U) * v[..., None])  # (..., n, r)
        own = [outer(weights[..., :, l, None] * eye) + (eye if k == l else 0) for l in range(r)]
        other = [outer(U[..., :, l, None] * kernel * v[..., None, :]) for l in range(r)]
        plain.append(xp.concat(own, axis=-1))
        conjugated.append(xp.concat(other, axis=-1))
    return xp.concat(plain, axis=-2), xp.concat(conjugated, axis=-2)


def _stack(W: Inexact[Array, "*batch n r"]) -> Inexact[Array, "*batch nr"]:
    """Return the columns below one another."""
    return namespace(W).reshape(W.mT, (*W.shape[:-2], W.shape[-2] * W.shape[-1]))


def _unstack(w: Inexact[Array, "*batch nr"], r: int) -> Inexact[Array, "*batch n r"]:
    return namespace(w).reshape(w, (*w.shape[:-1], r, w.shape[-1] // r)).mT
